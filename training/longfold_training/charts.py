"""Line charts as SVG, for reports that are one file without scripts. Knows no training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Told apart by most people with a colour vision deficiency (Okabe and Ito)."""
_WIDTH, _HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 28, 26


def chart(
    title: str,
    series: Mapping[str, Points],
    *,
    spans: Sequence[tuple[float, float]] = (),
) -> str:
    """A chart of named lines over steps.

    spans: stretches of x to shade. Points that are not finite leave a gap; a line without a finite point is left out.
    Returns an `<svg>` element; "" when no line is left.
    """
    series = {name: line for name, line in series.items() if any(math.isfinite(y) for _, y in line)}
    points = [(x, y) for line in series.values() for x, y in line if math.isfinite(y)]
    if not points:
        return ""
    xs = _Axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    ys = _Axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{_LEFT}" y="16">{escape(title)}</text>',
    ]
    for first, last in spans:
        left, right = xs.at(first), xs.at(last)
        parts.append(
            f'<rect class="span" x="{left:.1f}" y="{_TOP}" width="{max(1.0, right - left):.1f}" '
            f'height="{_HEIGHT - _BOTTOM - _TOP}"/>'
        )
    for value in ys.ticks():
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{ys.at(value):.1f}" y2="{ys.at(value):.1f}"/>'
        )
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{ys.at(value) + 4:.1f}">{value:g}</text>')
    for value in xs.ticks(finest=1.0):
        parts.append(f'<text class="tick mid" x="{xs.at(value):.1f}" y="{_HEIGHT - 8}">{value:g}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts += [
            f'<polyline stroke="{colour}" points="{" ".join(f"{xs.at(x):.1f},{ys.at(y):.1f}" for x, y in run)}"/>'
            for run in _runs(line)
        ]
        x, y = next(point for point in reversed(line) if math.isfinite(point[1]))
        parts.append(
            f'<circle fill="{colour}" cx="{xs.at(x):.1f}" cy="{ys.at(y):.1f}" r="3">'
            f"<title>{escape(name)} {y:g}</title></circle>"
        )
    parts.append("</svg>")
    return "".join(parts) + _legend(list(series))


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    keys = (
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(name)}</span>'
        for number, name in enumerate(names)
    )
    return f'<div class="legend">{"".join(keys)}</div>'


def _runs(line: Points) -> list[list[tuple[float, float]]]:
    """The stretches of a line between points that are not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in line:
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


class _Axis:
    """Values to pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = min(values), max(values)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, finest: float = 0.0) -> list[float]:
        """Round numbers inside, about four; none closer together than `finest`."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = max(finest, next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough))
        first = math.ceil(self.low / step)
        return [round(number * step, 12) for number in range(first, math.floor(self.high / step) + 1)]
