# SPDX-License-Identifier: MIT
"""What docker/README.md says of engines: when the capability of the program's file counts, and what to do if not."""

import json

import pytest

from container_fixtures import path_of
from engine import Container
from kubelet import image_of

CONFIG = {
    "listeners": [{"name": "test", "listen": "[::]:6432", "upstream": "127.0.0.1:5432",
                   "trusted_proxies": ["10.0.1.5"], "transparent": True}],
    "admin": {"listen": "[::]:9464"},
}


@pytest.fixture
def transparent(engine, network, ends):
    """Start unproxy in transparent mode, where the routes are; as an engine whose runtime is @runtime."""
    for name in ("ipv4.tcp_fwmark_accept", "ipv4.fwmark_reflect", "ipv6.fwmark_reflect"):
        network.pod.set(f"net.{name}", 1)
    routes = Container("routes", image_of("unproxy"), ["routes", "up"], user="0", drop=["ALL"],
                       add=["NET_ADMIN"], read_only=True)
    with engine.running(routes, path_of(network.pod)) as running:
        assert running.wait() == 0, running.text()

    def start(runtime, user, no_new_privileges):
        return ends.enter_context(engine.running(
            Container("unproxy", image_of("unproxy"), ["run"], user=user, drop=["ALL"], add=["NET_RAW"],
                      no_new_privileges=no_new_privileges, read_only=True,
                      environment={"UNPROXY_CONFIG": json.dumps(CONFIG)}),
            path_of(network.pod), runtime))

    return start


@pytest.mark.parametrize("runtime, user, no_new_privileges", [
    ("docker", "65534", False),
    ("docker", "0", True),
    ("containerd", "65534", False),
    ("containerd", "65534", True),
    ("containerd", "0", True),
])
def test_net_raw_is_enough(transparent, runtime, user, no_new_privileges):
    transparent(runtime, user, no_new_privileges).wait_for("listening on")


def test_no_new_privileges_takes_docker_users_the_capability(transparent):
    unproxy = transparent("docker", "65534", True)
    assert unproxy.wait() == 1
    assert "CAP_NET_RAW is missing" in unproxy.text()
