# SPDX-License-Identifier: MIT
"""unproxy as a service of a machine.py: configured, started, used."""

import contextlib
import json

from daemon import listener_config
from header import v1
from peer import open_peer
from processes import wait_until

CONFIG = "/etc/unproxy/config.json"
PORT = 6432
CLIENT = "203.0.113.7"


def configure(machine, upstream, settings=None, **listener):
    machine.write(CONFIG, json.dumps({
        **(settings or {}),
        "listeners": [listener_config(upstream, **{"listen": f"127.0.0.1:{PORT}", **listener})],
    }))


def start(machine, upstream, **options):
    configure(machine, upstream, **options)
    machine.run("systemctl", "start", "unproxy.service")


def hand_over(machine):
    """To the same program. Returns when the successor is the service."""
    pid = machine.main_pid("unproxy.service")
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGUSR2", "unproxy.service")
    wait_until(lambda: machine.main_pid("unproxy.service") != pid, "another main process")


def exchange(message=b"echo", port=PORT):
    """A connection of one message that a load balancer sends on. Raises what becomes of it.

    The application of package_fixtures.py echoes what begins with an e."""
    with contextlib.closing(open_peer(f"127.0.0.1:{port}")) as peer:
        peer.send(v1(f"{CLIENT}:4000", f"127.0.0.1:{port}"))
        peer.exchange(message)


def log_lines(machine, **fields):
    text = machine.run("journalctl", "--unit=unproxy.service", "--output=cat", "--no-pager")
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [record for record in records if fields.items() <= record.items()]
