# SPDX-License-Identifier: MIT
"""A daemon whose configuration changes while it runs."""

import json
import signal


class Service:
    """A daemon, and the file that it was configured by."""

    def __init__(self, launch, path, listeners, options=None, **settings):
        self.file = path
        self.settings = {"workers": 2, "shutdown_timeout_ms": 5000, "user": "root", **settings}
        self.configure(listeners)
        self.daemon = launch("run", "-c", self.file, listeners=len(listeners), **(options or {}))

    def configure(self, listeners, **settings):
        self.file.write_text(json.dumps({**self.settings, **settings, "listeners": listeners}))

    def reload(self, level="info"):
        """Have the file read again. Returns what the log says when that is done."""
        before = len(self.daemon.find(event="reload", level=level))
        self.daemon.signal(signal.SIGHUP)
        found = self.daemon.wait_for_records(before + 1, event="reload", level=level)
        return found[-1]["message"]

    def reload_to(self, *listeners, **settings):
        self.configure(listeners, **settings)
        return self.reload()

    def refuse(self):
        """Why the file cannot be taken over."""
        message = self.reload(level="error")
        assert message.startswith("SIGHUP: ")
        assert message.endswith("; the running configuration stays")
        return message

    def address_of(self, name):
        """Where a listener said last that it listens."""
        lines = [line["message"] for line in self.daemon.find(event="listening")
                 if line["message"].startswith(f"{name}: listening on ")]
        return lines[-1].split()[3].rstrip(",")
