"""Short programs with small heaps: nothing to win there, so nothing may be lost."""

from __future__ import annotations

import re
import statistics

from measure import Run, alternate
from report import Outcome, Spread, Target, ms, secs, times
from sides import PROGRAMS, BenchError, embedded, stock

from rows import Context

TITLE = "short programs with small heaps, whole process, midden enabled by the program itself"
AT_LEAST = 0.99


def names(package: str = "short") -> list[str]:
    """Return the names of the programs in a package, read from their registry without importing them."""
    text = (PROGRAMS / package / "__init__.py").read_text()
    return re.findall(r'^    "(\w+)": \(', text, re.M)


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row. Speed is stock's time ÷ midden's, so that 1 is even and more is better."""
    python = context.main.path
    sides = [stock(python)]
    try:
        sides.append(embedded(python))
    except BenchError as error:
        outcome.notes.append(f"stock only: {error}")
    rounds = 1 if context.quick else 2 * context.rounds + 1
    repeats = ["2"] if context.quick else []
    wall: list[float] = []
    least: list[float] = []
    processor: list[float] = []
    enable: list[float] = []
    for name in names():
        runs = alternate(
            sides, rounds, PROGRAMS / "short_main.py", [name, *repeats], label=f"{outcome.name} {name}"
        )
        left, right = runs["stock"], runs.get("midden", [])
        checks = {run.report["check"] for run in left + right}
        if len(checks) != 1:
            raise BenchError(f"{name} gave different results on the two sides")
        spread = outcome.compare(name, _walls(left), _walls(right), secs)
        outcome.raw[name] = {side: [[r.wall_s, r.cpu_s] for r in those] for side, those in runs.items()}
        if spread:
            wall.append(spread.median)
            least.append(min(_walls(left)) / min(_walls(right)))
            processor.append(min(r.cpu_s for r in left) / min(r.cpu_s for r in right))
            enable += [run.report["enable_s"] for run in right]
    ratio = None
    if wall:
        ratio = statistics.geometric_mean(wall)
        outcome.notes.append(
            f"geometric mean of the median ratios {ratio:.3f}, of the ratios of least times "
            f"{statistics.geometric_mean(least):.3f}, of the processor times "
            f"{statistics.geometric_mean(processor):.3f}"
        )
        outcome.notes.append(
            f"least of the programs: {times(min(wall))}; import and enable() took "
            f"{Spread.of(enable).show(ms)}, and are counted"
        )
    if context.quick:
        outcome.notes.append("quick: so short that the start of the process weighs most")
    outcome.targets.append(Target("speed, midden ÷ stock (stock's time ÷ midden's)", ">=", AT_LEAST, ratio))


def _walls(runs: list[Run]) -> list[float]:
    return [run.wall_s for run in runs]
