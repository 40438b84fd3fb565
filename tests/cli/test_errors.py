"""Bad input: one clear line that starts with "midden: ", exit status 2, no traceback."""

from __future__ import annotations

import os

import pytest


def refused(run, *words: str) -> None:
    assert (run.status, run.out) == (2, "")
    assert len(run.err.splitlines()) == 1, run.err
    assert run.err.startswith("midden: ")
    for word in words:
        assert word in run.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["bogus"], ["bogus", "run", "check"]),
        (["--bogus"], []),
        (["run"], ["SCRIPT"]),
        (["run", "-q"], ["SCRIPT"]),
        (["run", "--"], ["SCRIPT"]),
        (["run", "--bogus", "x.py"], ["--bogus"]),
        (["run", "-x", "x.py"], ["-x"]),
        (["run", "--child", "x.py"], ["--child"]),
        (["run", "-m"], ["-m"]),
        (["run", "-c"], ["-c"]),
        (["run", "--stats"], ["--stats"]),
        (["run", "--stats", "no/where/x.json", "-c", "1"], ["no folder", "no/where"]),
        (["run", "--stats", ".", "-c", "1"], ["folder"]),
        (["run", "--stats", "", "-c", "1"], ["stats"]),
        (["run", "missing.py"], ["can't open file", "missing.py", "[Errno 2] No such file or directory"]),
        (["run", "missing/x.py"], ["can't open file"]),
        (["run", ""], ["can't open file"]),
        (["check", "--bogus"], ["--bogus"]),
        (["check", "x"], ["x"]),
    ],
    ids=str,
)
def test_bad_command_line(shell, arguments, words):
    refused(shell.midden(*arguments), *words)
    assert list(shell.folder.iterdir()) == []


def test_a_missing_script_is_told_as_python_tells_it(shell):
    stock, run = shell.both("missing.py")
    assert stock.status == run.status == 2
    assert stock.err.split(": ", 1)[1] == run.err.split(": ", 1)[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
def test_without_permission(shell):
    shell.write("secret.py", "1").chmod(0)
    refused(shell.midden("run", "secret.py"), "Permission denied")
    (shell.folder / "locked").mkdir(0o500)
    refused(shell.midden("run", "--stats", "locked/x.json", "-c", "1"), "permission denied")


def test_help_and_version(shell):
    for arguments in (["--help"], ["run", "--help"], ["run", "-h"], ["check", "--help"], ["--version"]):
        run = shell.midden(*arguments)
        assert (run.status, run.err) == (0, "")
        assert "midden" in run.out


def test_the_programs_own_options_are_not_ours(shell):
    run = shell.midden("run", "-q", "-c", "import sys; print(sys.argv[1:])", "--help", "--bogus", "-q")
    assert (run.status, run.out) == (0, "['--help', '--bogus', '-q']\n")


def test_a_reader_that_goes_away(shell):
    with shell.start("-m", "midden", "check") as process:
        process.stdout.close()
        err = process.stderr.read()
    assert "Traceback" not in err and "BrokenPipe" not in err
