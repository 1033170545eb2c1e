# SPDX-License-Identifier: MIT
"""What is in docker/ is valid by the schemas that others publish, and says everywhere the same."""

import json
import re

import pytest
import yaml

from container_fixtures import annotations
from engine import ROOT, Container

DOCKER = ROOT / "docker"

OVERLAYS = ("plain", "transparent")


def configurations():
    """Every configuration of unproxy below docker/, with a name for it."""
    for file in sorted((DOCKER / "compose").glob("*.json")):
        yield file.name, json.loads(file.read_text())
    for file in sorted((DOCKER / "kubernetes").glob("overlays/*/*.json")):
        yield f"{file.parent.name}/{file.name}", json.loads(file.read_text())
    for file in sorted((DOCKER / "ecs").glob("*.json")):
        for container in json.loads(file.read_text())["containerDefinitions"]:
            for variable in container.get("environment", []):
                if variable["name"] == "UNPROXY_CONFIG":
                    yield file.name, json.loads(variable["value"])


@pytest.mark.parametrize("file", ["compose.yaml", "compose.bridge.yaml"])
def test_compose_files_are_valid(validate, file):
    assert validate("compose", DOCKER / file)[0]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_objects_are_valid(validate, rendered, tmp_path, overlay):
    file = tmp_path / f"{overlay}.yaml"
    file.write_text(rendered(overlay))
    assert validate("kubernetes", file)[0]


def test_the_cloudformation_template_is_valid(validate):
    assert validate("cloudformation", DOCKER / "ecs/nlb.yaml")[0]


@pytest.mark.parametrize("kind, source, right, wrong, complaint", [
    ("compose", "compose.yaml", "cap_drop:", "cap_dropped:", "cap_dropped"),
    ("compose", "compose.yaml", "service_completed_successfully", "service_ended", "allowed values"),
    ("cloudformation", "ecs/nlb.yaml", "HealthCheckPath:", "HealthPath:", "HealthPath: unknown"),
    ("cloudformation", "ecs/nlb.yaml", "[Balancer, DNSName]", "[Balancer, Name]", "no attribute"),
    ("cloudformation", "ecs/nlb.yaml", "Ref: Balancer }", "Ref: Balance }", "not there"),
    ("kubernetes", "kubernetes/base/nginx.yaml", "drop:", "dropp:", "dropp: unknown key"),
    ("kubernetes", "kubernetes/base/nginx.yaml", "replicas: 2", "replicas: two", '"integer"'),
])
def test_the_validators_find_mistakes(validate, tmp_path, kind, source, right, wrong, complaint):
    text = (DOCKER / source).read_text()
    assert right in text
    file = tmp_path / "wrong.yaml"
    file.write_text(text.replace(right, wrong))
    valid, output = validate(kind, file)
    assert not valid and complaint in output


def pods(objects):
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in ("StatefulSet", "Deployment")]


def test_capabilities_are_the_fewest(objects):
    """All dropped; NET_ADMIN for what ends at once, NET_RAW for what stays, neither without transparent mode."""
    for overlay in OVERLAYS:
        found = {container["name"]: container["securityContext"]["capabilities"]
                 for pod in pods(objects(overlay))
                 for container in pod["initContainers"] + pod["containers"]}
        assert all(capabilities["drop"] == ["ALL"] for capabilities in found.values())
        added = {name: capabilities["add"] for name, capabilities in found.items()
                 if "add" in capabilities}
        assert added == ({"routes": ["NET_ADMIN"], "unproxy": ["NET_RAW"]}
                         if overlay == "transparent" else {})


def test_routes_come_before_the_sidecar(objects):
    for pod in pods(objects("transparent")):
        assert [c["name"] for c in pod["initContainers"]] == ["routes", "unproxy"]
        assert pod["initContainers"][1]["restartPolicy"] == "Always"


def test_configurations_change_in_place(objects):
    """`watch` sees a ConfigMap change only if its name does not and it is mounted as a directory."""
    for overlay in OVERLAYS:
        maps = {o["metadata"]["name"]: o for o in objects(overlay) if o["kind"] == "ConfigMap"}
        for pod in pods(objects(overlay)):
            volume = next(v for v in pod["volumes"] if v["name"] == "unproxy")
            assert json.loads(maps[volume["configMap"]["name"]]["data"]["unproxy.json"])["watch"]
            sidecar = next(c for c in pod["initContainers"] if c["name"] == "unproxy")
            assert all("subPath" not in mount for mount in sidecar["volumeMounts"])


def test_services_select_the_pods_and_their_ports(objects):
    rendered = objects("plain")
    for service in (o for o in rendered if o["kind"] == "Service"):
        target = next(o for o in rendered if o["kind"] in ("StatefulSet", "Deployment")
                      and o["metadata"]["name"] == service["metadata"]["name"])["spec"]["template"]
        assert service["spec"]["selector"].items() <= target["metadata"]["labels"].items()
        ports = {p["name"] for c in target["spec"]["initContainers"] for p in c["ports"]}
        assert service["spec"]["ports"][0]["targetPort"] in ports


def test_services_ask_for_an_nlb_that_unproxy_understands(objects):
    for service in (o for o in objects("plain") if o["kind"] == "Service"):
        notes = annotations(service)
        assert (notes["nlb-target-type"], notes["proxy-protocol"]) == ("ip", "*")
        assert "preserve_client_ip.enabled=false" in notes["target-group-attributes"].split(",")
        assert (notes["healthcheck-protocol"], notes["healthcheck-port"], notes["healthcheck-path"]) == \
            ("http", "9464", "/readyz")


def test_the_network_policy_admits_whom_the_configurations_trust(objects):
    rendered = objects("plain")
    policy = next(o for o in rendered if o["kind"] == "NetworkPolicy")["spec"]
    admitted = [source["ipBlock"]["cidr"] for source in policy["ingress"][0]["from"]]
    for name, config in configurations():
        if "proxy_lists" in config:
            assert config["proxy_lists"]["nlb"] == admitted, name
    for workload in (o for o in rendered if o["kind"] in ("StatefulSet", "Deployment")):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()


def test_every_configuration_is_what_the_image_expects():
    found = list(configurations())
    assert len(found) == 8
    for name, config in found:
        assert config["admin"] == {"listen": "[::]:9464"}, name  # what HEALTHCHECK asks


def test_every_configuration_is_accepted(engine, tmp_path):
    for name, config in configurations():
        file = tmp_path / "unproxy.json"
        file.write_text(json.dumps(config))
        check = Container("check", "localhost/unproxy", ["check", "--no-probe", "-c", "/unproxy.json"],
                          mounts={"/unproxy.json": (file, "ro")})
        with engine.running(check) as running:
            assert running.wait() == 0, (name, running.text())


def test_dockerfile_and_documents_name_one_version():
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
    assert f"ARG VERSION={version}" in (DOCKER / "Dockerfile").read_text()
    for file in (DOCKER / "kubernetes/overlays").glob("*/kustomization.yaml"):
        assert yaml.safe_load(file.read_text())["images"] == [{"name": "unproxy", "newTag": version}]
    for file in (DOCKER / "ecs").glob("*.json"):
        images = {c["image"] for c in json.loads(file.read_text())["containerDefinitions"]
                  if c["name"] != "postgres"}
        assert images == {f"unproxy:{version}"}
