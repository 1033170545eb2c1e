# SPDX-License-Identifier: MIT
"""The admin endpoint as its clients see it: requests byte by byte, and what Prometheus would make of /metrics."""

import json
import re
from dataclasses import dataclass

from peer import open_peer

# For the settings of a daemon
ANYWHERE = {"admin": {"listen": "127.0.0.1:0"}}

SAMPLE = re.compile(r'^(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


def address_of(daemon):
    """Where its admin endpoint listens now."""
    line = daemon.wait_for_records(1, event="admin")[-1]
    return re.search(r"listening on (\S+)", line["message"]).group(1)


def parse_answer(data):
    """@data is all that came, up to the server's orderly end."""
    head, body = data.split(b"\r\n\r\n", 1)
    line, *fields = head.decode().split("\r\n")
    return Answer(int(re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Za-z ]+", line).group(1)),
                  dict(field.split(": ", 1) for field in fields), body)


def exchange(address, data):
    """Send @data, and take the one answer that comes."""
    peer = open_peer(address)
    try:
        peer.send(data)
        return parse_answer(peer.receive_rest())
    finally:
        peer.close()


def request(path, method="GET", version="1.1"):
    return f"{method} {path} HTTP/{version}\r\nHost: test\r\n\r\n".encode()


def get(daemon, path):
    return exchange(address_of(daemon), request(path))


class Metrics:
    """What one scrape says."""

    def __init__(self, text):
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        self.samples = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                self._add(line)

    def _add(self, line):
        match = SAMPLE.match(line)
        assert match, line
        labels = {name: re.sub(r"\\.", lambda escape: ESCAPES[escape.group()], value)
                  for name, value in LABEL.findall(match["labels"] or "")}
        key = self._key(match["name"], labels)
        assert key not in self.samples, f"twice: {line}"
        self.samples[key] = float(match["value"])

    @staticmethod
    def _key(name, labels):
        return name, frozenset(labels.items())

    def value(self, name, **labels):
        """The sample that has exactly these labels."""
        return self.samples[self._key(name, labels)]

    def by(self, label, name, **labels):
        """The samples of @name with these labels and @label: its value to the sample's."""
        return {dict(key[1])[label]: value for key, value in self.samples.items()
                if key[0] == name and labels.items() <= dict(key[1]).items()}


def metrics(daemon):
    answer = get(daemon, "/metrics")
    assert answer.status == 200
    return Metrics(answer.text)
