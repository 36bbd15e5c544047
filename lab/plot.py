"""Draws line charts as SVG, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 760, 360, 56, 40, 44, 210
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f", "#8c510a")
"""By Okabe and Ito (https://jfly.uni-koeln.de/color/), for readers who are colour-blind, and two more."""


def line_chart(
    title: str,
    labels: Sequence[str],
    lines: Mapping[str, Sequence[float]],
    *,
    target: float,
    unit: str,
) -> str:
    """Return an SVG with a line for each series, and a dashed one for the target.

    Args:
        title: What the chart shows.
        labels: The places on the horizontal axis, at equal distances.
        lines: The values at each place, by name.
        target: The greatest value that is wanted.
        unit: What the vertical axis shows.
    """
    highest = max(1.25 * target, *(value for line in lines.values() for value in line))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(place: int) -> float:
        return _LEFT + (right - _LEFT) * place / max(1, len(labels) - 1)

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * value / highest

    parts = [_text(_LEFT, 22, title, "start", bold=True), _text(_LEFT - 8, _TOP - 8, unit, "start")]
    step = 0.25 if highest <= 2 else 0.5 if highest <= 4 else highest / 8  # noqa: PLR2004 - lines that are not crowded
    for number in range(int(highest / step) + 1):
        level = y(number * step)
        parts.append(f'<line x1="{_LEFT}" y1="{level:.1f}" x2="{right}" y2="{level:.1f}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, level + 4, f"{number * step:.2f}", "end"))
    parts.append(
        f'<line x1="{_LEFT}" y1="{y(target):.1f}" x2="{right}" y2="{y(target):.1f}" stroke="#c00"'
        ' stroke-dasharray="6 4"/>'
    )
    parts += [_text(x(place), bottom + 20, label, "middle") for place, label in enumerate(labels)]
    for number, (name, values) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        level = _TOP + 8 + 20 * number
        parts.append(f'<rect x="{right + 16}" y="{level - 8}" width="12" height="4" fill="{colour}"/>')
        parts.append(_text(right + 34, level, name, "start"))
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    font = 'font-family="sans-serif" font-size="12"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {font}>\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
