"""``midden check``: what is supported here, and why not."""

from __future__ import annotations

import json
import shutil

import pytest


def test_check_tells_each_item_with_its_reason(shell):
    shell.environment["PYTHONIOENCODING"] = "utf-8"
    run = shell.midden("check")
    assert run.err == ""
    assert all(line[0] in "✓✗" for line in run.out.split("\n\n")[0].splitlines())
    can = "the collector can run here" in run.out
    assert run.status == (0 if can else 1)
    enabled = shell.python("-c", "import midden; midden.enable(); print(midden.is_enabled())")
    assert (enabled.out == "True\n") == can


def test_check_as_json_agrees(shell):
    run = shell.midden("check", "--json")
    report = json.loads(run.out)
    assert run.status == (0 if report["collector"] else 1)
    assert {"interpreter", "system", "extension"} <= {item["item"] for item in report["items"]}
    for item in report["items"]:
        assert set(item) == {"item", "ok", "detail"}
        assert isinstance(item["ok"], bool) and item["item"] and item["detail"]


def test_check_with_an_ascii_stdout(shell):
    shell.environment["PYTHONIOENCODING"] = "ascii"
    run = shell.midden("check")
    assert run.out.isascii() and run.err == ""
    assert run.out.startswith("ok interpreter")


@pytest.fixture
def bare(shell, site, tmp_path):
    copy = tmp_path / "bare"
    shutil.copytree(site, copy, ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    shell.environment["PYTHONPATH"] = str(copy)
    return copy


def test_check_without_the_extension(shell, bare):
    run = shell.midden("check")
    assert run.status == 1 and run.err == ""
    assert "midden is not built for" in run.out and "cannot run here" in run.out


def test_check_where_the_trial_fails(shell, bare):
    (bare / "midden" / "_core.py").write_text(
        "class Unsupported(RuntimeError): pass\n"
        "def enable(**options): raise Unsupported('clones are refused')\n"
        "def is_enabled(): return False\n"
        "def support(): return [('clone', False, 'clones are refused')]\n"
    )
    run = shell.midden("check")
    assert run.status == 1 and run.err == ""
    assert run.out.count("clones are refused") == 2 and "cannot run here" in run.out
