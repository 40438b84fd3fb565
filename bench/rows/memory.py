"""Peak memory of program and clone together, on programs on which collectors were found to let it grow."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import material
from measure import PROGRESS, Run, alternate, naps_s, run
from report import Outcome, Target, count, mib, ms, secs, times
from sides import PROGRAMS, BenchError, stock

from rows import Context

TITLE = "peak memory (PSS) of the program and its clone, worst of the programs known for it"
AT_MOST = 1.25


@dataclass
class Workload:
    """A program, the module it needs (checked before), and how to start it."""

    name: str
    script: str | Path | list[str]
    args: list[str]
    needs: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def workloads(scratch: Path, quick: bool) -> list[Workload]:
    """Return all workloads, with their input prepared in `scratch`."""
    pages, code = scratch / "documents", scratch / "sources"
    material.documentation(pages, 0.03 if quick else 0.25)
    packages = material.sources(
        code, ("xml",) if quick else ("asyncio", "email", "importlib", "unittest", "xml")
    )
    checked = [word for package in packages for word in ("-p", package)]
    mypy = [
        "--no-fast-exit",
        "--no-incremental",
        "--cache-dir=/dev/null",
        "--no-error-summary",
        "--check-untyped-defs",
    ]
    few = 10 if quick else 1
    chains = PROGRAMS / "cycle_chains.py"
    return [
        Workload("chains of 10, no payload", chains, ["10", "0", "10000", str(10_000_000 // few)]),
        Workload("chains of 100, 100 kB", chains, ["100", "100000", "10000", str(10_000_000 // few)]),
        Workload("chains of 1000, 10 kB", chains, ["1000", "10000", "30000", str(10_000_000 // few)]),
        Workload("chains of 10, 10 kB, 100 live", chains, ["10", "10000", "100", str(10_000_000 // few)]),
        Workload(
            "queue of cyclic trash", PROGRAMS / "cyclic_queue.py", ["1000", "10000", str(2_000_000 // few)]
        ),
        Workload("client loop, httpx", PROGRAMS / "client_loop.py", [str(2_000 // few), "httpx"], "httpx"),
        Workload("client loop, plain", PROGRAMS / "client_loop.py", [str(8_000 // few), "plain"]),
        Workload("Django migrate", PROGRAMS / "django_migrate.py", ["40", str(200 // few)], "django"),
        Workload(
            "Sphinx build",
            ["-m", "sphinx"],
            ["-Q", "-b", "html", str(pages), "OUT"],
            "sphinx",
            {"report": False},
        ),
        Workload(
            "mypy", ["-m", "mypy"], [*mypy, *checked], "mypy", {"report": False, "good": (0, 1), "cwd": code}
        ),
    ]


def available(python: str, module: str) -> bool:
    """Return whether `python` has `module`."""
    if not module:
        return True
    try:
        run(stock(python), ["-c", f"import {module}"], report=False, what=f"looking for {module}")
    except BenchError:
        return False
    return True


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    python = context.main.path
    sides = context.sides(outcome)
    rounds = 1 if context.quick else max(1, context.rounds - 1)
    worst: tuple[float, str] | None = None
    clones: list[str] = []
    with tempfile.TemporaryDirectory(prefix="midden-bench-") as folder:
        scratch = Path(folder)
        for work in workloads(scratch, context.quick):
            if not available(python, work.needs):
                outcome.notes.append(f"skipped {work.name}: {python} has no module {work.needs}")
                continue
            args = [str(scratch / "out") if word == "OUT" else word for word in work.args]
            try:
                runs = _runs(sides, rounds, work, args, outcome)
            except BenchError as error:
                PROGRESS.clear()
                outcome.failures.append(f"{work.name}: {error}")
                continue
            left, right = runs["stock"], runs.get("midden", [])
            spread = outcome.compare(f"{work.name}: peak", _peaks(left), _peaks(right), mib, upside_down=True)
            outcome.compare(f"{work.name}: time", [r.wall_s for r in left], [r.wall_s for r in right], secs)
            outcome.raw[work.name] = {
                s: [r.peak.__dict__ for r in those if r.peak] for s, those in runs.items()
            }
            if spread and (worst is None or spread.median > worst[0]):
                worst = (spread.median, work.name)
            if right:
                clones.append(f"{work.name} {_clone_line(right[-1])}")
                one, other = ([float(r.minor_faults) for r in side] for side in (left, right))
                outcome.compare(f"{work.name}: page faults", one, other, count, upside_down=True)
    if worst:
        outcome.notes.append(f"worst: {worst[1]}, {times(worst[0])}")
    for line in clones:
        outcome.notes.append(f"of midden's last run: {line}")
    outcome.notes.append(
        "memory is sampled about every 20 ms, which slows both sides: read the times as rough"
    )
    outcome.targets.append(
        Target(
            "peak memory, worst of the programs, midden ÷ stock", "<=", AT_MOST, worst[0] if worst else None
        )
    )


def _runs(
    sides: list[Any], rounds: int, work: Workload, args: list[str], outcome: Outcome
) -> dict[str, list[Run]]:
    """Run one workload in turn; each Sphinx build starts from nothing."""
    return alternate(
        sides,
        rounds,
        work.script,
        ["-E", *args] if work.needs == "sphinx" else args,
        label=f"{outcome.name}, {work.name}",
        memory=True,
        **work.options,
    )


def _peaks(runs: list[Run]) -> list[float]:
    return [float(run.peak.total_kib) for run in runs if run.peak]


def _clone_line(one: Run) -> str:
    """Say in a few words what midden did in a run."""
    with_clone = one.peak.with_children if one.peak else 0
    return (
        f"{one.stat('snapshots'):.0f} snapshots, {one.stat('snapshots_failed'):.0f} failed, clones' CPU "
        f"{secs(one.stat('child_cpu_s'))}, naps {secs(naps_s(one.stats or {}))}, longest clone pause "
        f"{ms(one.stat('pauses', 'clone', 'max_s'))}, a clone alive in {with_clone} samples"
    )
