"""Interpreters, and the sides that a benchmark row compares.

A *side* says how one and the same program is started: ``stock`` is the interpreter as it comes, ``midden`` is
``PY -m midden run`` with the package that ``script/build`` made for that interpreter. Rows may add their own:
``heap`` is midden's heap without its collector, and a peer is the interpreter on another library's allocator.
Nothing else differs between two sides: same program, same arguments, same environment.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"

_PROBE = (
    "import sys, sysconfig; print(sys.executable); print('.'.join(map(str, sys.version_info[:3])));"
    "print(sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)


class BenchError(Exception):
    """A benchmark could not be carried out; the message is one line for the reader."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython to measure on."""

    path: str
    version: tuple[int, ...]

    @property
    def label(self) -> str:
        """How tables name it, for example ``3.13.0``."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Side:
    """One way to start a program. `site` is where the built package lies, if this side needs it; `extra` is
    added to the environment."""

    name: str
    python: str
    site: str | None = None
    run: bool = False
    extra: tuple[tuple[str, str], ...] = ()

    def command(self, script: str | Path | list[str], args: list[str], stats: Path | None) -> list[str]:
        """Return the arguments that start `script` (a path, or or options such as ``["-m", "x"]``)."""
        target = script if isinstance(script, list) else [str(script)]
        if not self.run:
            return [self.python, *target, *args]
        options = ["-q", *(["--stats", str(stats)] if stats else [])]
        return [self.python, "-m", "midden", "run", *options, *target, *args]

    def environment(self) -> dict[str, str]:
        """Return the environment: the caller's, less what could make two sides differ."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MIDDEN_"))}
        env["PYTHONHASHSEED"] = "0"
        env["BENCH_SIDE"] = self.name
        if self.site:
            env["PYTHONPATH"] = self.site
        return env | dict(self.extra)


def probe(python: str) -> Interpreter:
    """Ask `python` who it is. Raises BenchError when it cannot be run or is not one that midden serves."""
    found = shutil.which(python)
    if not found:
        raise BenchError(f"no such interpreter: {python}")
    done = subprocess.run([found, "-I", "-c", _PROBE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{python} does not start: {done.stderr.strip().splitlines()[-1:]}")
    path, version, free_threaded = done.stdout.split()
    if free_threaded == "1":
        raise BenchError(f"{python} is a free-threaded build, which midden does not serve")
    return Interpreter(path, tuple(map(int, version.split("."))))


def discover(wanted: list[str]) -> list[Interpreter]:
    """Return the interpreters to use, the main one first.

    Those named on the command line, or else the system's own (it sees the distribution's packages) followed
    by every ``python3.11`` … ``python3.15`` on the path or kept by pyenv, one for each minor version.
    """
    if wanted:
        return [probe(p) for p in wanted]
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = ["/usr/bin/python3", *(f"python3.{minor}" for minor in range(11, 16)), sys.executable]
    names += [str(path) for path in sorted(kept.glob("3.*/bin/python3"), reverse=True)]
    found: dict[tuple[int, ...], Interpreter] = {}
    for name in names:
        try:
            one = probe(name)
        except BenchError:
            continue
        if one.version >= (3, 11):
            found.setdefault(one.version[:2], one)
    if not found:
        raise BenchError("no CPython 3.11 or later found; name one with --python")
    return list(found.values())


@functools.cache
def build(python: str) -> str:
    """Build midden for `python` through script/build and return its site folder. Raises BenchError.

    The build has a folder of its own (bench-…), so that nobody replaces it during a long measurement.
    """
    script = ROOT / "script" / "build"
    if not script.exists():
        raise BenchError("midden is not built: script/build is missing")
    name = f"bench-cpython-{''.join(map(str, probe(python).version[:2]))}"
    command = [str(script), "--python", python, "--name", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        why = (done.stderr.strip().splitlines() or lines or ["no output"])[-1]
        raise BenchError(f"midden is not built: script/build --python {python}: {why}")
    site = Path(lines[-1].strip())
    site = site if site.is_absolute() else ROOT / site
    if not (site / "midden").is_dir():
        raise BenchError(f"midden is not built: script/build printed {lines[-1]!r}, which holds no package")
    return str(site)


def stock(python: str) -> Side:
    """The interpreter as it comes."""
    return Side("stock", python)


def midden(python: str, site: str | None = None) -> Side:
    """The same under ``midden run``, from `site` if given, else built. Raises BenchError if it cannot be."""
    return Side("midden", python, site or build(python), run=True)


def embedded(python: str) -> Side:
    """Midden importable, but not started: the program calls ``midden.enable()`` itself. Raises BenchError."""
    return Side("midden", python, build(python), run=False)


def heap_alone(python: str) -> Side:
    """The same for programs that enable the heap and leave the collector off. Raises BenchError."""
    return Side("heap", python, build(python), run=False)


def peer(python: str, name: str, library: str) -> Side:
    """The interpreter as it comes, all its memory from the ``malloc`` of `library` (a path)."""
    return Side(name, python, extra=(("PYTHONMALLOC", "malloc"), ("LD_PRELOAD", library)))
