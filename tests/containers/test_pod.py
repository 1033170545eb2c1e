# SPDX-License-Identifier: MIT
"""The pods of docker/kubernetes, with HAProxy for NLB: what the application sees, what each container may do."""

import json
import urllib.request
from pathlib import Path

import pytest

from processes import wait_until

CAP_NET_RAW = 1 << 13

ADDRESS = "SELECT inet_client_addr()"


def records(running):
    """The JSON lines of unproxy's log."""
    return [json.loads(line) for line in running.text().splitlines() if line.startswith("{")]


def wait_for_record(running, **fields):
    def found():
        return [r for r in records(running) if all(r.get(k) == v for k, v in fields.items())]

    wait_until(found, f"{fields} in {running.text()}")
    return found()[-1]


def ready(pod, overlay, balancer):
    pod.start()
    pod.wait_until_ready()
    balancer(overlay, pod)
    return pod


def container_of(objects, kind, name):
    spec = next(o for o in objects if o["kind"] == kind)["spec"]["template"]["spec"]
    return next(c for c in spec["initContainers"] if c["name"] == name)


def test_postgresql_logs_the_client(pod, balancer, ask, network):
    postgres = ready(pod("transparent", "StatefulSet"), "transparent", balancer)
    assert ask(ADDRESS) == network.CLIENT
    log = postgres.running["postgres"]
    log.wait_for(f"connection received: host={network.CLIENT} ")
    print(next(line for line in log.text().splitlines() if network.CLIENT in line))


def test_nginx_sees_the_client(pod, balancer, network):
    ready(pod("transparent", "Deployment"), "transparent", balancer)
    with network.client.entered(), urllib.request.urlopen(f"http://{network.SERVICE}/") as answer:
        assert answer.read().decode() == f"you are {network.CLIENT}\n"


def test_without_transparent_mode_the_access_log_knows_the_client(pod, balancer, ask, network):
    postgres = ready(pod("plain", "StatefulSet"), "plain", balancer)
    assert ask(ADDRESS) == "127.0.0.1"
    line = wait_for_record(postgres.running["unproxy"], event="connection", outcome="finished")
    assert line["client"].startswith(f"{network.CLIENT}:")
    assert line["peer"].startswith(f"{network.BALANCER}:")


@pytest.mark.parametrize("overlay, held", [("plain", 0), ("transparent", CAP_NET_RAW)])
def test_the_sidecar_may_do_what_its_manifest_says_and_no_more(pod, overlay, held):
    nginx = pod(overlay, "Deployment")
    nginx.start()
    unproxy = nginx.running["unproxy"]
    status = unproxy.status()
    for name in ("CapBnd", "CapPrm", "CapEff"):
        assert int(status[name], 16) == held, name
    for name in ("CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["Uid"].split() == ["65534"] * 4
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    mounts = Path(f"/proc/{unproxy.pid()}/mountinfo").read_text().splitlines()
    root = next(fields for fields in map(str.split, mounts) if fields[4] == "/")
    assert "ro" in root[5].split(",")


def test_without_net_raw_it_says_what_to_add(pod):
    def forget(objects):
        del container_of(objects, "StatefulSet", "unproxy")["securityContext"]["capabilities"]["add"]

    postgres = pod("transparent", "StatefulSet", forget)
    with pytest.raises(AssertionError):
        postgres.start()
    unproxy = postgres.running["unproxy"]
    assert unproxy.wait() == 1
    assert "CAP_NET_RAW is missing" in unproxy.text()
    assert "capabilities: {add: [NET_RAW]}" in unproxy.text()


def test_without_routes_it_says_what_to_run(pod):
    def forget(objects):
        containers = next(o for o in objects if o["kind"] == "StatefulSet")
        del containers["spec"]["template"]["spec"]["initContainers"][0]

    postgres = pod("transparent", "StatefulSet", forget)
    with pytest.raises(AssertionError):
        postgres.start()
    assert postgres.running["unproxy"].wait() == 1
    assert "unproxy routes up" in postgres.running["unproxy"].text()


def test_without_net_admin_the_routes_say_what_to_add(pod):
    def forget(objects):
        del container_of(objects, "StatefulSet", "routes")["securityContext"]["capabilities"]["add"]

    with pytest.raises(AssertionError, match="capabilities: {add: .NET_ADMIN.}"):
        pod("transparent", "StatefulSet", forget).start()


def test_privileged_routes_need_no_sysctls_from_the_kubelet(pod):
    """docker/kubernetes.md, step 3"""
    def allow(objects):
        spec = next(o for o in objects if o["kind"] == "Deployment")["spec"]["template"]["spec"]
        del spec["securityContext"]["sysctls"]
        context = spec["initContainers"][0]["securityContext"]
        del context["capabilities"], context["allowPrivilegeEscalation"]
        context["privileged"] = True

    nginx = pod("transparent", "Deployment", allow)
    nginx.start()
    assert "net.ipv4.tcp_fwmark_accept  set" in nginx.running["routes"].text()


def test_sigterm_lets_a_session_finish(pod, balancer, psql, network):
    """Beside the kubelet, which ends the application first: who only replaces the sidecar loses no session."""
    postgres = ready(pod("transparent", "StatefulSet"), "transparent", balancer)
    session = psql()
    session.send("SELECT 'first';\n")
    session.wait_for("first")
    unproxy = postgres.running["unproxy"]
    unproxy.signal("TERM")
    wait_for_record(unproxy, event="stopping")
    session.send(f"{ADDRESS};\n")
    session.wait_for(network.CLIENT)
    session.send("\\q\n")
    assert session.wait() == 0
    assert unproxy.wait() == 0


def test_a_pod_ends_in_its_grace_period(pod, balancer, psql):
    """With a client that does not notice that PostgreSQL has closed its connection."""
    def hurry(objects):
        config_map = next(o for o in objects if o["metadata"]["name"] == "postgres-unproxy")
        config = json.loads(config_map["data"]["unproxy.json"])
        config_map["data"]["unproxy.json"] = json.dumps({**config, "shutdown_timeout_ms": 500})

    postgres = ready(pod("transparent", "StatefulSet", hurry), "transparent", balancer)
    session = psql()
    session.send("SELECT 'open';\n")
    session.wait_for("open")
    assert postgres.terminate() == {"postgres": 0, "unproxy": 0}


def test_a_changed_configmap_is_taken_over(pod, balancer, ask, network):
    postgres = ready(pod("plain", "StatefulSet"), "plain", balancer)
    assert ask(ADDRESS) == "127.0.0.1"
    config = json.loads(postgres.config_maps["postgres-unproxy"]["unproxy.json"])
    config["listeners"][0]["clients"] = {"deny": [network.CLIENT]}
    postgres.volumes["unproxy"].update({"unproxy.json": json.dumps(config)})
    unproxy = postgres.running["unproxy"]
    wait_for_record(unproxy, event="reload")
    with pytest.raises(AssertionError):
        ask(ADDRESS)
    wait_for_record(unproxy, event="connection", outcome="client_denied")
