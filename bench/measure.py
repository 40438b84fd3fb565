"""Start a program on a side, wait for it, and bring back everything that was measured.

A benchmark program prints one JSON object as its last line; a program that we did not write prints what it
likes.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory import Peak, Sampler
from sides import BenchError, Side


@dataclass
class Run:
    """One finished run. `report` is what it printed, `stats` what midden wrote (None on other sides)."""

    side: str
    wall_s: float
    cpu_s: float
    minor_faults: int
    max_rss_kib: int
    report: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] | None = None
    peak: Peak | None = None

    def stat(self, *keys: str, default: float = 0.0) -> float:
        """Look up a nested number in midden's statistics, `default` when it is not there."""
        value: Any = self.stats or {}
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return float(value)


def naps_s(stats: dict[str, Any]) -> float:
    """Return the seconds in naps that midden's statistics tell of."""
    naps = stats.get("naps") or stats.get("throttle") or {}
    return float(naps.get("total_s", 0.0))


class Progress:
    """One status line that rewrites itself on a terminal, or plain lines elsewhere; always on stderr.

    When `plan` was told how long everything takes, the line begins with a bar.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._what = ""
        self._planned = self._done = self._weight = 0.0

    def plan(self, seconds: float) -> None:
        """Announce that the steps to come take about so long in all."""
        self._planned, self._done, self._weight = seconds, 0.0, 0.0

    def start(self, what: str, seconds: float = 0.0) -> None:
        """Say what runs now, and about how long it will take."""
        self._done += self._weight
        self._what, self._weight = what, seconds
        self._began = time.monotonic()
        if self._live:
            self.tick()
        else:
            print(f"  … {what}", file=sys.stderr, flush=True)

    def tick(self) -> None:
        """Refresh the line, with the seconds so far."""
        if not self._live:
            return
        seconds = time.monotonic() - self._began
        bar = ""
        if self._planned:
            share = min((self._done + min(seconds, self._weight)) / self._planned, 1.0)
            full = round(share * BAR)
            bar = f"{'█' * full}{'░' * (BAR - full)} {share:4.0%} "
        line = f"  {bar}… {self._what}  {seconds:.0f} s"
        sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


BAR = 30
"""Width of the bar, in characters."""

PROGRESS = Progress()


def run(
    side: Side,
    script: str | Path | list[str],
    args: list[str] | None = None,
    *,
    memory: bool = False,
    report: bool = True,
    timeout_s: float = 300.0,
    what: str = "",
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    good: tuple[int, ...] = (0,),
    expected_s: float = 0.0,
) -> Run:
    """Run `script` on `side` to its end and return what was measured.

    Raises BenchError when its exit status is not among the `good`, it outlives `timeout_s`, or leaves no
    report although one is due. With `memory` its PSS and that of its clone is sampled, which disturbs
    timings: use separate runs for those.
    """
    PROGRESS.start(
        what or f"{side.name}: {Path(script if not isinstance(script, list) else script[-1]).name}"
    )
    with tempfile.TemporaryDirectory(prefix="midden-bench-") as scratch:
        folder = Path(scratch)
        stats_file = folder / "stats.json"
        command = side.command(script, args or [], stats_file if side.run else None)
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            began = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**side.environment(), **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
            peak, status, usage = _wait(process, memory, timeout_s)
            wall = time.perf_counter() - began
        PROGRESS.clear()
        stdout = (folder / "out").read_text(errors="replace")
        stderr = (folder / "err").read_text(errors="replace")
        name = " ".join(map(str, script)) if isinstance(script, list) else Path(script).name
        if status is None:
            raise BenchError(f"{side.name}: {name} did not end within {timeout_s:.0f} s")
        if status not in good:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            raise BenchError(f"{side.name}: {name} ended with {how}: {_last_line(stderr)}")
        result = Run(
            side.name, wall, usage.ru_utime + usage.ru_stime, usage.ru_minflt, usage.ru_maxrss, peak=peak
        )
        if report:
            try:
                result.report = json.loads(_last_line(stdout))
            except ValueError as error:
                raise BenchError(f"{side.name}: {name} printed no report: {_last_line(stderr)}") from error
        if side.run:
            try:
                result.stats = json.loads(stats_file.read_text())
            except (OSError, ValueError) as error:
                raise BenchError(
                    f"{side.name}: {name} ended without midden's statistics ({error})"
                ) from error
        return result


def _wait(
    process: subprocess.Popen[bytes], memory: bool, timeout_s: float
) -> tuple[Peak | None, int | None, Any]:
    """Wait for the end, sampling memory if asked. When the time ran out it is killed; the status is None."""
    deadline = time.monotonic() + timeout_s
    sampler = Sampler(process.pid) if memory else None
    poller = select.poll()
    handle = os.pidfd_open(process.pid)
    poller.register(handle, select.POLLIN)
    late = False
    ticked = 0.0
    try:
        while not poller.poll(1000 * (sampler.interval if sampler else 0.5)):
            now = time.monotonic()
            if sampler:
                sampler.sample()
            if now - ticked >= 0.5:
                PROGRESS.tick()
                ticked = now
            if now > deadline:
                late = True
                os.killpg(process.pid, signal.SIGKILL)
                break
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        os.close(handle)
        _, raw, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(raw)
    return (sampler.peak if sampler else None), (None if late else process.returncode), usage


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "(no output)"


def alternate(
    sides: list[Side],
    rounds: int,
    script: str | Path | list[str],
    args: list[str] | None = None,
    *,
    label: str,
    **options: Any,
) -> dict[str, list[Run]]:
    """Run the sides in turn, A B A B …, `rounds` times each; return the runs of each side, in order."""
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            what = f"{label}: {side.name}, {number + 1} of {rounds}"
            runs[side.name].append(run(side, script, args, what=what, **options))
    return runs
