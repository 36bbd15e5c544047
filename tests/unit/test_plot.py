"""Charts are well-formed SVG with a line for each series."""

from __future__ import annotations

from xml.etree import ElementTree

from lab.plot import line_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_has_a_line_for_each_series() -> None:
    lines = {"claim <10>": [1.0, 1.1, 2.0], "status": [1.0, 1.0, 1.0]}
    root = ElementTree.fromstring(  # noqa: S314 - ours
        line_chart("Costs & rows", ["0", "1 M", "2 M"], lines, target=1.2, unit="x")
    )
    drawn = [one.get("points", "").split() for one in root.iter(f"{SVG}polyline")]
    assert [len(points) for points in drawn] == [3, 3]
    heights = [float(point.split(",")[1]) for point in drawn[0]]
    assert heights[0] > heights[1] > heights[2]  # higher values are further up
    texts = {one.text for one in root.iter(f"{SVG}text")}
    assert {"Costs & rows", "claim <10>", "status", "0", "1 M", "2 M"} <= texts
