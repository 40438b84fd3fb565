"""The options of ``midden run``: what it tells, when, and about which process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

KEYS = {
    "enabled", "in_flight", "snapshots", "snapshots_failed", "candidates", "reclaimed", "fallbacks",
    "child_cpu_s", "pauses", "heap",
}  # fmt: skip

WORK = """\
import gc, midden
rings = []
for _ in range(1000):
    ring = []
    ring.append(ring)
    rings.append(ring)
gc.collect(1)  # they are old now
del ring, rings
print(midden.collect(timeout=60)["reclaimed"] >= 1000)
"""


def stats(path: Path) -> dict:
    return json.loads(path.read_text())


def test_the_summary_is_short_and_tells_the_figures(shell):
    run = shell.midden("run", "--stats", "run.json", "-c", WORK)
    assert run.out == "True\n"
    assert 1 <= len(run.ours) <= 4 and run.theirs == ""
    told = "\n".join(run.ours)
    figures = stats(shell.folder / "run.json")
    assert figures["snapshots"] >= 1 and figures["reclaimed"] >= 1000
    assert f"{figures['snapshots']:,} snapshot" in told
    assert f"{figures['candidates']:,} dead object" in told
    assert f"{figures['reclaimed']:,} reclaimed" in told
    assert re.search(r"longest stand-still [\d.]+ m?s, [\d.]+ m?s in all", told)
    assert re.search(r"child CPU [\d.]+ m?s", told)


def test_the_summary_comes_last(shell):
    code = "import atexit, sys; atexit.register(lambda: print('theirs', file=sys.stderr))"
    run = shell.midden("run", "-c", code)
    assert run.err.splitlines()[0] == "theirs"
    assert run.err.splitlines()[-1].startswith("midden: ")


def test_quiet(shell):
    assert shell.midden("run", "-q", "-c", WORK).err == ""
    assert shell.midden("run", "--quiet", "-c", "1").err == ""


def test_the_summary_goes_to_the_processs_stderr(shell):
    code = "import io, sys; sys.stderr = io.StringIO(); sys.__stderr__ = None"
    assert shell.midden("run", "-c", code).ours


def test_a_descriptor_2_that_became_the_programs_own_is_left_alone(shell):
    code = (
        "import os, sys\nreader, writer = os.pipe()\nos.dup2(writer, 2)\nos.close(writer)\n"
        "if os.fork() == 0:\n"  # the child outlives the parent's exit handlers
        "    os.close(2); print(os.read(reader, 100)); sys.stdout.flush(); os._exit(0)\n"
    )
    run = shell.midden("run", "-c", code)
    assert (run.status, run.out, run.err) == (0, "b''\n", "")


def test_stats_file(shell):
    run = shell.midden("run", "-q", "--stats=run.json", "-c", WORK, "an argument")
    assert (run.status, run.err) == (0, "")
    figures = stats(shell.folder / "run.json")
    assert set(figures) >= KEYS
    assert set(figures["pauses"]) >= {"clone", "reclaim", "young", "full"}
    for pause in figures["pauses"].values():
        assert set(pause) >= {"count", "total_s", "max_s", "p50_s", "p99_s"}
    assert set(figures["heap"]) >= {"live_bytes", "mapped_bytes", "resident_bytes", "returned_bytes"}
    assert figures["run"]["argv"] == ["-c", "an argument"]
    assert figures["run"]["collector_off"] is None
    assert figures["run"]["seconds"] > 0


def test_stats_file_when_the_program_fails_or_moves_away(shell):
    run = shell.midden("run", "-q", "--stats", "run.json", "-c", "import os; os.chdir('/'); 1/0")
    assert run.status == 1
    assert stats(shell.folder / "run.json")["enabled"] in (True, False)


def test_stats_file_that_became_unwritable(shell):
    (shell.folder / "sub").mkdir()
    code = "import os, sys; os.rmdir('sub'); sys.exit(3)"
    run = shell.midden("run", "-q", "--stats", "sub/run.json", "-c", code)
    assert run.status == 3
    assert len(run.err.splitlines()) == 1
    assert run.err.startswith("midden: can't write stats file ") and "No such file" in run.err


def test_stats_to_a_full_device(shell):
    run = shell.midden("run", "-q", "--stats", "/dev/full", "-c", "pass")
    assert run.status == 0
    assert len(run.err.splitlines()) == 1 and "No space left" in run.err


# --- children -------------------------------------------------------------------------------------------

CHILD = "import sys\nprint('midden' in sys.modules and sys.modules['midden'].is_enabled())"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CHILD!r}], check=True)\n"


def test_children_are_stock_unless_asked_for(shell):
    run = shell.midden("run", "-q", "-c", PARENT)
    assert (run.out, run.err) == ("False\n", "")


def test_children(shell):
    run = shell.midden("run", "--children", "--stats", "run.json", "-c", PARENT)
    assert run.out == "True\n"
    assert sum("longest stand-still" in line for line in run.ours) == 1  # the launching process only
    files = sorted(path.name for path in shell.folder.iterdir())
    assert len(files) == 2 and re.fullmatch(r"run\.\d+\.json", files[0]) and files[1] == "run.json"
    pids = {stats(shell.folder / name)["run"]["pid"] for name in files}
    assert len(pids) == 2 and int(files[0].split(".")[1]) in pids


def test_grandchildren(shell):
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {PARENT!r}], check=True)\n"
    assert shell.midden("run", "-q", "--children", "-c", code).out == "True\n"


def test_midden_run_inside_midden_run_children(shell):
    inner = "import os; print(sorted(n for n in os.environ if n.startswith('MIDDEN')), os.environ['PYTHONPATH'])"
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-m', 'midden', 'run', '-q', '-c', {inner!r}], check=True)"
    )
    run = shell.midden("run", "-q", "--children", "-c", code)
    assert run.out == f"[] {shell.environment['PYTHONPATH']}\n"


def test_exec_of_another_python(shell):
    code = f"import os, sys\nos.execv(sys.executable, [sys.executable, '-c', {CHILD!r}])"
    run = shell.midden("run", "-c", code)
    assert (run.out, run.ours) == ("False\n", [])
    run = shell.midden("run", "--children", "-c", code)
    assert run.out == "True\n" and run.ours


FORKS = {
    "sys.exit": "import os, sys\nif os.fork() == 0: sys.exit(0)\nos.wait()\n",
    "os._exit": "import os\nif os.fork() == 0: os._exit(0)\nos.wait()\n",
    "multiprocessing": (
        "import multiprocessing as mp\nif __name__ == '__main__':\n    mp.set_start_method('fork')\n"
        "    with mp.Pool(2) as pool: print(pool.map(abs, range(-3, 3)))\n"
    ),
    "spawn": (
        "import multiprocessing as mp\nif __name__ == '__main__':\n    mp.set_start_method('spawn')\n"
        "    p = mp.Process(target=print, args=(1,)); p.start(); p.join()\n"
    ),
}


@pytest.mark.parametrize("how", FORKS)
def test_the_summary_and_the_stats_file_are_the_launching_processs(shell, how):
    shell.write("forks.py", FORKS[how])
    stock = shell.python("forks.py")
    run = shell.midden("run", "--stats", "run.json", "forks.py")
    run.same_as(stock)
    assert sum("longest stand-still" in line for line in run.ours) == 1
    assert [path.name for path in shell.folder.glob("*.json")] == ["run.json"]


def test_forked_children_write_their_own_stats_when_asked(shell):
    shell.write("forks.py", FORKS["sys.exit"])
    run = shell.midden("run", "--children", "--stats", "run.json", "forks.py")
    assert sum("longest stand-still" in line for line in run.ours) == 1
    assert len(list(shell.folder.glob("*.json"))) == 2


def version_of(python: str | Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def other_python(than: str) -> str | None:
    """A Python of another version, if this machine has one."""
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions", Path("/usr")]
    for home in homes:
        for python in [*sorted(home.glob("*/bin/python3")), *sorted(home.glob("bin/python3.[0-9]*"))]:
            if python.name.endswith("-config"):
                continue
            if os.access(python, os.X_OK) and version_of(python) not in ("", version_of(than)):
                return str(python)
    return None


def test_a_child_of_another_version(shell, python):
    python = other_python(python)
    if python is None:
        pytest.skip("this machine has one version of Python only")
    code = f"import subprocess; subprocess.run([{python!r}, '-c', 'print(1)'], check=True)"
    run = shell.midden("run", "--children", "-c", code)
    assert (run.status, run.out, run.theirs) == (0, "1\n", "")
    off = [line for line in run.ours if "collector off" in line]
    assert len(off) == 1 and off[0].endswith("; running as stock Python")
    assert shell.midden("run", "-q", "--children", "-c", code).err == ""


# --- where the collector cannot run -----------------------------------------------------------------------


@pytest.fixture
def bare(shell, site, tmp_path):
    """A copy of the package without its extension."""
    copy = tmp_path / "bare"
    shutil.copytree(site, copy, ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    shell.environment["PYTHONPATH"] = str(copy)
    return copy


def test_without_the_extension_the_program_runs_as_stock(shell, bare):
    stock, run = shell.both("-c", "import sys; print(sys.path); sys.exit(3)")
    run.same_as(stock)
    assert len(run.ours) == 1
    assert re.fullmatch(
        r"midden: collector off: midden is not built for CPython 3\.\d+; running as stock Python", run.ours[0]
    )
    assert shell.midden("run", "-q", "-c", "pass").err == ""


def test_without_the_extension_the_stats_file_says_so(shell, bare):
    shell.midden("run", "-q", "--stats", "run.json", "-c", "pass")
    figures = stats(shell.folder / "run.json")
    assert set(figures) >= KEYS and figures["enabled"] is False
    assert "not built" in figures["run"]["collector_off"]


def test_an_extension_that_does_not_load(shell, bare):
    (bare / "midden" / "_core.py").write_text("raise ImportError('undefined symbol: _PyThing')\n")
    run = shell.midden("run", "-c", "print(1)")
    assert (run.status, run.out, len(run.ours)) == (0, "1\n", 1)
    assert "undefined symbol: _PyThing" in run.ours[0]


def test_an_interpreter_that_is_declined(shell, bare):
    (bare / "midden" / "_core.py").write_text(
        "class Unsupported(RuntimeError): pass\n"
        "def enable(**options): raise Unsupported('this build has no GIL')\n"
        "def stats(): return {}\n"
    )
    run = shell.midden("run", "-c", "print(1)")
    assert (run.status, run.out) == (0, "1\n")
    assert run.err == "midden: collector off: this build has no GIL; running as stock Python\n"


@pytest.mark.parametrize("what", ["raise OSError(5, 'A')", "raise MemoryError", "return 1/0"])
def test_no_traceback_of_ours(shell, bare, what):
    (bare / "midden" / "_core.py").write_text(
        "class Unsupported(RuntimeError): pass\ndef enable(**options): pass\n" f"def stats(): {what}\n"
    )
    run = shell.midden("run", "-c", "import sys; print(1); sys.exit(3)")
    assert (run.status, run.out, len(run.err.splitlines())) == (3, "1\n", 1)
    assert run.err.startswith("midden: no summary: ")
