# SPDX-License-Identifier: MIT
"""The pages of an admin endpoint, as a monitoring system reads them."""

import json
import re
import threading
import urllib.error
import urllib.request

from limits import DEADLINE

SAMPLE = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)

# Never less than before; gauges are the rest.
COUNTER = re.compile(r"unproxy_\w+_(?:total|bucket|count|sum)\b")


def admin_address(daemon):
    """Of the daemon that wrote the last line about it."""
    lines = daemon.wait_for_records(1, event="admin")
    return lines[-1]["message"].rsplit(" ", 1)[1]


def read_page(address, path):
    """(status, body)"""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def read_metrics(address):
    """Every sample's value by its name and labels: {'unproxy_workers': 2.0, …}."""
    status, text = read_page(address, "/metrics")
    assert status == 200, text
    return {name: float(value) for name, value in SAMPLE.findall(text)}


def of_listener(metrics, name):
    """The samples of one listener, without its label: {'unproxy_connections_total{reason="finished"}': 7, …}."""
    label = re.compile(rf'listener="{re.escape(name)}",?')
    return {label.sub("", sample, 1).replace("{}", ""): value
            for sample, value in metrics.items() if label.search(sample)}


class Scraper(threading.Thread):
    """Reads /metrics and /connections without a pause until close(). Counters of @listener, which stays, never go down."""

    def __init__(self, address, listener):
        super().__init__()
        self.address = address
        self.listener = listener
        self.rounds = 0
        self.error = None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        before = {}
        try:
            while not self._stopping.is_set():
                before = self._look_at_metrics(before)
                self._look_at_connections()
                self.rounds += 1
        except (OSError, ValueError, AssertionError) as error:
            self.error = error

    def _look_at_metrics(self, before):
        now = of_listener(read_metrics(self.address), self.listener)
        for sample, value in before.items():
            if COUNTER.match(sample):
                assert now[sample] >= value, f"{sample} has gone down from {value}"
        return now

    def _look_at_connections(self):
        status, text = read_page(self.address, "/connections")
        assert status == 200, text
        page = json.loads(text)
        assert page["total"] == len(page["connections"])
        assert all(connection["listener"] == self.listener for connection in page["connections"])

    def close(self):
        self._stopping.set()
        self.join()

    def stop(self):
        """Returns how often all went well."""
        self.close()
        if self.error:
            raise self.error
        return self.rounds
