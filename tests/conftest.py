"""Where the tests find midden, and the Python they test it in.

MIDDEN_PYTHON  the interpreter under test; default: the one that runs pytest. It needs no pytest itself.
MIDDEN_SITE    the folder that holds the package built for it; default: where script/test or script/build put it.

For a test by hand: script/build, then `python3 -m pytest tests/cli`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


PYTHON = os.environ.get("MIDDEN_PYTHON") or sys.executable


def _site() -> Path:
    given = os.environ.get("MIDDEN_SITE")
    if given:
        return Path(given).resolve()
    code = (
        "import sys, sysconfig\n"
        "print(sys.implementation.cache_tag + 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    )
    tag = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    for name in (f"test-{tag}", tag):
        if (ROOT / "build" / name / "site").is_dir():
            return ROOT / "build" / name / "site"
    pytest.exit("there is no build of midden for this interpreter: run script/test, or script/build", 2)


SITE = _site()
sys.path.insert(0, str(SITE))  # its Python files are the same for all interpreters; the extension is not


def clean_environment() -> dict[str, str]:
    """The environment for a Python under test: nothing that changes Python, and midden importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MIDDEN"))}
    kept["PYTHONPATH"] = str(SITE)
    return kept


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter under test."""
    return PYTHON


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder that holds the built package."""
    return SITE


@pytest.fixture
def environment() -> dict[str, str]:
    """A new `clean_environment` for each test, to be changed at will."""
    return clean_environment()
