"""Peak memory of midden's heap beside CPython's allocator, on small, on allocating and on large programs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from measure import PROGRESS, alternate, run
from report import Outcome, Target, mib, times
from sides import PROGRAMS, BenchError, Side, heap_alone, stock

from rows import Context
from rows.heap_speed import mean, programs, same
from rows.memory import Workload, available, workloads

TITLE = "peak resident memory of the program, midden's heap (collector off) ÷ pymalloc"
COLUMNS = ("pymalloc", "midden heap")
AT_MOST = 1.03
LARGE_KIB = 64 << 10


@dataclass
class Peaks:
    """The median peaks of one program, in KiB, and their median ratio."""

    name: str
    ratio: float
    more_kib: float
    kib: float


def small(
    sides: list[Side], rounds: int, name: str, context: Context, outcome: Outcome
) -> dict[str, list[float]]:
    """Run one of the short or allocating programs; return the peaks of each side."""
    repeats = ["2"] if context.quick else []
    script = PROGRAMS / "short_main.py"
    runs = alternate(sides, rounds, script, [name, *repeats], label=f"{outcome.name} {name}")
    same(name, runs)
    return {side: [float(one.report["peak_kib"]) for one in those] for side, those in runs.items()}


def large(
    sides: list[Side], rounds: int, work: Workload, scratch: Path, outcome: Outcome
) -> dict[str, list[float]]:
    """Run one of the programs of the row `memory`; return the peaks of each side."""
    start = list(work.script) if isinstance(work.script, list) else [str(work.script)]
    first = ["-E"] if work.needs == "sphinx" else []
    args = [str(scratch / "out") if word == "OUT" else word for word in work.args]
    told = scratch / "peak"
    peaks: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            told.unlink(missing_ok=True)
            run(
                side,
                PROGRAMS / "heap_main.py",
                [*start, *first, *args],
                what=f"{outcome.name}, {work.name}: {side.name}, {number + 1} of {rounds}",
                env={"BENCH_PEAK": str(told)},
                **work.options,
            )
            if not told.exists():
                raise BenchError(f"{side.name}: {work.name} left no peak")
            peaks[side.name].append(float(told.read_text()))
    return peaks


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    outcome.columns = COLUMNS
    python = context.main.path
    sides = [stock(python)]
    try:
        sides.append(heap_alone(python))
    except BenchError as error:
        outcome.notes.append(f"stock only: {error}")
    rounds = 1 if context.quick else max(1, context.rounds - 1)
    seen: list[Peaks] = []

    def compare(name: str, peaks: dict[str, list[float]]) -> None:
        left, right = peaks["stock"], peaks.get("heap", [])
        spread = outcome.compare(name, left, right, mib, upside_down=True)
        if spread:
            seen.append(Peaks(name, spread.median, min(right) - min(left), min(left)))

    compare("nothing at all", nothing(sides, rounds, outcome))
    empty = seen.pop() if seen else None
    for name in programs():
        compare(name, small(sides, rounds, name, context, outcome))
    with tempfile.TemporaryDirectory(prefix="midden-bench-") as folder:
        scratch = Path(folder)
        for work in workloads(scratch, context.quick):
            if not available(python, work.needs):
                outcome.notes.append(f"skipped {work.name}: {python} has no module {work.needs}")
                continue
            try:
                compare(work.name, large(sides, rounds, work, scratch, outcome))
            except BenchError as error:
                PROGRESS.clear()
                outcome.failures.append(f"{work.name}: {error}")
    if seen:
        _tell(outcome, seen, empty)
    worst = max((one.ratio for one in seen), default=None)
    outcome.targets.append(
        Target("peak memory, worst of the programs, midden ÷ pymalloc", "<=", AT_MOST, worst)
    )


def nothing(sides: list[Side], rounds: int, outcome: Outcome) -> dict[str, list[float]]:
    """Return the peaks of a program that does nothing: what importing and enabling costs."""
    with tempfile.TemporaryDirectory(prefix="midden-bench-") as folder:
        (Path(folder) / "nothing.py").touch()
        work = Workload("nothing", Path(folder) / "nothing.py", [], options={"report": False})
        return large(sides, rounds, work, Path(folder), outcome)


def _tell(outcome: Outcome, seen: list[Peaks], empty: Peaks | None) -> None:
    """Add the notes: the worst, those of them that are large, the mean, and what cannot be less."""
    by_ratio = sorted(seen, key=lambda one: -one.ratio)

    def name(those: list[Peaks]) -> str:
        return ", ".join(
            f"{one.name} {times(one.ratio)} ({one.more_kib / 1024:+.1f} MiB)" for one in those[:3]
        )

    outcome.notes.append(f"worst: {name(by_ratio)}; geometric mean {mean([one.ratio for one in seen]):.3f}")
    big = [one for one in by_ratio if one.kib >= LARGE_KIB]
    if big:
        outcome.notes.append(f"worst of those with {mib(LARGE_KIB)} and more: {name(big)}")
    if empty:
        outcome.notes.append(
            f"a program that does nothing takes {empty.more_kib / 1024:.1f} MiB more: the extension, and the "
            "first pages of every size; it is no part of the target"
        )
    outcome.notes.append("VmHWM of the process, which it reads itself when it ends: nothing is sampled")
