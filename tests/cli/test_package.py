"""The package itself: importable anywhere, and what it does where the collector cannot run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading

import pytest

import midden


def test_public_names(root):
    assert set(midden.__all__) <= set(dir(midden))
    stub = (root / "python/midden/__init__.pyi").read_text()
    for name in midden.__all__:
        assert re.search(rf"\b(def|class) {name}\b", stub), f"{name} is not in the stub"
        assert name == "Unsupported" or getattr(midden, name).__doc__
    assert issubclass(midden.Unsupported, RuntimeError)


def test_the_version_is_told_once(root):
    assert f"version: '{midden.__version__}'" in (root / "meson.build").read_text()


def test_importing_changes_nothing(shell):
    code = (
        "import gc, sys\nbefore = gc.get_threshold(), list(gc.callbacks), list(sys.path)\nimport midden\n"
        "assert before == (gc.get_threshold(), list(gc.callbacks), list(sys.path))\n"
        "assert not midden.is_enabled()\nmidden.disable()\n"
    )
    assert shell.python("-c", code).status == 0


def test_hold_nests_and_is_shared_by_threads(shell):
    code = """if 1:
        import threading, midden
        midden.enable()
        hold = midden.hold()
        with hold, hold, midden.hold() as same:
            assert isinstance(same, midden.hold)
        def work():
            for _ in range(1000):
                with hold:
                    [[] for _ in range(10)]
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        try:
            with hold:
                1/0
        except ZeroDivisionError:
            pass
        assert midden.collect(timeout=60) is not None
        midden.disable()
        with hold: pass
        print('held')
    """
    run = shell.python("-c", code)
    assert (run.status, run.out, run.err) == (0, "held\n", "")


def test_hold_works_before_enable():
    with midden.hold(), midden.hold():
        pass
    assert threading.active_count() >= 1


@pytest.fixture
def bare(shell, site, tmp_path):
    copy = tmp_path / "bare"
    shutil.copytree(site, copy, ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    shell.environment["PYTHONPATH"] = str(copy)
    return copy


def test_without_the_extension(shell, bare, site):
    code = """if 1:
        import midden
        assert not midden.is_enabled()
        midden.disable()
        with midden.hold(): pass
        for call in midden.enable, midden.collect:
            try:
                call()
            except midden.Unsupported as error:
                print(error)
        print(sorted(midden.stats()), midden.stats()['snapshots'])
    """
    run = shell.python("-c", code)
    assert run.err == ""
    first, second, keys = run.out.splitlines()
    assert first == second and re.fullmatch(r"midden is not built for CPython 3\.\d+", first)
    shell.environment["PYTHONPATH"] = str(site)
    assert set(eval(keys.rsplit(" ", 1)[0])) <= set(
        eval(shell.python("-c", "import midden; print(sorted(midden.stats()))").out)
    )


def test_types(root):
    """mypy --strict, where it is installed."""
    pytest.importorskip("mypy")
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
