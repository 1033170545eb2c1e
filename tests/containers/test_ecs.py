# SPDX-License-Identifier: MIT
"""The ECS task definitions, and the commands that put an NLB before them: checked by the AWS CLI and its model of
the API, and run."""

import contextlib
import http.server
import json
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pytest

from container_fixtures import PASSWORD, start_haproxy
from ecs_task import Task, load
from engine import ROOT
from test_pod import ADDRESS, wait_for_record

ECS = ROOT / "docker/ecs"

KINDS = ("ec2", "fargate")

MODELS = Path("/usr/lib/python3/dist-packages/awscli/botocore/data")

# What deploy.sh takes out of the answers
ANSWERS = {
    "CreateLoadBalancer":
        "<LoadBalancers><member><LoadBalancerArn>arn:balancer</LoadBalancerArn></member></LoadBalancers>",
    "CreateTargetGroup":
        "<TargetGroups><member><TargetGroupArn>arn:targets</TargetGroupArn></member></TargetGroups>",
    "ModifyTargetGroupAttributes": "",
    "CreateListener": "",
}


class Api(http.server.BaseHTTPRequestHandler):
    """AWS, as far as deploy.sh asks. What it was asked is in server.asked."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "X-Amz-Target" in self.headers:
            action = self.headers["X-Amz-Target"].split(".")[1]
            self.server.asked[action] = json.loads(body)
            answer = json.dumps({"taskDefinition": {"taskDefinitionArn": "arn:task"}})
        else:
            asked = dict(urllib.parse.parse_qsl(body.decode()))
            action = asked["Action"]
            self.server.asked[action] = asked
            answer = (f"<{action}Response><{action}Result>{ANSWERS[action]}</{action}Result>"
                      f"</{action}Response>")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def api():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.asked = {}
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def deploy(api, tmp_path):
    """Run deploy.sh with the real AWS CLI, which checks every argument, against an API of ours. Returns what that was
    asked."""
    aws = tmp_path / "aws"
    endpoint = f"http://127.0.0.1:{api.server_port}"
    aws.write_text(f'#!/bin/sh\nexec /usr/bin/aws --endpoint-url {endpoint} "$@"\n')
    aws.chmod(0o755)

    def run(kind):
        done = subprocess.run([ECS / "deploy.sh", kind], capture_output=True, text=True, env={
            "PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_PAGER": "",
            "VPC": "vpc-1", "SUBNETS": "subnet-1,subnet-2", "CLUSTER": "cluster",
            "BALANCER_SECURITY_GROUP": "sg-1", "TASK_SECURITY_GROUP": "sg-2"})
        assert done.returncode == 0, done.stderr
        return api.asked

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_are_valid(deploy, kind):
    asked = deploy(kind)
    assert asked["RegisterTaskDefinition"] == load(ECS / f"{kind}.json")
    attributes = asked["ModifyTargetGroupAttributes"]
    found = {attributes[f"Attributes.member.{i}.Key"]: attributes[f"Attributes.member.{i}.Value"]
             for i in (1, 2, 3)}
    assert found == {"proxy_protocol_v2.enabled": "true", "preserve_client_ip.enabled": "false",
                     "deregistration_delay.timeout_seconds": "60"}
    group = asked["CreateTargetGroup"]
    assert (group["TargetType"], group["Port"]) == ("ip", "6432")
    assert (group["HealthCheckProtocol"], group["HealthCheckPort"], group["HealthCheckPath"]) == \
        ("HTTP", "9464", "/readyz")
    service = asked["CreateService"]
    assert service["launchType"] == kind.upper()
    assert service["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["subnet-1", "subnet-2"]
    assert service["loadBalancers"] == [
        {"targetGroupArn": "arn:targets", "containerName": "unproxy", "containerPort": 6432}]


def enum_offences(shapes, shape, value, path=""):
    """Values that the API's model does not list: the CLI leaves these to AWS."""
    shape = shapes[shape]
    if "enum" in shape and value not in shape["enum"]:
        yield f"{path}: {value} is none of {shape['enum']}"
    elif shape["type"] == "structure":
        for name, member in value.items():
            yield from enum_offences(shapes, shape["members"][name]["shape"], member, f"{path}.{name}")
    elif shape["type"] == "list":
        for i, member in enumerate(value):
            yield from enum_offences(shapes, shape["member"]["shape"], member, f"{path}[{i}]")


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_in_the_model_of_the_api(kind):
    shapes = json.loads((MODELS / "ecs/2014-11-13/service-2.json").read_text())["shapes"]
    definition = load(ECS / f"{kind}.json")
    assert list(enum_offences(shapes, "RegisterTaskDefinitionRequest", definition)) == []
    definition["containerDefinitions"][-1]["dependsOn"][0]["condition"] = "WELL"
    assert len(list(enum_offences(shapes, "RegisterTaskDefinitionRequest", definition))) == 1


def test_the_target_group_attributes_exist():
    text = (MODELS / "elbv2/2015-12-01/service-2.json").read_text()
    template = (ECS / "nlb.yaml").read_text()
    for attribute in ("proxy_protocol_v2.enabled", "preserve_client_ip.enabled",
                      "deregistration_delay.timeout_seconds"):
        assert f"<code>{attribute}</code>" in text
        assert f"Key: {attribute}," in template
        assert f"Key={attribute}," in (ECS / "deploy.sh").read_text()


def test_fargate_adds_no_capability():
    for container in load(ECS / "fargate.json")["containerDefinitions"]:
        assert "add" not in container.get("linuxParameters", {}).get("capabilities", {})


@pytest.fixture
def task(engine, network, ends):
    """task("ec2") is that task, running, with HAProxy for NLB."""
    def start(kind):
        definition = load(ECS / f"{kind}.json")
        task = ends.enter_context(contextlib.closing(
            Task(engine, definition, network.pod, {"POSTGRES_PASSWORD": PASSWORD})))
        task.start()
        start_haproxy(engine, ends, network, 5432, 6432, (9464, "/readyz", 200))
        return task

    return start


def test_ec2_shows_postgresql_the_client(task, ask, network):
    running = task("ec2").running
    assert ask(ADDRESS) == network.CLIENT
    running["postgres"].wait_for(f"connection received: host={network.CLIENT} ")


def test_fargate_logs_the_client(task, ask, network):
    running = task("fargate").running
    assert ask(ADDRESS) == "127.0.0.1"
    line = wait_for_record(running["unproxy"], event="connection", outcome="finished", command="PROXY")
    assert line["client"].startswith(f"{network.CLIENT}:")
