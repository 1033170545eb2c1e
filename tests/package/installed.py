# SPDX-License-Identifier: MIT
"""unproxy as a service of a machine.py: configured, started, used."""

import json

from daemon import listener_config

CONFIG = "/etc/unproxy/config.json"
PORT = 6432


def configure(machine, upstream, settings=None, **listener):
    machine.write(CONFIG, json.dumps({
        **(settings or {}),
        "listeners": [listener_config(upstream, **{"listen": f"127.0.0.1:{PORT}", **listener})],
    }))
