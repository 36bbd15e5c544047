"""docs/reference/metrics.md lists the metrics of each process, as the code declares them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from server.metrics import REGISTRY, LoopHistogram
from tests.unit.test_repository import ROOT, python_files

PAGE = ROOT / "docs" / "reference" / "metrics.md"
SECTIONS = {
    "Every process": ["server.metrics"],
    "Servers": ["server.api.metrics", "server.store.accept.metrics"],
    "Servers and dispatchers": ["server.store.metrics"],
    "Dispatchers": ["server.dispatcher.metrics"],
    "Gateway and portal": ["server.wiring.run_gateway", "server.wiring.run_portal"],
    "Certificates of servers and portals": ["server.wiring.certificates"],
}
"""The headings of the page, and the modules that declare what they list."""
SUFFIX = {Counter: "_total", Gauge: "", Histogram: ""}
_ROW = re.compile(r"^\| `(clarion_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)


def declared(module: str) -> set[tuple[str, str, str, str]]:
    """Return name, type, labels and meaning of what a module declares."""
    values = vars(importlib.import_module(module)).values()
    found = {_row(value) for value in values if isinstance(value, MetricWrapperBase)}
    found |= {_row_of_loop(value) for value in values if isinstance(value, LoopHistogram)}
    if module == "server.store.metrics":  # collected from the pools
        pools = [one for one in REGISTRY.collect() if one.name.startswith("clarion_pool_")]
        labels = {"clarion_pool_connections": "`pool`, `state`"}
        found |= {(one.name, "gauge", labels.get(one.name, "`pool`"), one.documentation) for one in pools}
    return found


def _row(metric: MetricWrapperBase) -> tuple[str, str, str, str]:
    labels = ", ".join(f"`{name}`" for name in metric._labelnames)
    return metric._name + SUFFIX[type(metric)], str(metric._type), labels, metric._documentation


def _row_of_loop(metric: LoopHistogram) -> tuple[str, str, str, str]:
    labels = ", ".join(f"`{name}`" for name in metric.label_names)
    assert metric.name
    return metric.name, "histogram", labels, metric.documentation


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_lists_the_metrics(heading: str) -> None:
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    listed = [(row[1], row[2], row[3].strip(), row[4]) for row in _ROW.finditer(section)]
    wanted = set().union(*(declared(module) for module in SECTIONS[heading]))
    assert wanted
    assert set(listed) == wanted
    assert len(listed) == len(wanted)


def test_the_page_lists_all_modules_that_declare_metrics() -> None:
    known = {name for names in SECTIONS.values() for name in names}
    found = {_module(path) for path in python_files(ROOT / "server") if _declares(path)}
    assert found == known


def _declares(path: Path) -> bool:
    return bool(re.search(r"= (counter|gauge|histogram|LoopHistogram)\(", path.read_text(encoding="utf-8")))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
