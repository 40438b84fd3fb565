"""The demo: one service three times, one build twice, side by side. Started by `script/demo`.

The same service and the same load run as stock, as stock tuned by the usual recipe, and under midden; then
Sphinx, a batch program that we did not write, runs on stock and under midden. Ends with status 1 and one line
if anything goes wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import material
import plot
from measure import PROGRESS, Run, naps_s, run
from memory import Peak, Sampler
from report import mib, ms, secs, times
from sides import ROOT, BenchError, Side, midden, probe, stock

SERVICE = ROOT / "examples" / "service.py"
LOAD = ROOT / "examples" / "load.py"
STARTUP_LIMIT_S = 90.0
LOADING_S, STOPPING_S, BUILDING_S = 4.0, 2.0, 7.0
"""About what the steps take, for the progress bar."""


@dataclass
class Served:
    """What one variant of the service showed. Times in seconds."""

    name: str
    latencies: list[list[float]]
    service: dict[str, Any]
    peak: Peak
    stats: dict[str, Any] = field(default_factory=dict)

    def quantile(self, share: float) -> float:
        """Return the latency below which `share` of the requests lie."""
        ordered = sorted(latency for _, latency in self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    @property
    def longest(self) -> float:
        """The longest time that the service's event loop stood still."""
        return float(self.service["longest_stall_s"])

    @property
    def stood(self) -> float:
        """The time that it stood still for more than 50 ms at once, in all."""
        return float(sum(late for _, late in self.service["stalls"] if late > 0.05))


class Server:
    """The service as a child process; a context manager that always ends it."""

    def __init__(self, side: Side, arguments: list[str], folder: Path) -> None:
        self.stats_file = folder / "stats.json"
        self._errors = folder / "errors"
        command = side.command(SERVICE, arguments, self.stats_file if side.run else None)
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=side.environment(),
                start_new_session=True,
            )
        self.name = side.name

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def port(self) -> int:
        """Wait until it listens and return its port. Raises BenchError."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + STARTUP_LIMIT_S
        while time.monotonic() < deadline:
            PROGRESS.tick()
            if select.select([self.process.stdout], [], [], 0.2)[0]:
                line = self.process.stdout.readline().decode()
                if ":" not in line:
                    raise BenchError(f"{self.name}: the service did not start: {self.complaint()}")
                return int(line.rsplit(":", 1)[1])
        raise BenchError(f"{self.name}: the service was not up after {STARTUP_LIMIT_S:.0f} s")

    def stop(self) -> None:
        """Ask it to end and wait for that. Raises BenchError when it does not, or not well."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            PROGRESS.tick()
            time.sleep(0.05)
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: the service did not end")
        if self.process.returncode != 0:
            raise BenchError(
                f"{self.name}: the service ended with {self.process.returncode}: {self.complaint()}"
            )

    def complaint(self) -> str:
        """Return the last line it wrote on stderr."""
        return (self._errors.read_text(errors="replace").strip().splitlines() or ["(no message)"])[-1]


def serve(side: Side, name: str, options: argparse.Namespace, *, tuned: bool = False) -> Served:
    """Run the service on `side`, load it, stop it. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="midden-demo-") as scratch:
        arguments = ["--objects", str(options.objects), *(["--tuned"] if tuned else [])]
        PROGRESS.start(f"{name}: loading {options.objects / 1e6:g} M objects", LOADING_S)
        with Server(side, arguments, Path(scratch)) as server:
            port = server.port()
            PROGRESS.start(
                f"{name}: {options.rate:g} requests a second for {options.seconds:g} s", options.seconds + 2
            )
            answer, peak = _load(server, port, options)
            PROGRESS.start(f"{name}: stopping", STOPPING_S)
            server.stop()
            stats: dict[str, Any] = {}
            if side.run:
                try:
                    stats = json.loads(server.stats_file.read_text())
                except (OSError, ValueError) as error:
                    raise BenchError(
                        f"{name}: no statistics were left ({error}): {server.complaint()}"
                    ) from error
                if not stats.get("enabled", True) or not stats.get("snapshots"):
                    raise BenchError(f"{name}: midden did not collect: {server.complaint()}")
        PROGRESS.clear()
    if answer["failures"] or len(answer["latencies"]) != answer["asked"]:
        why = (answer["failures"] or ["answers are missing"])[0]
        raise BenchError(f"{name}: {len(answer['latencies'])} of {answer['asked']} requests answered ({why})")
    return Served(name, answer["latencies"], answer["service"], peak, stats)


def _load(server: Server, port: int, options: argparse.Namespace) -> tuple[dict[str, Any], Peak]:
    """Load the service from a second process, sampling memory meanwhile."""
    sampler = Sampler(server.process.pid, least_interval_s=0.1)
    command = [
        sys.executable,
        str(LOAD),
        str(port),
        "--rate",
        str(options.rate),
        "--seconds",
        str(options.seconds),
    ]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        deadline = time.monotonic() + options.seconds + 60
        try:
            while load.poll() is None:
                sampler.sample()
                PROGRESS.tick()
                time.sleep(sampler.interval)
                if time.monotonic() > deadline:
                    raise BenchError(f"{server.name}: the load did not end in time")
        finally:
            if load.poll() is None:
                load.kill()
                load.wait()
        out.seek(0)
        err.seek(0)
        if load.returncode != 0:
            raise BenchError(f"{server.name}: {err.read().decode(errors='replace').strip().splitlines()[-1]}")
        return json.loads(out.read()), sampler.peak


def build_documents(side: Side, folder: Path, share: float) -> Run:
    """Build a documentation tree with Sphinx on `side`; the tree is made anew, so that nothing is cached."""
    pages = folder / "pages"
    if not pages.exists():
        material.documentation(pages, share)
    arguments = [
        "-Q",
        "-E",
        "-b",
        "html",
        "-d",
        str(folder / f"trees-{side.name}"),
        str(pages),
        str(folder / side.name),
    ]
    return run(
        side, ["-m", "sphinx"], arguments, memory=True, report=False, what=f"Sphinx build: {side.name}"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return an aligned table."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for number, row in enumerate([head, *rows]):
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  " + "   ".join(cells).rstrip())
        if number == 0:
            lines.append("  " + "─" * (sum(widths) + 3 * (len(widths) - 1)))
    return "\n".join(lines)


def service_table(served: list[Served]) -> str:
    """Return the comparison of the variants; the last column sets the first against the last."""
    rows = []
    for label, share in (
        ("latency, median", 0.5),
        ("latency, 99 %", 0.99),
        ("latency, 99.9 %", 0.999),
        ("latency, longest", 1),
    ):
        rows.append(_row(label, [one.quantile(share) for one in served], ms))
    rows.append(_row("longest stand-still of the service", [one.longest for one in served], ms))
    rows.append(_row("stood still for over 50 ms, in all", [one.stood for one in served], secs))
    rows.append(_row("peak memory, its clone included", [one.peak.total_kib for one in served], mib))
    rows.append(
        _row(
            "replaced departments still in memory",
            [one.service["lingering"] for one in served],
            lambda n: f"{n:.0f}",
        )
    )
    return compared([one.name for one in served], rows)


def compared(names: list[str], rows: list[list[str]]) -> str:
    """Return a table of `rows`, whose last column compares stock and midden; without midden there is none."""
    if "midden" in names:
        return table(["", *names, "stock ÷ midden"], rows)
    return table(["", *names], [row[:-1] for row in rows])


def _row(label: str, values: list[float], form: Any) -> list[str]:
    ratio = times(values[0] / values[-1]) if values[-1] > 0 else "–"
    return [label, *(form(value) for value in values), ratio]


def main(options: argparse.Namespace) -> None:
    """Run the demo. Raises BenchError."""
    began = time.monotonic()
    python = probe(options.python).path
    sides = [(stock(python), "stock", False), (stock(python), "stock, tuned", True)]
    if not options.stock_only:
        sides.append((midden(python, options.site), "midden", False))
    print(
        f"A service that holds {options.objects / 1e6:g} M objects, {options.rate:g} requests a second for "
        f"{options.seconds:g} s, {len(sides)} times:",
        flush=True,
    )
    service_s = LOADING_S + options.seconds + 2 + STOPPING_S
    PROGRESS.plan(len(sides) * service_s + (len(sides) - 1) * BUILDING_S)
    served = [serve(side, name, options, tuned=tuned) for side, name, tuned in sides]
    print("\n" + service_table(served) + "\n", flush=True)
    if served[-1].stats:
        print(f"  midden: {_summary(served[-1].stats)}\n")
    series = [plot.Series(x.name, f"longest stand-still {ms(x.longest)}", x.latencies) for x in served]
    subtitle = "bars reach from the median to the slowest request of each moment; logarithmic scale"
    plot.draw(series, "Latency of a service with a large heap, over time", subtitle, options.plot)
    print(f"  plot: {options.plot}\n", flush=True)

    with tempfile.TemporaryDirectory(prefix="midden-demo-") as scratch:
        runs = [build_documents(side, Path(scratch), options.share) for side, _, tuned in sides if not tuned]
    print("A program that we did not write, a Sphinx build of an API reference:\n")
    rows = [
        _row("total time", [one.wall_s for one in runs], secs),
        _row("peak memory, its clone included", [one.peak.total_kib if one.peak else 0 for one in runs], mib),
    ]
    print(compared([one.side for one in runs], rows))
    if runs[-1].stats:
        print(f"\n  midden: {_summary(runs[-1].stats)}")
    print(f"\nDone in {time.monotonic() - began:.0f} s.")


def _summary(stats: dict[str, Any]) -> str:
    """Return what midden did, in one line."""
    pauses = stats.get("pauses", {})
    own = (
        pauses.get(cause, {}) for cause in ("clone", "reclaim", "young")
    )  # "full": gc.collect() of the program
    longest = max(cause.get("max_s", 0.0) for cause in own)
    return (
        f"{stats.get('snapshots', 0)} snapshots ({stats.get('snapshots_failed', 0)} failed), "
        f"{stats.get('reclaimed', 0):,} objects reclaimed, longest stand-still of its own {ms(longest)}, "
        f"naps {secs(naps_s(stats))}, CPU of the clones {secs(stats.get('child_cpu_s', 0.0))}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="script/demo", description="midden and stock CPython side by side")
    parser.add_argument("--python", default="/usr/bin/python3", metavar="PY")
    parser.add_argument("--site", metavar="DIR", help="where the built package lies (default: build it)")
    parser.add_argument(
        "--objects", type=int, default=3_000_000, metavar="N", help="containers in the service"
    )
    parser.add_argument("--rate", type=float, default=300.0, metavar="R", help="requests per second")
    parser.add_argument(
        "--seconds", type=float, default=12.0, metavar="S", help="seconds of load for each variant"
    )
    parser.add_argument(
        "--share", type=float, default=0.12, help="share of the standard library that Sphinx documents"
    )
    parser.add_argument("--plot", type=Path, default=ROOT / "build" / "demo" / "latency.svg", metavar="FILE")
    parser.add_argument("--stock-only", action="store_true", help="leave midden out (to try the demo itself)")
    arguments = parser.parse_args()
    if min(arguments.objects, arguments.rate, arguments.seconds) <= 0 or not 0 < arguments.share <= 1:
        parser.error("sizes and times must be positive, the share at most 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service is not left behind
    try:
        main(arguments)
    except BenchError as problem:
        PROGRESS.clear()
        sys.exit(f"script/demo: {problem}")
    except KeyboardInterrupt:
        PROGRESS.clear()
        sys.exit("script/demo: interrupted")
