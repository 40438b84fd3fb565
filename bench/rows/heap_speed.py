"""Programs that allocate all the time, and short ones: CPython's allocator against midden's heap alone."""

from __future__ import annotations

import statistics

from measure import Run, alternate
from report import Outcome, Spread, Target, ms, secs, times
from sides import PROGRAMS, BenchError, heap_alone, stock

from rows import Context
from rows.short import names

TITLE = "time of allocating and of short programs, whole process: pymalloc ÷ midden's heap (collector off)"
COLUMNS = ("pymalloc", "midden heap")
AT_LEAST = 1.0
NONE_BELOW = 0.97


def programs() -> list[str]:
    """Return the names of all programs, those that allocate first."""
    return names("alloc") + names()


def walls(runs: list[Run]) -> list[float]:
    """Return the times of the whole processes, in seconds."""
    return [run.wall_s for run in runs]


def inside(runs: list[Run]) -> list[float]:
    """Return the times of the work alone, without starting and enabling, in seconds."""
    return [run.report["work_s"] for run in runs]


def same(name: str, runs: dict[str, list[Run]]) -> None:
    """Raise BenchError unless `name` gave the same result on all sides."""
    if len({run.report["check"] for side in runs.values() for run in side}) != 1:
        raise BenchError(f"{name} gave different results on the sides")


def mean(ratios: list[float]) -> float:
    """Return the geometric mean."""
    return statistics.geometric_mean(ratios)


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    outcome.columns = COLUMNS
    python = context.main.path
    sides = [stock(python)]
    try:
        sides.append(heap_alone(python))
    except BenchError as error:
        outcome.notes.append(f"stock only: {error}")
    rounds = 1 if context.quick else 2 * context.rounds + 1
    repeats = ["2"] if context.quick else []
    whole: dict[str, float] = {}
    least: list[float] = []
    within: list[float] = []
    processor: list[float] = []
    enable: list[float] = []
    for name in programs():
        runs = alternate(
            sides, rounds, PROGRAMS / "short_main.py", [name, *repeats], label=f"{outcome.name} {name}"
        )
        same(name, runs)
        left, right = runs["stock"], runs.get("heap", [])
        spread = outcome.compare(name, walls(left), walls(right), secs)
        outcome.raw[name] = {
            side: [[run.wall_s, run.report["work_s"], run.cpu_s] for run in those]
            for side, those in runs.items()
        }
        if spread:
            whole[name] = spread.median
            least.append(min(walls(left)) / min(walls(right)))
            within.append(statistics.median(a / b for a, b in zip(inside(left), inside(right), strict=True)))
            processor.append(min(run.cpu_s for run in left) / min(run.cpu_s for run in right))
            enable += [run.report["enable_s"] for run in right]
    if whole:
        _tell(outcome, whole, least, within, processor, enable)
    if context.quick:
        outcome.notes.append("quick: so short that the start of the process weighs most")
    ratios = list(whole.values())
    outcome.targets += [
        Target("speed, geometric mean", ">=", AT_LEAST, mean(ratios) if ratios else None),
        Target("speed, slowest of the programs", ">=", NONE_BELOW, min(ratios, default=None)),
    ]


def _tell(
    outcome: Outcome,
    whole: dict[str, float],
    least: list[float],
    within: list[float],
    processor: list[float],
    enable: list[float],
) -> None:
    """Add the notes: the means by other measures, the parts, and the slowest programs."""
    allocating = names("alloc")
    parts = [[whole[name] for name in whole if (name in allocating) is first] for first in (True, False)]
    outcome.notes.append(
        f"geometric mean of the median ratios {mean(list(whole.values())):.3f} (allocating programs "
        f"{mean(parts[0]):.3f}, short ones {mean(parts[1]):.3f}), of the ratios of least times "
        f"{mean(least):.3f}, of the time inside, without starting and enabling, {mean(within):.3f}, of the "
        f"processor times {mean(processor):.3f}"
    )
    slowest = sorted(whole, key=lambda name: whole[name])[:3]
    others = dict(zip(whole, zip(least, processor, strict=True), strict=True))
    told = [f"{name} {times(whole[name])} ({', '.join(map(times, others[name]))})" for name in slowest]
    outcome.notes.append(
        f"slowest, in brackets by least times and by processor times: {', '.join(told)}"
        f"; import and enable() took {Spread.of(enable).show(ms)}, and are counted"
    )
