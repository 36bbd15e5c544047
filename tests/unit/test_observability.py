"""Alerts and dashboards: their metrics exist, and each alert has a runbook and a drill."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.prometheus import program
from tests.unit.test_metrics_reference import PAGE
from tests.unit.test_repository import ROOT

FOLDER = ROOT / "deploy" / "observability"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
NAMES = [rule["alert"] for rule in RULES]


def existing() -> set[str]:
    """Return the names of all series, as the reference lists their metrics."""
    names: set[str] = set()
    for name, kind in re.findall(r"^\| `(clarion_\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE):
        names |= (
            {f"{name}{part}" for part in ("_bucket", "_count", "_sum")} if kind == "histogram" else {name}
        )
    return names


def used(expression: str) -> set[str]:
    return set(re.findall(r"\bclarion_\w+", expression))


def expressions(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_metrics_of_each_alert_exist(rule: dict[str, Any]) -> None:
    assert used(rule["expr"]) <= existing()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_the_metrics_of_each_dashboard_exist(dashboard: Path) -> None:
    assert expressions(dashboard)
    assert set().union(*map(used, expressions(dashboard))) <= existing()


def test_the_dashboards_show_every_metric() -> None:
    shown = {name for path in DASHBOARDS for one in expressions(path) for name in used(one)}
    metrics = {re.sub("_(bucket|count|sum)$", "", name) for name in existing()}
    assert metrics == {re.sub("_(bucket|count|sum)$", "", name) for name in shown}


def test_each_alert_has_a_runbook_with_its_rule() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {*NAMES, "README"}
    index = (RUNBOOKS / "README.md").read_text()
    for rule in RULES:
        page = (RUNBOOKS / f"{rule['alert']}.md").read_text()
        assert page.startswith(f"# {rule['alert']}\n")
        assert f"```\n{rule['expr']}\n```" in page
        assert f"after {rule['for']}, with severity `{rule['labels']['severity']}`" in page
        assert f"| [{rule['alert']}]({rule['alert']}.md) | {rule['labels']['severity']} |" in index
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"


def test_each_alert_has_a_drill_that_fires_and_clears() -> None:
    drills = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    assert [drill["name"] for drill in drills] == NAMES
    for drill in drills:
        fires, clears = drill["promql_expr_test"]
        assert f'alertname="{drill["name"]}"' in fires["expr"] == clears["expr"]
        assert (fires["exp_samples"], clears["exp_samples"]) == ([{"labels": "{}", "value": 1}], [])


def test_promtool_runs_the_drills() -> None:
    promtool = program("promtool")
    for words in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        ended = subprocess.run([promtool, *words], cwd=FOLDER, capture_output=True, check=False, timeout=120)
        assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
