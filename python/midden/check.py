"""``midden check``: what this machine and interpreter support, item by item, and why not.

The last item is the proof: a collection of a few dead cycles, by this very process.
"""

from __future__ import annotations

import gc
import platform
import sys
from typing import Any

import midden

Item = tuple[str, bool, str]  # what, whether it is there, what was seen or why not


RINGS = 1000


def _trial() -> Item:
    """Let some cycles grow old, drop them, and collect them concurrently."""
    what = "trial collection"
    was_enabled = midden.is_enabled()
    try:
        midden.enable()
        try:
            with midden.hold():
                rings: list[Any] = []
                for _ in range(RINGS):
                    ring: list[Any] = []
                    ring.append(ring)
                    rings.append(ring)
                gc.collect(1)  # they survive, and are in the oldest generation now
                del ring, rings
            result = midden.collect(timeout=60)
        finally:
            if not was_enabled:
                midden.disable()
    except Exception as error:
        return what, False, str(error) or type(error).__name__
    assert result is not None
    if result["reclaimed"] < RINGS:
        return what, False, f"{result['reclaimed']:,} of {RINGS:,} dead objects were reclaimed"
    seconds = result["clone_s"] + result["find_s"] + result["reclaim_s"]
    return what, True, f"{result['reclaimed']:,} dead objects found and reclaimed in {seconds * 1e3:.0f} ms"


def items() -> tuple[list[Item], bool]:
    """All items, and whether the collector can run."""
    implementation = platform.python_implementation()
    right = sys.implementation.name == "cpython" and sys.version_info >= (3, 11)
    found: list[Item] = [
        ("interpreter", right, f"{implementation} {platform.python_version()}"),
        ("system", sys.platform == "linux", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]
    core = midden._core
    if core is None:
        found.append(("extension", False, midden._missing))
        return found, False
    found.append(("extension", True, str(core.__file__)))
    told = {item for item, _, _ in found}
    found += [
        (str(item), bool(ok), str(detail))
        for item, ok, detail in core.support()
        if not ok or item not in told  # what we told already is worth repeating when it is missing
    ]
    if right:
        found.append(_trial())
    return found, found[-1][1]


def _marks() -> tuple[str, str]:
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return "ok", "no"
    return "✓", "✗"


def check(as_json: bool = False) -> int:
    """Print the items; return the exit status: 0 when the collector can run here, 1 when not."""
    found, can_run = items()
    if as_json:
        import json

        report = {
            "midden": midden.__version__,
            "collector": can_run,
            "items": [{"item": item, "ok": ok, "detail": detail} for item, ok, detail in found],
        }
        print(json.dumps(report, indent=2))
    else:
        yes, no = _marks()
        width = max(len(item) for item, _, _ in found)
        encoding = sys.stdout.encoding or "ascii"
        for item, ok, detail in found:
            line = f"{yes if ok else no:2} {item:{width}}  {detail}".rstrip()
            print(line.encode(encoding, "backslashreplace").decode(encoding))
        print()
        print(
            f"midden {midden.__version__}:",
            "the collector can run here." if can_run else "the collector cannot run here; programs run as stock.",
        )
    sys.stdout.flush()
    return 0 if can_run else 1
