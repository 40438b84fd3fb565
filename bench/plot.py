"""Latency over time as an SVG, drawn by hand: a panel for each variant, all on one logarithmic scale.

For each short span of time a panel shows the range of latencies in it as a bar (from the median to the
slowest) and the median as a line. Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, PANEL, GAP = 960, 168, 34
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 92, 54
SPANS = 240

LIGHT = {"ground": "#ffffff", "ink": "#1f2328", "faint": "#59636e", "grid": "#d1d9e0"}
DARK = {"ground": "#0d1117", "ink": "#e6edf3", "faint": "#9198a1", "grid": "#30363d"}
LIGHT_SERIES = ("#cf222e", "#9a6700", "#1a7f37")
DARK_SERIES = ("#ff7b72", "#e3b341", "#56d364")
FONT = "system-ui, -apple-system, Helvetica, Arial, sans-serif"


def _style() -> str:
    """Return the dark scheme. The light one stands in the elements, for viewers that know no style sheets."""
    rules = [
        f".ground{{fill:{DARK['ground']}}}",
        f".ink{{fill:{DARK['ink']}}}",
        f".faint{{fill:{DARK['faint']}}}",
        f".grid{{stroke:{DARK['grid']}}}",
    ]
    for number, colour in enumerate(DARK_SERIES):
        rules.append(f".fill{number}{{fill:{colour}}} .line{number}{{stroke:{colour}}}")
    return "@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}"


def _text(x: float, y: float, words: str, size: int, kind: str = "faint", more: str = "") -> str:
    """Return a text element; `kind` names its colour."""
    colour = LIGHT.get(kind) or LIGHT_SERIES[int(kind[-1])]
    where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}"'
    return f'<text class="{kind}" fill="{colour}" {where} {more}>{escape(words)}</text>'


MIDDLE, END, BOLD = 'text-anchor="middle"', 'text-anchor="end"', 'font-weight="600"'


@dataclass(frozen=True)
class Series:
    """One variant: its name, what to say beside it, and [seconds since the start, latency in seconds]."""

    name: str
    remark: str
    points: Sequence[Sequence[float]]


class _Scale:
    """Where a latency lies in a panel; the axis covers all series, at least a millisecond to a hundred."""

    def __init__(self, series: Sequence[Series]) -> None:
        latencies = sorted(latency for one in series for _, latency in one.points)
        fast = latencies[len(latencies) // 100]  # a few very fast ones need no decade of their own
        self.low = math.floor(math.log10(min(fast, 1e-3)))
        self.high = math.ceil(math.log10(max(latencies[-1], 1e-1)))

    def y(self, latency: float, top: float) -> float:
        share = (math.log10(max(latency, 1e-6)) - self.low) / (self.high - self.low)
        return top + PANEL * (1 - min(max(share, 0.0), 1.0))


def _label(exponent: int) -> str:
    return {-4: "0.1 ms", -3: "1 ms", -2: "10 ms", -1: "0.1 s", 0: "1 s", 1: "10 s", 2: "100 s"}.get(
        exponent, f"1e{exponent} s"
    )


def draw(series: Sequence[Series], title: str, subtitle: str, path: Path) -> None:
    """Write the plot of `series` (three at most) to `path`. Raises ValueError when one has no points."""
    if not all(one.points for one in series):
        raise ValueError("a series without points cannot be drawn")
    scale = _Scale(series)
    seconds = max(point[0] for one in series for point in one.points)
    height = TOP + len(series) * (PANEL + GAP) - GAP + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(title)}" font-family="{FONT}">',
        f"<style>{_style()}</style>",
        f'<rect class="ground" fill="{LIGHT["ground"]}" width="{WIDTH}" height="{height}"/>',
        _text(LEFT, 28, title, 19, "ink", BOLD),
        _text(LEFT, 48, subtitle, 13),
    ]
    for number, one in enumerate(series):
        top = TOP + number * (PANEL + GAP)
        parts += _grid(scale, top)
        parts += _panel(one, number, scale, top, seconds)
    parts += _time_axis(seconds, height)
    parts.append("</svg>\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts))


def _grid(scale: _Scale, top: float) -> list[str]:
    lines = []
    for exponent in range(scale.low, scale.high + 1):
        y = scale.y(10.0**exponent, top)
        ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        lines.append(f'<line class="grid" stroke="{LIGHT["grid"]}" {ends}/>')
        lines.append(_text(LEFT - 8, y + 4, _label(exponent), 12, "faint", END))
    return lines


def _panel(one: Series, number: int, scale: _Scale, top: float, seconds: float) -> list[str]:
    """Return the bars, the median line and the heading of one series."""
    spans: list[list[float]] = [[] for _ in range(SPANS)]
    for at, latency in one.points:
        spans[min(int(at / seconds * SPANS), SPANS - 1)].append(latency)
    step = (WIDTH - LEFT - RIGHT) / SPANS
    bars, line = [], []
    for i, latencies in enumerate(spans):
        if not latencies:
            continue
        x = LEFT + i * step
        middle, slowest = scale.y(statistics.median(latencies), top), scale.y(max(latencies), top)
        bars.append(f"M{x:.1f} {middle:.1f}V{slowest:.1f}h{step:.2f}V{middle:.1f}z")
        line.append(f"{x + step / 2:.1f},{middle:.1f}")
    colour = LIGHT_SERIES[number]
    points = " ".join(line)
    return [
        f'<path class="fill{number}" fill="{colour}" opacity="0.42" d="{"".join(bars)}"/>',
        f'<polyline class="line{number}" fill="none" stroke="{colour}" stroke-width="1.6"',
        f' points="{points}"/>',
        _text(LEFT, top - 8, one.name, 14, f"fill{number}", BOLD),
        _text(WIDTH - RIGHT, top - 8, one.remark, 13, "ink", END),
    ]


def _time_axis(seconds: float, height: float) -> list[str]:
    every = next((step for step in (1, 2, 5, 10, 20, 60, 600) if seconds / step <= 14), 3600)
    y = height - BOTTOM + 20
    across = WIDTH - LEFT - RIGHT
    ticks = [
        _text(LEFT + at / seconds * across, y, str(at), 12, "faint", MIDDLE)
        for at in range(0, int(seconds) + 1, every)
    ]
    return [*ticks, _text(LEFT + across / 2, y + 20, "seconds under load", 12, "faint", MIDDLE)]
