# SPDX-License-Identifier: MIT
"""What people type: the ways to configure, errors at the start that say what to do, and the tools
as test clients. `check`, `send`, `demo` and `help` have files of their own for the rest."""

import contextlib
import json
import os
import re
import subprocess

import pytest

import header
import senders
from daemon import BINARY, listener_config
from limits import DEADLINE


def unproxy_command(*arguments, input=b"", environment=None):
    """Run to the end; returns what subprocess.run() does, with text for standard error."""
    done = subprocess.run([BINARY, *map(str, arguments)], input=input, capture_output=True,
                          timeout=DEADLINE, env={**os.environ, **(environment or {})})
    done.stderr = done.stderr.decode()
    return done


@pytest.fixture
def spawn():
    """Start a tool that talks to the test, with its standard streams as pipes."""
    with contextlib.ExitStack() as ends:
        def start(*arguments):
            process = ends.enter_context(subprocess.Popen(
                [BINARY, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            ends.callback(process.kill)
            return process

        yield start


@pytest.fixture
def config(echo):
    """A configuration that works, as JSON."""
    return json.dumps({"listeners": [listener_config(echo.address)]}).encode()


def check_served(connect, daemon):
    client = connect(daemon)
    client.send(header.v2())
    client.exchange(b"hello")


# Where the configuration comes from


def test_configuration_from_a_file_alone_means_run(launch, connect, config, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(config)
    check_served(connect, launch("-c", path))


def test_configuration_from_stdin(launch, connect, config):
    check_served(connect, launch("run", "-c", "-", stdin=config))


def test_configuration_from_the_environment(launch, connect, config):
    check_served(connect, launch("run", environment={"UNPROXY_CONFIG": config.decode()}))


def test_configuration_from_flags(launch, connect, echo):
    check_served(connect, launch("run", "--listen", "127.0.0.1:0", "--upstream", echo.address,
                                 "--trust", "10.0.0.0/8,127.0.0.1"))


@pytest.mark.parametrize("arguments", [
    [],
    ["-c", "-", "--listen", "127.0.0.1:0"],
    ["--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1"],
    ["--no-such-option"],
], ids=["none", "two", "no-trust", "unknown"])
def test_wrong_usage_is_status_2(arguments, config):
    done = unproxy_command("run", *arguments, input=config)
    assert done.returncode == 2
    assert done.stderr.startswith("unproxy")
    assert done.stdout == b""


def test_file_and_environment_together_are_refused(config):
    done = unproxy_command("run", "-c", "-", input=config,
                           environment={"UNPROXY_CONFIG": config.decode()})
    assert done.returncode == 2
    assert "UNPROXY_CONFIG" in done.stderr


# What goes wrong at the start


def test_invalid_configuration_is_status_2_and_says_where(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"listeners": [\n  {"listen": "127.0.0.1:0", "upstream": "127.0.0.1:1",\n'
                    '   "trusted_proxies": ["10.0.0.0/33"]}]}')
    done = unproxy_command("run", "-c", path)
    assert done.returncode == 2
    assert done.stderr == (f'unproxy: {path}:3:24: listeners[0].trusted_proxies[0]: '
                           f'"10.0.0.0/33": prefix length is 0 to 32\n')


def test_unknown_key_names_the_nearest(config):
    done = unproxy_command("run", "-c", "-", input=config.replace(b"upstream", b"upstraem"))
    assert done.returncode == 2
    assert "upstraem" in done.stderr
    assert 'did you mean "upstream"' in done.stderr


def test_missing_file_is_named(tmp_path):
    done = unproxy_command("run", "-c", tmp_path / "missing.json")
    assert done.returncode in (1, 2)
    assert "missing.json" in done.stderr
    assert "No such file" in done.stderr


def test_port_in_use_is_status_1_and_names_address_reason_and_remedy(backend, config):
    taken = json.loads(config)
    taken["listeners"][0]["listen"] = backend.address
    done = unproxy_command("run", "-c", "-", input=json.dumps(taken).encode())
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("unproxy: ")
    assert backend.address in message
    assert "in use" in message
    assert re.search(r"[;:,] \w+.*\w", message.split("in use", 1)[1]), "no remedy"


# send


ADDRESSES = ["--src", header.CLIENT, "--dst", header.DESTINATION]


@pytest.mark.parametrize("options, expected", [
    (ADDRESSES, header.v2()),
    (["--v2", *ADDRESSES], header.v2()),
    (["--v1", *ADDRESSES], header.v1()),
    (["--v1", "--unknown"], b"PROXY UNKNOWN\r\n"),
    (["--unknown"], header.v2_raw(0x21, 0x00, b"")),
    (["--local"], header.v2_local()),
    (["--alpn", "h2", *ADDRESSES], header.v2(tlvs=header.tlv(header.ALPN, b"h2"))),
    (["--tlv", "0xe8=cafe", *ADDRESSES], header.v2(tlvs=header.tlv(0xE8, b"\xca\xfe"))),
    (["--crc32c", *ADDRESSES], header.v2(crc=True)),
], ids=["default", "v2", "v1", "v1-unknown", "v2-unknown", "local", "alpn", "tlv", "crc"])
def test_send_writes_header_and_input_and_prints_the_answer(spawn, backend, options, expected):
    process = spawn("send", *options, backend.address)
    process.stdin.write(b"question")
    process.stdin.close()
    application = backend.accept()
    assert application.receive_rest() == expected + b"question"
    application.send(b"answer")
    application.close()
    assert process.stdout.read() == b"answer"
    assert process.wait(DEADLINE) == 0


def test_send_is_understood_by_the_daemon(unproxy, echo):
    daemon = unproxy(echo.address)
    done = unproxy_command(
        "send", "--src", "[2001:db8::7]:40001", "--dst", "[2001:db8::1]:443", "--crc32c",
        "--alpn", "h2", "--authority", "db.example.test", "--unique-id", "01fe",
        "--vpce", header.VPC_ENDPOINT, "--tlv", "0xe8=cafe", daemon.address, input=b"hello")
    assert done.returncode == 0
    assert done.stdout == b"hello"
    line = daemon.connection(client="[2001:db8::7]:40001")
    assert line["destination"] == "[2001:db8::1]:443"
    assert line["tlv"] == {"alpn": "h2", "authority": "db.example.test", "unique_id": "01fe",
                           "aws_vpce_id": header.VPC_ENDPOINT, "0xe8": "cafe"}


# parse


def test_parse_prints_a_header_as_json(tmp_path):
    path = tmp_path / "header"
    path.write_bytes(header.nlb_privatelink() + b"payload")
    from_file = unproxy_command("parse", path)
    from_stdin = unproxy_command("parse", input=path.read_bytes())
    assert from_file.returncode == from_stdin.returncode == 0
    assert from_file.stdout == from_stdin.stdout
    parsed = json.loads(from_file.stdout)
    assert parsed["version"] == 2
    assert parsed["command"] == "PROXY"
    assert parsed["source"] == header.CLIENT
    assert parsed["destination"] == header.DESTINATION
    assert parsed["tlv"]["aws_vpce_id"] == header.VPC_ENDPOINT


def test_parse_says_why_it_is_no_header():
    done = unproxy_command("parse", input=header.v2()[:14] + b"\x00\x01x")
    assert done.returncode == 1
    assert done.stderr.startswith("unproxy")
    assert unproxy_command("parse", input=b"GET / HTTP/1.0\r\n").returncode == 1
    assert unproxy_command("parse", input=b"PROXY TCP4 ").returncode == 1


# demo


def test_demo_keeps_serving_curl(spawn):
    process = spawn("demo", "--listen", "127.0.0.1:0")
    for line in process.stdout:
        if match := re.search(rb"curl --haproxy-protocol (http://\S+)", line):
            break
    else:
        pytest.fail("the demo does not say how to use curl")
    assert senders.curl(match.group(1).decode())
    process.terminate()
    assert process.wait(DEADLINE) == 0
