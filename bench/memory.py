"""Peak memory of a program together with its child processes, as proportional set size (PSS).

PSS counts a page that n processes share as 1/n in each, so the sum over a program and its clone is what the
two really occupy: resident sizes would count every page of the clone twice. Linux only (``/proc``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")


def _field_kib(path: Path, key: str) -> int:
    """Return the KiB that `key` has in a /proc file, or 0 when the process has gone meanwhile."""
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read(8192).decode()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def pss_kib(pid: int) -> int:
    """Return the proportional set size of `pid` in KiB; 0 when it has gone."""
    return _field_kib(PROC / str(pid) / "smaps_rollup", "Pss:")


def children(pid: int) -> list[int]:
    """Return the ids of all descendants of `pid`, the clone included (it is a child like any other here)."""
    found: list[int] = []
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return found
    for task in tasks:
        try:
            direct = [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in direct:
            found.append(child)
            found.extend(children(child))
    return sorted(found)


@dataclass
class Peak:
    """What a Sampler saw. Sizes in KiB; `with_children` counts samples in which a child held memory."""

    total_kib: int = 0
    program_kib: int = 0
    samples: int = 0
    discarded: int = 0
    with_children: int = 0
    series: list[tuple[float, int]] = field(default_factory=list)


class Sampler:
    """Sample one program and its descendants; call `sample` again and again, `interval` says how soon.

    The samples of several processes are not one instant. When a clone dies between two readings, its shared
    pages would be counted twice; so the program is read before and after its children, the smaller of the two
    counts, and a sample during which a child came or went is thrown away.
    """

    def __init__(self, pid: int, least_interval_s: float = 0.02) -> None:
        self.pid = pid
        self.peak = Peak()
        self._least = least_interval_s
        self._cost = 0.0
        self._start = time.monotonic()

    @property
    def interval(self) -> float:
        """Seconds until the next sample: at least four times what one costs, to stay out of the way."""
        return max(self._least, 4 * self._cost)

    def sample(self) -> None:
        """Take one sample."""
        began = time.perf_counter()
        before = children(self.pid)
        own = pss_kib(self.pid)
        others = sum(pss_kib(child) for child in before)
        if before:
            own = min(own, pss_kib(self.pid))
        if children(self.pid) != before:
            self.peak.discarded += 1
        else:
            self._record(own, others, others > 0)
        self._cost = time.perf_counter() - began

    def _record(self, own: int, others: int, with_children: bool) -> None:
        peak = self.peak
        peak.samples += 1
        peak.with_children += with_children
        peak.total_kib = max(peak.total_kib, own + others)
        peak.program_kib = max(peak.program_kib, own)
        peak.series.append((round(time.monotonic() - self._start, 3), own + others))
