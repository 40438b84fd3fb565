"""The same programs against the interpreter on other allocators: mimalloc and jemalloc, preloaded."""

from __future__ import annotations

from pathlib import Path

from measure import alternate, run
from report import Outcome, Target, secs, times
from sides import PROGRAMS, BenchError, Side, heap_alone, peer

from rows import Context
from rows.heap_speed import mean, programs, same, walls

TITLE = "the same programs, PYTHONMALLOC=malloc with another allocator preloaded ÷ midden's heap"
COLUMNS = ("peer", "midden heap")
AT_LEAST = 1.0
PEERS = {
    "mimalloc": ("libmimalloc.so.2*", "libmimalloc.so*"),
    "jemalloc": ("libjemalloc.so.2*", "libjemalloc.so*"),
}
PLACES = ("/usr/local/lib", "/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib")


def library(patterns: tuple[str, ...]) -> str | None:
    """Return the path of the first shared library that matches, None when there is none."""
    for pattern in patterns:
        for place in PLACES:
            found = sorted(Path("/").glob(f"{place[1:]}/{pattern}"))
            if found:
                return str(found[0])
    return None


def peers(python: str, outcome: Outcome) -> list[Side]:
    """Return a side for each peer that is installed, and note those that are not."""
    found = []
    for name, patterns in PEERS.items():
        path = library(patterns)
        if path is None:
            outcome.notes.append(f"skipped {name}: no {patterns[0]} in {', '.join(PLACES)}")
            continue
        side = peer(python, name, path)
        try:  # a preloaded library that cannot be loaded is a warning only
            loaded = f"import sys; sys.exit({name!r} not in open('/proc/self/maps').read())"
            run(side, ["-c", loaded], report=False, what=f"looking for {name}")
        except BenchError as error:
            outcome.notes.append(f"skipped {name}: {path} does not load ({error})")
            continue
        outcome.notes.append(f"{name} is {Path(path).resolve()}")
        found.append(side)
    return found


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    outcome.columns = COLUMNS
    python = context.main.path
    others = peers(python, outcome)
    sides = [*others, heap_alone(python)] if others else []
    rounds = 1 if context.quick else 2 * context.rounds + 1
    repeats = ["2"] if context.quick else []
    speed: dict[str, dict[str, float]] = {name: {} for name in PEERS}
    processor: dict[str, list[float]] = {name: [] for name in PEERS}
    peaks: dict[str, list[float]] = {name: [] for name in PEERS}
    for name in programs() if sides else []:
        runs = alternate(
            sides, rounds, PROGRAMS / "short_main.py", [name, *repeats], label=f"{outcome.name} {name}"
        )
        same(name, runs)
        right = runs["heap"]
        outcome.raw[name] = {
            side: [[run.wall_s, run.report["work_s"], run.cpu_s] for run in those]
            for side, those in runs.items()
        }
        for side in others:
            left = runs[side.name]
            spread = outcome.compare(f"{name}, {side.name}", walls(left), walls(right), secs)
            if spread:
                speed[side.name][name] = spread.median
            processor[side.name].append(min(run.cpu_s for run in left) / min(run.cpu_s for run in right))
            peaks[side.name].append(
                min(run.report["peak_kib"] for run in right) / min(run.report["peak_kib"] for run in left)
            )
    for name, ratios in speed.items():
        if ratios:
            slowest = sorted(ratios, key=lambda one: ratios[one])[:3]
            told = ", ".join(f"{one} {times(ratios[one])}" for one in slowest)
            outcome.notes.append(
                f"{name}: slowest {told}; geometric mean of the processor times {mean(processor[name]):.3f}; "
                f"peak resident memory, midden ÷ {name}, geometric mean {mean(peaks[name]):.3f}"
            )
        ratio = mean(list(ratios.values())) if ratios else None
        outcome.targets.append(Target(f"speed, {name} ÷ midden, geometric mean", ">=", AT_LEAST, ratio))
    if context.quick:
        outcome.notes.append("quick: so short that the start of the process weighs most")
