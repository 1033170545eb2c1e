// SPDX-License-Identifier: MIT
// Check files against the schemas that others publish: node validate.mjs compose|kubernetes|cloudformation FILE...
//
// Prints each offence as file: path: what, and a line for each file that is right; exits 1 if one is not.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import Ajv2019 from "ajv/dist/2019.js";
import addFormats from "ajv-formats";
import { parse, parseAllDocuments } from "yaml";

const require = createRequire(import.meta.url);

// --- Compose: the specification's JSON schema, as dclint carries it ---

function composeSchema() {
  const path = join(dirname(require.resolve("dclint/package.json")), "schemas/compose.schema.json");
  const schema = JSON.parse(readFileSync(path));
  const ajv = new Ajv2019({ strict: false, allErrors: true });
  addFormats(ajv);
  delete schema.$schema;
  return ajv.compile(schema);
}

function compose(text) {
  const validate = composeSchema();
  const document = parse(text, { merge: true });
  if (validate(document)) return { offences: [], what: `${Object.keys(document.services).length} services` };
  return { offences: validate.errors.map((e) => `${e.instancePath || "/"}: ${e.message} ${JSON.stringify(e.params)}`) };
}

// --- Kubernetes: the API's own schemas, as kubernetes-models compiles them ---

// These ignore keys that they do not know. But they ask for every key that they do: one that is there and that nobody
// asked for is unknown.
function watched(value, path, unasked) {
  if (value === null || typeof value !== "object") return value;
  const keys = Array.isArray(value) ? [] : Object.keys(value);
  const inner = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, watched(v, `${path}/${k}`, unasked)]));
  keys.forEach((key) => unasked.add(`${path}/${key}`));
  const target = Array.isArray(value) ? value.map((v, i) => watched(v, `${path}/${i}`, unasked)) : inner;
  return new Proxy(target, {
    get(object, key) {
      if (typeof key === "string") unasked.delete(`${path}/${key}`);
      return object[key];
    },
  });
}

// Its own path: the package exports the kinds alone, not their validators.
const models = dirname(require.resolve("kubernetes-models"));

function validatorOf(apiVersion, kind) {
  const path = `${models}/${apiVersion}/${kind}.js`;
  if (!existsSync(path)) return undefined;
  const schema = Object.keys(require(path)).find((name) => name.startsWith("Io"));
  return require(`${models}/_schemas/${schema}.js`).validate;
}

function kubernetesObject(object) {
  const validate = validatorOf(object.apiVersion, object.kind);
  if (!validate) return [`${object.apiVersion} ${object.kind}: no such kind`];
  const unasked = new Set();
  const valid = validate(watched(object, "", unasked));
  const errors = valid ? [] : validate.errors.map((e) => `${e.instancePath}: ${e.keyword} ${JSON.stringify(e.params)}`);
  const name = `${object.kind} ${object.metadata?.name}`;
  return [...errors, ...[...unasked].map((path) => `${path}: unknown key`)].map((e) => `${name}: ${e}`);
}

function kubernetes(text) {
  const objects = parseAllDocuments(text).map((d) => d.toJS());
  return { offences: objects.flatMap(kubernetesObject), what: objects.map((o) => o.kind).join(", ") };
}

// --- CloudFormation: AWS's specification of resources ---

async function cloudformation(text) {
  const { loadAwsServiceSpec } = require("@aws-cdk/aws-service-spec");
  const spec = await loadAwsServiceSpec();
  const template = parse(text);
  const offences = [];
  const names = { ...template.Parameters, ...template.Resources, "AWS::Region": 1, "AWS::AccountId": 1, "AWS::StackName": 1 };

  const resourceType = (type) => {
    const found = spec.lookup("resource", "cloudFormationType", "equals", type);
    return found.length > 0 ? found.only() : undefined;
  };
  const reference = (value, path) => {
    const [[name, argument]] = Object.entries(value);
    if (name === "Ref" && !(argument in names)) offences.push(`${path}: Ref to ${argument}, which is not there`);
    if (name !== "Fn::GetAtt") return;
    const [target, attribute] = [].concat(argument).join(".").split(/\.(.*)/);
    const type = resourceType(template.Resources[target]?.Type);
    if (!type || !(attribute in type.attributes)) offences.push(`${path}: ${target} has no attribute ${attribute}`);
  };
  const isIntrinsic = (value) =>
    value !== null && typeof value === "object" && Object.keys(value).length === 1 && /^(Ref|Fn::\w+)$/.test(Object.keys(value)[0]);

  const members = (properties, value, path) => {
    for (const key of Object.keys(value)) {
      if (!(key in properties)) offences.push(`${path}.${key}: unknown property`);
      else check(properties[key].type, value[key], `${path}.${key}`);
    }
    for (const [key, property] of Object.entries(properties))
      if (property.required && !(key in value)) offences.push(`${path}: lacks ${key}`);
  };
  const expect = (right, path, what) => right || offences.push(`${path}: must be ${what}`);
  const check = (type, value, path) => {
    if (isIntrinsic(value)) return reference(value, path);
    switch (type.type) {
      case "string": return expect(typeof value === "string", path, "a string");
      case "integer": return expect(Number.isInteger(Number(value)), path, "an integer");
      case "number": return expect(!Number.isNaN(Number(value)), path, "a number");
      case "boolean": return expect([true, false, "true", "false"].includes(value), path, "a boolean");
      case "array":
        if (!Array.isArray(value)) return expect(false, path, "a list");
        return value.forEach((element, i) => check(type.element, element, `${path}[${i}]`));
      case "map":
        return Object.entries(value).forEach(([key, element]) => check(type.element, element, `${path}.${key}`));
      case "ref":
        if (value === null || typeof value !== "object") return expect(false, path, "an object");
        return members(spec.get("typeDefinition", type.reference.$ref).properties, value, path);
      default:
        return undefined; // tags, JSON, unions: anything
    }
  };
  for (const [name, resource] of Object.entries(template.Resources)) {
    const type = resourceType(resource.Type);
    if (type) members(type.properties, resource.Properties ?? {}, name);
    else offences.push(`${name}: ${resource.Type}: no such resource`);
  }
  for (const [name, output] of Object.entries(template.Outputs ?? {})) check({ type: "string" }, output.Value, name);
  return { offences, what: Object.values(template.Resources).map((r) => r.Type.split("::").pop()).join(", ") };
}

const [kind, ...files] = process.argv.slice(2);
const checks = { compose, kubernetes, cloudformation };
if (!(kind in checks) || files.length === 0) {
  console.error("usage: node validate.mjs compose|kubernetes|cloudformation FILE...");
  process.exit(2);
}
for (const file of files) {
  const { offences, what } = await checks[kind](readFileSync(file, "utf8"));
  offences.forEach((offence) => console.log(`${file}: ${offence}`));
  if (offences.length > 0) process.exitCode = 1;
  else console.log(`${file}: valid: ${what}`);
}
