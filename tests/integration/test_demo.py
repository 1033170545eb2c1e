# SPDX-License-Identifier: MIT
"""`unproxy demo`: what it shows is true."""

import re
import subprocess

import pytest

from daemon import BINARY
from limits import DEADLINE


def demo(*arguments):
    return subprocess.run([BINARY, "demo", *arguments], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=DEADLINE)


def shown_bytes(text):
    rows = re.findall(r"^   ((?:[0-9a-f]{2} )+) ", text, re.MULTILINE)
    return bytes.fromhex("".join(rows))


def test_header_shown_is_a_header():
    done = demo("--once")
    parsed = subprocess.run([BINARY, "parse"], input=shown_bytes(done.stdout),
                            capture_output=True, timeout=DEADLINE)
    assert parsed.returncode == 0, parsed.stderr
    assert b'"203.0.113.7:40312"' in parsed.stdout
    assert b'"authority":"shop.example"' in re.sub(rb'":\s+', b'":', parsed.stdout)


def test_round_trip_shows_what_the_application_saw_and_what_was_logged():
    done = demo("--once")
    assert done.returncode == 0
    assert "| I was sent:  GET /hello HTTP/1.1\n" in done.stdout
    assert "outcome=finished" in done.stderr
    assert "client=203.0.113.7:40312" in done.stderr


def test_output_fits_a_terminal():
    done = demo("--once")
    assert max(map(len, (done.stdout + done.stderr).splitlines())) <= 80


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"])
def test_wherever_it_listens_the_tour_finds_it(listen):
    done = demo("--once", "--listen", listen)
    assert done.returncode == 0, done.stderr


def test_taken_port_is_status_1(backend):
    done = demo("--once", "--listen", backend.address)
    assert done.returncode == 1
    assert backend.address in done.stderr


@pytest.mark.parametrize("arguments", [
    ["--listen", "unix:/tmp/demo"], ["--listen", "80"], ["--listen"], ["--twice"], ["now"],
], ids=" ".join)
def test_mistakes_are_status_2(arguments):
    done = demo(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("unproxy demo: ")
