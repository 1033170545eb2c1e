# SPDX-License-Identifier: MIT
"""A day's work on a proxy that is in use: not one of thousands of connections a second may notice, and the numbers
must add up."""

import contextlib
import time

import pytest

from daemon import listener_config
from load import MESSAGE, RATE, Load, application
from processes import wait_until
from scrape import Scraper, admin_address, of_listener, read_metrics
from service import Service

STRANGERS = ["192.0.2.0/24"]

# A load lasts at least so long [s].
LOAD_SECONDS = 2

# How often what is done under load is done, at least.
RELOADS = 50


@pytest.fixture
def echo_port():
    with application() as port:
        yield port


@pytest.fixture
def serve(launch, tmp_path):
    """Start a daemon with an admin endpoint: serve(listener, …) is a Service."""
    def start(*listeners, **settings):
        return Service(launch, tmp_path / "unproxy.json", listeners, log={"access": False},
                       admin={"listen": "127.0.0.1:0"}, **settings)

    return start


def is_idle(admin):
    """Nobody is served."""
    metrics = read_metrics(admin)
    return not any(value for sample, value in metrics.items()
                   if sample.startswith("unproxy_connections_active"))


def with_headers(metrics):
    """The headers that were counted, by version and command."""
    return {sample: value for sample, value in metrics.items()
            if sample.startswith("unproxy_headers_total") and value}


def endings(metrics):
    """How many connections ended in which way."""
    return {sample.split('"')[1]: value for sample, value in metrics.items()
            if sample.startswith("unproxy_connections_total") and value}


@pytest.mark.threads
def test_metrics_are_what_clients_counted(serve, closing, echo_port):
    """While the configuration changes all the time, and somebody reads them all the time."""
    plain = listener_config(f"127.0.0.1:{echo_port}")
    other = listener_config("127.0.0.1:9", name="other")
    changes = [
        [plain, other],
        [{**plain, "max_connections": 1000, "trusted_proxies": ["127.0.0.0/8", *STRANGERS]}],
        [{**plain, "clients": {"deny": STRANGERS}, "max_connections_per_client": 1000}, other],
        [plain],
    ]
    service = serve(plain)
    admin = admin_address(service.daemon)
    scraper = closing(Scraper(admin, "test"))
    loads = [closing(Load(service.daemon.port, 8, kind)) for kind in ("v1", "v2", "v2-nlb")]
    end = time.monotonic() + LOAD_SECONDS
    reloads = 0
    while reloads < RELOADS or time.monotonic() < end:
        service.reload_to(*changes[reloads % len(changes)])
        for load in loads:
            load.assert_undisturbed()
        reloads += 1
    reports = [load.stop() for load in loads]
    served = [count for count, _ in reports]
    assert sum(rate for _, rate in reports) >= RATE
    assert scraper.stop() > 1

    wait_until(lambda: is_idle(admin), "the last connection has ended")
    metrics = read_metrics(admin)
    assert metrics['unproxy_config_reloads_total{result="success"}'] == reloads
    assert metrics['unproxy_config_reloads_total{result="failure"}'] == 0
    counted = of_listener(metrics, "test")
    everybody = sum(served)
    assert counted["unproxy_connections_accepted_total"] == everybody
    assert endings(counted) == {"finished": everybody}
    for direction in ("in", "out"):
        assert counted[f'unproxy_bytes_total{{direction="{direction}"}}'] == everybody * MESSAGE
    assert with_headers(counted) == {
        'unproxy_headers_total{version="1",command="PROXY"}': served[0],
        'unproxy_headers_total{version="2",command="PROXY"}': served[1] + served[2],
    }
    for histogram in ("unproxy_header_seconds", "unproxy_connect_seconds"):
        assert counted[f"{histogram}_count"] == everybody
        assert counted[f'{histogram}_bucket{{le="+Inf"}}'] == everybody
        assert counted[f"{histogram}_sum"] > 0
    assert counted["unproxy_accept_errors_total"] == 0
