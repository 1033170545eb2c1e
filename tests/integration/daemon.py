# SPDX-License-Identifier: MIT
"""The unproxy process under test: start it, read what it says, end it and check how it ended."""

import contextlib
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

from limits import DEADLINE
from processes import supervised, wait_until

BINARY = Path(os.environ.get("UNPROXY", Path(__file__).parents[2] / "build/unproxy")).resolve()

TAKEN_OVER = re.compile(r"SIGUSR2: process (\d+) has taken over: ")

LISTENING = re.compile(r"listening on (\S+), upstream")

# What a sanitizer or a failed assertion leaves in the output.
COMPLAINT = re.compile(r"Sanitizer|runtime error:|[Aa]ssert")


def listener_config(upstream, **keys):
    """A listener that trusts this machine, on a port of the kernel's choice. Only clients connect to @upstream, for tests
    that play the application count who does."""
    return {
        "name": "test",
        "listen": "127.0.0.1:0",
        "upstream": upstream,
        "trusted_proxies": ["127.0.0.1", "::1"],
        "upstream_check": {"interval_ms": 0},
        **keys,
    }


def matches(record, fields):
    return all(record.get(key) == value for key, value in fields.items())


class Orphan:
    """A process that somebody else started and left behind: what Popen is for our own. It comes to us when its parent has
    ended (limits.adopt_orphans)."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        with contextlib.suppress(ChildProcessError):  # it is not ours yet
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=DEADLINE):
        wait_until(lambda: self.poll() is not None, f"process {self.pid} has ended", timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Daemon:
    """`unproxy` with @arguments, from when every listener has said its address.

    @prefix is a command that runs it, with exec, and @pass_fds what that inherits. With @listeners 0 nothing is
    waited for. Its output is collected, but for a @stderr that the test gives, and must be JSON to the last line
    unless @plain_text."""

    def __init__(self, *arguments, listeners=1, environment=None, stdin=None, stderr=None,
                 descriptors=None, plain_text=False, prefix=(), pass_fds=(), binary=BINARY):
        reader, writer = os.pipe()
        self.command = [os.fsencode(str(part)) for part in (binary, *arguments)]
        self.process = subprocess.Popen(
            supervised([*prefix, binary, *arguments], descriptors=descriptors),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=writer, stderr=stderr or writer, pass_fds=pass_fds,
            env={**os.environ, **(environment or {})})
        os.close(writer)
        self.pid = self.process.pid
        self.before = []  # processes that have handed over
        self.records = []  # JSON lines
        self.other = []    # lines that are no JSON
        self.plain_text = plain_text
        self.ended = False  # a test has seen the process end, and checked how
        self._output_closed = False
        self._changed = threading.Condition()
        self._output = os.fdopen(reader, "rb")
        self._reader = threading.Thread(target=self._read_output)
        self._reader.start()
        try:
            if stdin is not None:
                self.process.stdin.write(stdin)
                self.process.stdin.close()
            self.addresses = self._listening(listeners)
        except BaseException:
            self.kill()
            raise

    def _read_output(self):
        for line in self._output:
            with self._changed:
                try:
                    self.records.append(json.loads(line.decode(), parse_constant=int))
                except ValueError:  # no UTF-8, no JSON, or NaN, which json would take
                    self.other.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._output_closed = True
            self._changed.notify_all()

    def _listening(self, count):
        lines = self.wait_for_records(count, event="listening")
        return [LISTENING.search(line["message"]).group(1) for line in lines]

    @property
    def address(self):
        return self.addresses[0]

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def find(self, **fields):
        """The records so far that have these members."""
        with self._changed:
            return [record for record in self.records if matches(record, fields)]

    def wait_for_records(self, count, timeout=DEADLINE, **fields):
        """@count records that have these members."""
        end = time.monotonic() + timeout
        with self._changed:
            while len(found := self.find(**fields)) < count:
                left = end - time.monotonic()
                if left <= 0 or self._output_closed:
                    raise AssertionError(
                        f"{len(found)} of {count} log lines with {fields}; {self._last_output()}")
                self._changed.wait(left)
        return found

    def wait_for_output(self, text, timeout=DEADLINE):
        """A line that is no JSON and contains @text."""
        end = time.monotonic() + timeout
        with self._changed:
            while not (found := [line for line in self.other if text in line]):
                left = end - time.monotonic()
                if left <= 0 or self._output_closed:
                    raise AssertionError(f"no line with {text!r}; {self._last_output()}")
                self._changed.wait(left)
        return found[0]

    def _last_output(self):
        lines = [json.dumps(record) for record in self.records[-20:]] + self.other[-40:]
        return "the last output is:\n" + "\n".join(lines)

    def connection(self, peer=None, **fields):
        """The access line of the connection that @peer opened, or of the first with @fields."""
        if peer:
            fields["peer"] = peer.address
        return self.wait_for_records(1, event="connection", **fields)[0]

    def memory(self):
        """What the process itself holds, shared pages by their share [bytes]."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M).group(1)) * 1024

    def soft_descriptor_limit(self):
        limits = Path(f"/proc/{self.pid}/limits").read_text()
        return int(re.search(r"^Max open files\s+(\d+)", limits, re.M).group(1))

    def open_descriptors(self):
        return {int(name) for name in os.listdir(f"/proc/{self.pid}/fd")}

    def allow_more_descriptors(self, count):
        """Lower the limit under the running daemon, so that it can open just so many more."""
        in_use = self.open_descriptors()
        free = (number for number in itertools.count() if number not in in_use)
        limit = next(itertools.islice(free, count, None))
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit, limit))

    @contextlib.contextmanager
    def paused(self):
        """Everything that happens in the block, the daemon sees at once, afterwards."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=DEADLINE):
        """Its exit status, once it has ended by itself or by a signal that the test sent."""
        status = self.process.wait(timeout)
        self.ended = True
        self._reader.join()
        return status

    def hand_over(self, wait=True):
        """SIGUSR2: from now on this is the process that has taken over; the one before has ended, unless not @wait."""
        taken_over = {"event": "stopping"}
        count = len(self.find(**taken_over))
        self.signal(signal.SIGUSR2)
        line = self.wait_for_records(count + 1, **taken_over)[-1]
        self.before.append(self.process)
        self.process = Orphan(int(TAKEN_OVER.match(line["message"]).group(1)))
        self.pid = self.process.pid
        if wait:
            self._expect_end_of(self.before[-1])

    def _expect_end_of(self, process):
        status = process.wait(DEADLINE)
        assert status == 0, f"unproxy ended with {status}; {self._last_output()}"

    def terminate(self):
        self.signal(signal.SIGTERM)

    def _successors(self):
        """Processes of a SIGUSR2 that nothing came of: they have our command line."""
        if not self.find(event="upgrade"):
            return []
        known = {process.pid for process in [*self.before, self.process]}
        return [Orphan(int(path.parent.name)) for path in Path("/proc").glob("[0-9]*/cmdline")
                if int(path.parent.name) not in known and self._is_ours(path)]

    def _is_ours(self, path):
        with contextlib.suppress(OSError):  # it has just ended
            return path.read_bytes().split(b"\0")[:-1] == self.command
        return False

    def kill(self):
        """For when nothing else is to be expected of it any more."""
        for process in [*self.before, self.process, *self._successors()]:
            process.kill()
            process.wait()
        self._reader.join()
        self._output.close()

    def finish(self):
        """The end of every test: still alive, ends in order, and nothing was complained of."""
        try:
            if not self.ended:
                died = self.process.poll()
                assert died is None, f"unproxy died with {died}; {self._last_output()}"
                self.terminate()
                for process in [*self.before, self.process]:
                    self._expect_end_of(process)
                self.wait()
            complaints = [line for line in self.other
                          if not self.plain_text or COMPLAINT.search(line)]
            assert not complaints, "\n".join(self.other)
        finally:
            self.kill()
