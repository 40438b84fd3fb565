"""What the summary says, for given figures."""

from __future__ import annotations

import pytest

import midden
from midden import summary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (4e-7, "0.00 ms"), (0.00031, "0.31 ms"), (0.009996, "10.0 ms"), (0.0123, "12.3 ms"),
        (0.0999, "99.9 ms"), (0.31, "310 ms"), (0.9994, "999 ms"), (0.9999, "1.0 s"), (1.94, "1.9 s"),
        (123.4, "123 s"), (1234.0, "1,234 s"),
    ],
)  # fmt: skip
def test_duration(seconds, text):
    assert summary.duration(seconds) == text


def figures(**changed):
    pause = {"count": 3, "total_s": 0.1, "max_s": 0.01, "p50_s": 0.0, "p99_s": 0.0}
    nothing = {"count": 0, "total_s": 0.0, "max_s": 0.0, "p50_s": 0.0, "p99_s": 0.0}
    pauses = {"clone": pause, "reclaim": {**pause, "max_s": 0.0123}, "young": pause, "full": nothing}
    base = {"enabled": True, "in_flight": False, "snapshots": 12, "snapshots_failed": 0, "candidates": 1234567,
            "reclaimed": 1234001, "fallbacks": 0, "child_cpu_s": 1.9, "pauses": pauses, "heap": {}}  # fmt: skip
    return {**base, **changed}


def test_the_usual():
    assert summary.describe(figures()).splitlines() == [
        "midden: 12 snapshots · 1,234,567 dead objects found, 1,234,001 reclaimed",
        "midden: longest stand-still 12.3 ms, 300 ms in all · child CPU 1.9 s",
    ]


def test_what_went_wrong_is_told():
    text = summary.describe(figures(snapshots=1, snapshots_failed=1, fallbacks=2, candidates=1))
    assert text.startswith("midden: 1 snapshot (1 failed), 2 collections in place · 1 dead object found, ")


def test_naps_are_told():
    naps = {"count": 5, "total_s": 0.0075, "max_s": 0.002, "p50_s": 0.0, "p99_s": 0.0}
    assert ", 300 ms in all, 7.50 ms of naps besides · " in summary.describe(figures(naps=naps))


def test_what_the_program_asked_for_is_apart():
    asked = {"count": 2, "total_s": 3.0, "max_s": 1.6, "p50_s": 1.0, "p99_s": 1.6}
    pauses = {**figures()["pauses"], "full": asked}
    told = summary.describe(figures(pauses=pauses))
    assert "longest stand-still 12.3 ms, 300 ms in all (and 2 gc.collect(), longest 1.6 s)" in told
    assert "longest stand-still 1.6 s, 3.3 s in all" in summary.describe(figures(pauses=pauses, fallbacks=1))


def test_the_heap_is_told_when_it_matters():
    heap = {"serving": True, "live_bytes": 3 << 20, "free_bytes": 1 << 19, "resident_bytes": 7 << 19, "returned_bytes": 0}
    assert summary.describe(figures(heap=heap)).count("\n") == 1
    told = summary.describe(figures(heap={**heap, "returned_bytes": 5 << 30})).splitlines()[2]
    assert told == "midden: heap 3.0 MiB in use, 512.0 KiB free · 5.0 GiB given back"
    told = summary.describe(figures(heap={**heap, "resident_bytes": 40 << 20})).splitlines()[2]
    assert told == "midden: heap 3.0 MiB in use, 512.0 KiB free"


def test_nothing_happened():
    text = summary.describe({**midden.stats(), "snapshots": 0, "reclaimed": 0, "candidates": 0})
    assert text.startswith("midden: no snapshot was needed · ") and "\n" not in text


def test_child_file():
    assert summary.child_file("/a/run.json", 12) == "/a/run.12.json"
    assert summary.child_file("/a.b/run", 12) == "/a.b/run.12.json"
