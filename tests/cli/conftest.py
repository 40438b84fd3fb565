"""Running programs as python does, and as ``midden run`` does: the first is the oracle for the second."""

from __future__ import annotations

import difflib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Ran:
    """How a process ended, with our lines on stderr kept apart from the program's."""

    status: int
    out: str
    err: str

    @property
    def ours(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("midden: ")]

    @property
    def theirs(self) -> str:
        return "".join(
            line for line in self.err.splitlines(keepends=True) if not line.startswith("midden: ")
        )

    def same_as(self, stock: Ran) -> None:
        """Assert that it ended, and wrote, as stock did, apart from our lines."""
        for mine, its in ((self.out, stock.out), (self.theirs, stock.theirs)):
            difference = "\n".join(difflib.unified_diff(its.splitlines(), mine.splitlines(), "stock", "midden"))
            assert mine == its, difference
        assert self.status == stock.status


class Shell:
    """Starts processes in an empty folder."""

    def __init__(self, interpreter: str, folder: Path, environment: dict[str, str]) -> None:
        self.interpreter = interpreter
        self.folder = folder
        self.environment = environment

    def start(self, *arguments: str, flags: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(
            [self.interpreter, *flags, *arguments], cwd=self.folder, env=self.environment, **options
        )

    def python(self, *arguments: str, stdin: str = "", **options: Any) -> Ran:
        with self.start(*arguments, stdin=subprocess.PIPE, **options) as process:
            out, err = process.communicate(stdin, timeout=120)
        return Ran(process.returncode, out, err)

    def midden(self, *arguments: str, **options: Any) -> Ran:
        return self.python("-m", "midden", *arguments, **options)

    def both(self, *arguments: str, **options: Any) -> tuple[Ran, Ran]:
        """What python makes of it, and what ``midden run`` does."""
        return self.python(*arguments, **options), self.midden("run", *arguments, **options)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def shell(python: str, tmp_path: Path, environment: dict[str, str]) -> Shell:
    folder = tmp_path / "here"
    folder.mkdir()
    return Shell(python, folder, environment)
