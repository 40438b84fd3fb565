"""Settings of the tests that run under an interpreter: the seed is shown, and tests are skipped with a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import subject  # noqa: E402


def pytest_report_header() -> str:
    """The seed and the interpreter, once per run."""
    return f"midden: MIDDEN_SEED={subject.SEED}, python={subject.PYTHON}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs midden where it cannot run, and what needs injected faults where there are none."""
    here = Path(__file__).resolve().parent
    for item in items:
        if here not in Path(item.path).parents:
            continue
        if reason := subject.why_not():
            item.add_marker(pytest.mark.skip(reason=f"midden cannot run here: {reason}"))
        elif item.get_closest_marker("faults") and not subject.has_faults():
            item.add_marker(pytest.mark.skip(reason="the extension was built without -Dfaults=true"))


def pytest_configure(config: pytest.Config) -> None:
    """Make our marker known."""
    config.addinivalue_line("markers", "faults: needs an extension built with -Dfaults=true")
