# SPDX-License-Identifier: MIT
"""`watch: true`: the configuration is loaded again when its file, or a list that it names, changes; however that is done."""

import json
import os
import signal

import pytest

import header
from daemon import listener_config
from processes import directory

pytestmark = pytest.mark.threads

SEEN = "a file has changed: "
APPLIED = SEEN + "1 listener kept, 0 added, 0 removed"
US = ["127.0.0.0/8"]
STRANGERS = ["192.0.2.0/24"]


def text_for(backend, trusted, **settings):
    return json.dumps({"watch": True, "workers": 2, "user": "root", **settings,
                       "listeners": [listener_config(backend.address, trusted_proxies=trusted)]})


@pytest.fixture
def watch(launch):
    """Start a daemon by @file."""
    return lambda file: launch("run", "-c", file)


def reloads(daemon, level):
    return daemon.find(event="reload", level=level)


class Change:
    """What is done in the block is seen, once, and @level says what comes of it."""

    def __init__(self, daemon, level="info"):
        self.daemon = daemon
        self.level = level

    def __enter__(self):
        self.before = len(reloads(self.daemon, self.level))
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            lines = self.daemon.wait_for_records(self.before + 1, event="reload", level=self.level)
            self.message = lines[-1]["message"]
            assert self.message.startswith(SEEN)


def write_as_an_editor(path, text):
    new = path.with_name("." + path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def write_in_place(path, text):
    path.write_text(text)


class ConfigMap:
    """A folder as Kubernetes mounts it: all files change at once, by a swap of `..data`."""

    def __init__(self, path):
        self.path = path
        self.version = 0
        path.mkdir()

    def publish(self, **files):
        self.version += 1
        folder = self.path / f"..version_{self.version}"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.json").write_text(text)
            link = self.path / f"{name}.json"
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}.json")
        new = self.path / "..data_tmp"
        new.symlink_to(folder.name)
        os.replace(new, self.path / "..data")

    def remove_old(self):
        for folder in self.path.glob("..version_*"):
            if folder.name != f"..version_{self.version}":
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()


@pytest.fixture
def expect(connect, backend):
    """Clients of @daemon are served; or they are reset, for nobody trusts them."""
    def expected(daemon, served):
        client = connect(daemon)
        if served:
            client.send(header.v2() + b"hello")
            assert backend.accept().receive(5) == b"hello"
        else:
            assert client.was_reset()

    return expected


@pytest.mark.parametrize("write", [write_as_an_editor, write_in_place])
def test_a_file_that_is_written_is_loaded(watch, expect, backend, tmp_path, write):
    file = tmp_path / "unproxy.json"
    file.write_text(text_for(backend, US))
    daemon = watch(file)
    for trusted in [STRANGERS, US, STRANGERS]:
        with Change(daemon) as change:
            write(file, text_for(backend, trusted))
        assert change.message == APPLIED
        expect(daemon, trusted == US)


def test_the_swap_of_a_configmap_is_seen(watch, expect, backend, tmp_path):
    files = ConfigMap(tmp_path / "config")
    lists = {"proxy_lists": {"us": {"file": "list.json"}}}
    unproxy = text_for(backend, ["us"], **lists)
    files.publish(unproxy=unproxy, list=json.dumps(US))
    daemon = watch(tmp_path / "config/unproxy.json")
    for trusted in [STRANGERS, US, STRANGERS, US]:
        with Change(daemon) as change:
            files.publish(unproxy=unproxy, list=json.dumps(trusted))
            files.remove_old()
        assert change.message == APPLIED
        expect(daemon, trusted == US)


def test_a_list_elsewhere_is_seen(watch, expect, backend, tmp_path):
    (tmp_path / "lists").mkdir()
    trusted = tmp_path / "lists/nlb.json"
    trusted.write_text(json.dumps(US))
    file = tmp_path / "unproxy.json"
    file.write_text(text_for(backend, ["nlb"], proxy_lists={"nlb": {"file": str(trusted)}}))
    daemon = watch(file)
    with Change(daemon):
        write_as_an_editor(trusted, json.dumps(STRANGERS))
    expect(daemon, False)


def test_a_file_that_is_half_written_is_not_applied(watch, expect, backend, tmp_path):
    """Even if the writer takes a break: half a document is none."""
    file = tmp_path / "unproxy.json"
    file.write_text(text_for(backend, US))
    daemon = watch(file)
    text = text_for(backend, STRANGERS)
    with Change(daemon, level="error") as refused:
        file.write_text(text[:len(text) // 2])
    assert refused.message.endswith("; the running configuration stays")
    expect(daemon, True)
    with Change(daemon) as change:
        file.write_text(text)
    assert change.message == APPLIED
    expect(daemon, False)


def test_writing_without_a_break_is_one_change(watch, backend, tmp_path):
    file = tmp_path / "unproxy.json"
    file.write_text(text_for(backend, US))
    daemon = watch(file)
    text = text_for(backend, STRANGERS)
    with Change(daemon), open(file, "w") as out:
        for i in range(0, len(text), 16):
            out.write(text[i:i + 16])
            out.flush()
    assert not reloads(daemon, "error")


def test_a_file_that_is_missing_for_a_while_leaves_us_serving(watch, expect, backend, tmp_path):
    file = tmp_path / "unproxy.json"
    file.write_text(text_for(backend, US))
    daemon = watch(file)
    with Change(daemon, level="error") as refused:
        file.unlink()
    assert "No such file" in refused.message
    expect(daemon, True)
    with Change(daemon):
        file.write_text(text_for(backend, STRANGERS))
    expect(daemon, False)


def test_watching_can_be_switched_on_and_off(watch, expect, backend, tmp_path):
    file = tmp_path / "unproxy.json"
    file.write_text(text_for(backend, US))
    daemon = watch(file)
    with Change(daemon):
        file.write_text(text_for(backend, US, watch=False))
    file.write_text(text_for(backend, STRANGERS))  # nobody sees it
    before = len(reloads(daemon, "info"))
    daemon.signal(signal.SIGHUP)
    lines = daemon.wait_for_records(before + 1, event="reload", level="info")
    assert lines[-1]["message"].startswith("SIGHUP: ")
    expect(daemon, False)
    with Change(daemon):
        write_as_an_editor(file, text_for(backend, US))
    expect(daemon, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_folder_that_may_not_be_listed_is_an_error_in_the_log(watch, backend):
    with directory() as path:
        path.chmod(0o711)
        file = path / "unproxy.json"
        file.write_text(text_for(backend, US, user="nobody"))
        line = watch(file).wait_for_records(1, event="watch")[0]
    assert line["level"] == "error"
    assert line["message"] == (
        "cannot watch the files of the configuration: Permission denied; make their folders "
        "readable for the user that unproxy runs as")
