"""The same stand-still while the live heap grows: midden's may grow only as the page tables do."""

from __future__ import annotations

import statistics

from measure import Run, alternate
from report import Line, Outcome, Spread, Target, mib, ms, times
from sides import PROGRAMS

from rows import Context
from rows.standstill import HOPS, longest_full

TITLE = "longest stand-still as the live heap grows from 1 M to 10 M containers"
AT_MOST = 1.25


def clone_pause(run: Run) -> float:
    """Return the longest pause for a clone, in seconds."""
    return run.stat("pauses", "clone", "max_s")


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    sizes = (250_000, 500_000, 1_000_000) if context.quick else (1_000_000, 2_000_000, 5_000_000, 10_000_000)
    sides = context.sides(outcome)
    rounds = 1 if context.quick else max(1, context.rounds - 1)
    seen: dict[int, dict[str, list[Run]]] = {}
    for size in sizes:
        seconds = max(6, round(size / 250_000))
        seen[size] = alternate(
            sides,
            rounds,
            PROGRAMS / "churn.py",
            [str(size), str(seconds), HOPS],
            label=f"{outcome.name}, {size / 1e6:g} M",
        )
        stock, midden = seen[size]["stock"], seen[size].get("midden", [])
        label = f"{size / 1e6:g} M objects"
        gaps = [[run.report["gap"]["max_s"] for run in side] for side in (stock, midden)]
        outcome.compare(f"{label}: longest gap", gaps[0], gaps[1], ms)
        outcome.compare(
            f"{label}: longest full collection reported", [longest_full(r) for r in stock], [], ms
        )
        outcome.alone(f"{label}: longest pause for a clone", [clone_pause(r) for r in midden], ms)
        tables = [[run.report["memory_kib"]["end"]["VmPTE"] for run in side] for side in (stock, midden)]
        outcome.compare(f"{label}: page tables", tables[0], tables[1], mib, upside_down=True)
    _judge(outcome, seen, sizes)


def _judge(outcome: Outcome, seen: dict[int, dict[str, list[Run]]], sizes: tuple[int, ...]) -> None:
    """Compare how stand-still and page tables grew from the smallest heap to the largest."""
    first, last = seen[sizes[0]], seen[sizes[-1]]

    def grew(side: str, figure: str) -> float:
        def of(runs: list[Run]) -> float:
            reports = [run.report for run in runs]
            if figure == "gap":
                return float(statistics.median(report["gap"]["max_s"] for report in reports))
            return float(statistics.median(report["memory_kib"]["end"]["VmPTE"] for report in reports))

        return of(last[side]) / of(first[side])

    ratio = None
    columns = {side: {figure: grew(side, figure) for figure in ("gap", "tables")} for side in first}
    for figure, what in (("gap", "growth of the longest gap"), ("tables", "growth of the page tables")):
        cells = [times(columns[side][figure]) if side in columns else "–" for side in ("stock", "midden")]
        outcome.lines.append(Line(what, *cells))
    if "midden" in columns:
        ratio = columns["midden"]["gap"] / columns["midden"]["tables"]
        pauses = Spread.of(
            [clone_pause(run) / run.report["memory_kib"]["end"]["VmPTE"] * 1024 for run in last["midden"]]
        )
        outcome.notes.append(
            f"at the largest heap a clone takes {pauses.show(ms)} for each MiB of page tables"
        )
    outcome.targets.append(
        Target("growth of midden's longest gap ÷ growth of the page tables", "<=", AT_MOST, ratio)
    )
