# SPDX-License-Identifier: MIT
"""What docker/ offers for watching unproxy: the alerts fire when they should, and alerts, dashboard and README speak of
metrics that there are."""

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docker/prometheus/alerts.yaml"
DASHBOARD = ROOT / "docker/grafana/unproxy.json"

METRIC = re.compile(r"\b((?:unproxy|process)_[a-z0-9_]+?)(?:_bucket)?\b(?![=(])")


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def expressions(value):
    """Every PromQL expression of the dashboard, with Grafana's variables filled in."""
    if isinstance(value, dict):
        if "expr" in value:
            yield re.sub(r"\$__rate_interval", "5m", re.sub(r"\$(job|instance|listener)", ".*", value["expr"]))
        for member in value.values():
            yield from expressions(member)
    elif isinstance(value, list):
        for member in value:
            yield from expressions(member)


def alert_names():
    return re.findall(r"- alert: (\w+)", ALERTS.read_text())


def test_every_alert_fires_when_it_should_and_only_then(tmp_path):
    shutil.copy(ALERTS, tmp_path)
    tests = Path(__file__).with_name("alerts_test.yaml")
    shutil.copy(tests, tmp_path)
    done = promtool("test", "rules", tmp_path / tests.name)
    assert done.returncode == 0, done.stdout
    for name in alert_names():
        assert tests.read_text().count(f"alertname: {name} ") == 1, f"{name} is not shown to be silent"
        assert tests.read_text().count(f'alertname="{name}"') == 1, f"{name} is not shown to fire"


def test_the_dashboards_queries_are_promql(tmp_path):
    found = list(expressions(json.loads(DASHBOARD.read_text())))
    assert len(found) > 20
    rules = {"groups": [{"name": "dashboard", "rules": [{"record": f"query:number{i}", "expr": expression}
                                                        for i, expression in enumerate(found)]}]}
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps(rules))  # JSON is YAML
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=["alerts", "dashboard"])
def test_they_speak_of_metrics_that_there_are(path, unproxy):
    daemon = unproxy("127.0.0.1:1", settings={"admin": {"listen": "127.0.0.1:0"}})
    address = daemon.wait_for_records(1, event="admin")[0]["message"].rsplit(" ", 1)[1]
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        offered = set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.MULTILINE))
    spoken = set(METRIC.findall(path.read_text()))
    assert len(spoken) >= 10
    assert spoken - offered == set()


def test_the_readme_lists_every_alert():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in alert_names() if f"| {name} |" not in readme] == []
