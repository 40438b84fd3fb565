"""What a row found, and how it is shown: a text table on the terminal, Markdown and JSON in files.

Every figure stands beside the other side's and their ratio. A ratio is taken within a round (the two sides
ran one after the other), so a row with n rounds has n ratios; tables show their least, median and greatest.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure import Run, naps_s


@dataclass
class Spread:
    """Least, median and greatest of some figures."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise `values`, which must not be empty."""
        return cls(min(values), statistics.median(values), max(values))

    def show(self, form: Callable[[float], str]) -> str:
        """Return ``least / median / greatest``, or one figure when there is just one."""
        if self.least == self.greatest:
            return form(self.median)
        return " / ".join(form(v) for v in (self.least, self.median, self.greatest))


@dataclass
class Line:
    """One line of a row's table: a figure of either side (already formatted) and their ratio."""

    what: str
    stock: str
    midden: str
    ratio: str = ""


@dataclass
class Target:
    """What a row must reach: `ratio` on the `sense` (``>=`` or ``<=``) side of `bound`."""

    what: str
    sense: str
    bound: float
    ratio: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether it was reached; None when it was not measured."""
        if self.ratio is None:
            return None
        return self.ratio >= self.bound if self.sense == ">=" else self.ratio <= self.bound

    def show(self) -> str:
        """Return one sentence for the reader."""
        sign = {">=": "≥", "<=": "≤"}[self.sense]
        if self.ratio is None:
            return f"{self.what} {sign} {self.bound:g}: not measured"
        verdict = "reached" if self.reached else "NOT reached"
        return f"{self.what} {sign} {self.bound:g}: {self.ratio:.3g}, {verdict}"


@dataclass
class Outcome:
    """What one row found. `columns` names what it compares."""

    name: str
    title: str
    columns: tuple[str, str] = ("stock", "midden")
    lines: list[Line] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def compare(
        self,
        what: str,
        stock: Sequence[float],
        midden: Sequence[float],
        form: Callable[[float], str],
        *,
        upside_down: bool = False,
    ) -> Spread | None:
        """Add a line and return the spread of the ratios stock ÷ midden (midden ÷ stock if `upside_down`).

        `midden` may be empty (that side did not run): the line shows stock alone and None is returned, as it
        is when something would be divided by zero.
        """
        left = Spread.of(stock).show(form) if stock else "–"
        if not stock or not midden:
            self.lines.append(Line(what, left, Spread.of(midden).show(form) if midden else "–"))
            return None
        below, above = (stock, midden) if upside_down else (midden, stock)
        if not all(below):  # nothing happened on that side: there is no ratio
            self.lines.append(Line(what, left, Spread.of(midden).show(form)))
            return None
        ratios = [a / b for a, b in zip(above, below, strict=False)]
        spread = Spread.of(ratios)
        one, other = (column[0] for column in self.columns)
        direction = f"{other}÷{one}" if upside_down else f"{one}÷{other}"
        self.lines.append(Line(what, left, Spread.of(midden).show(form), f"{spread.show(times)} {direction}"))
        return spread

    def alone(self, what: str, midden: Sequence[float], form: Callable[[float], str]) -> None:
        """Add a line for a figure that only midden has."""
        if midden:
            self.lines.append(Line(what, "–", Spread.of(midden).show(form)))


def ms(seconds: float) -> str:
    """Format a duration given in seconds as milliseconds."""
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def secs(seconds: float) -> str:
    """Format a duration in seconds."""
    return f"{seconds:.3g} s"


def mib(kib: float) -> str:
    """Format a size given in KiB."""
    return f"{kib / 1024:.0f} MiB" if kib >= 10240 else f"{kib / 1024:.1f} MiB"


def times(ratio: float) -> str:
    """Format a ratio."""
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def count(number: float) -> str:
    """Format a count."""
    return f"{number:,.0f}"


def per_second(number: float) -> str:
    """Format a rate."""
    return f"{number / 1e6:.2f} M/s" if number >= 1e6 else f"{number / 1e3:.3g} k/s"


def disclose(outcome: Outcome, runs: list[Run]) -> None:
    """Add what every row owes its reader beside the ratios: the clone's CPU time, naps, failures."""
    runs = [run for run in runs if run.stats is not None]
    if not runs:
        return
    outcome.alone("snapshots", [r.stat("snapshots") for r in runs], count)
    outcome.alone("snapshots failed", [r.stat("snapshots_failed") for r in runs], count)
    outcome.alone("objects reclaimed", [r.stat("reclaimed") for r in runs], count)
    outcome.alone("fallbacks (in place)", [r.stat("fallbacks") for r in runs], count)
    outcome.alone("CPU of the clones", [r.stat("child_cpu_s") for r in runs], secs)
    outcome.alone("time in naps", [naps_s(r.stats or {}) for r in runs], secs)
    for cause in ("clone", "reclaim", "young", "full"):
        if any(r.stat("pauses", cause, "count") for r in runs):
            outcome.alone(f"longest pause by {cause}", [r.stat("pauses", cause, "max_s") for r in runs], ms)


def text(outcome: Outcome) -> str:
    """Return the row as aligned text."""
    rows = [("", *outcome.columns, "ratio")] + [(x.what, x.stock, x.midden, x.ratio) for x in outcome.lines]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    parts = [f"{outcome.name} – {outcome.title}"]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [row[i].rjust(widths[i]) for i in (1, 2, 3)]
        parts.append("  " + "  ".join(cells).rstrip())
        if number == 0:
            parts.append("  " + "─" * (sum(widths) + 6))
    parts += [f"  target: {target.show()}" for target in outcome.targets]
    parts += [f"  note: {note}" for note in outcome.notes]
    parts += [f"  FAILED: {failure}" for failure in outcome.failures]
    return "\n".join(parts) + "\n"


def markdown(outcome: Outcome) -> str:
    """Return the row as a Markdown section."""
    parts = [
        f"## {outcome.name}",
        "",
        outcome.title,
        "",
        "| | {} | {} | ratio |".format(*outcome.columns),
        "|---|---:|---:|---:|",
    ]
    parts += [f"| {x.what} | {x.stock} | {x.midden} | {x.ratio} |" for x in outcome.lines]
    parts.append("")
    parts += [f"- **target** {target.show()}" for target in outcome.targets]
    parts += [f"- {note}" for note in outcome.notes]
    parts += [f"- **FAILED** {failure}" for failure in outcome.failures]
    return "\n".join(parts) + "\n"


def machine() -> dict[str, Any]:
    """Return what a reader needs to know of the machine."""
    model = next(
        (
            x.split(":", 1)[1].strip()
            for x in Path("/proc/cpuinfo").read_text().splitlines()
            if x.startswith("model name")
        ),
        platform.machine(),
    )
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "huge_pages": huge.read_text().strip() if huge.exists() else "none",
        "load_at_start": os.getloadavg()[0],
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def write(outcomes: list[Outcome], context: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write JSON and Markdown into `folder` (made if missing) and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "context": context,
        "rows": [
            {**asdict(o), "targets": [{**asdict(t), "reached": t.reached} for t in o.targets]}
            for o in outcomes
        ],
    }
    as_json, as_markdown = folder / "results.json", folder / "results.md"
    as_json.write_text(json.dumps(data, indent=1, default=str))
    head = "\n".join(f"- {key}: {value}" for key, value in context.items())
    as_markdown.write_text(
        f"# midden beside stock CPython\n\n{head}\n\n" + "\n".join(map(markdown, outcomes))
    )
    return as_json, as_markdown
