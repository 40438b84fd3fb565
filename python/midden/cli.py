"""The command ``midden``: reads the command line, and calls the module of the subcommand.

Whatever is wrong with the command line is one line on stderr that starts with "midden: ", and exit
status 2. No traceback of ours reaches the user.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from midden import __version__


class UsageError(Exception):
    """What the user asked for cannot be done; the message is the one line that says why."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> _Parser:
    parser = _Parser(
        prog="midden",
        description="A concurrent cycle collector for Python: full collections without the stops.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version="midden " + __version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="run a Python program with midden enabled",
        usage="midden run [-q] [--stats FILE.json] [--children] [--fast-collect]\n"
        "                  (SCRIPT | -m MODULE | -c CODE) [ARGS...]",
        description="Run a Python program, as python does, with midden enabled. Everything after the "
        "program's name is the program's own. At exit a short summary goes to stderr; the exit status "
        "is the program's.",
        epilog="SCRIPT may also be a folder or zip file with a __main__.py, or - for stdin. "
        "The interpreter is the one that runs midden, with its flags: python -X dev -m midden run app.py",
        allow_abbrev=False,
    )
    run.add_argument("-q", "--quiet", action="store_true", help="print nothing of our own, no summary")
    run.add_argument("--stats", metavar="FILE.json", help="write midden.stats() there at exit")
    run.add_argument(
        "--children",
        action="store_true",
        help="also enable midden in the Python processes that the program starts; with --stats each "
        "writes FILE.<pid>.json",
    )
    run.add_argument(
        "--fast-collect", action="store_true", help="let gc.collect() use midden's faster finder"
    )

    check = commands.add_parser(
        "check",
        help="what this machine and interpreter support, and why not",
        description="Say, item by item, whether the collector can run here, and try it once. Exit "
        "status 0 when it can, 1 when it cannot.",
        allow_abbrev=False,
    )
    check.add_argument("--json", action="store_true", help="the same as JSON")
    return parser


def _words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what follows ``run`` into our options, and the program with its arguments."""
    ours = list(arguments)
    i = 0
    while i < len(ours):
        word = ours[i]
        if word == "--":
            return ours[:i], ours[i + 1 :]
        if word == "-" or not word.startswith("-") or word[:2] in ("-m", "-c"):
            break
        i += 2 if word == "--stats" else 1
    return ours[:i], ours[i:]


def _command(arguments: list[str]) -> int:
    program: list[str] = []
    if arguments[:1] == ["run"]:
        ours, program = _words(arguments[1:])
        arguments = ["run", *ours]
    options = _parser().parse_args(arguments)
    if options.command == "run":
        from midden import run

        return run.run(
            program,
            quiet=options.quiet,
            stats=options.stats,
            children=options.children,
            fast_collect=options.fast_collect,
        )
    from midden import check

    return check.check(as_json=options.json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. ``midden run`` does not return: it becomes the
    program."""
    try:
        return _command(list(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        message = str(error).replace("\n", " ")
        print("midden:", message, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # "midden check | head": be quiet, also when the interpreter flushes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
