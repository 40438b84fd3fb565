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

    heap = commands.add_parser(
        "heap",
        help="run a Python program and show its heap, or show a saved one",
        usage="midden heap [-q] [-o FILE] [--signal NAME] [--at-exit]\n"
        "                   (SCRIPT | -m MODULE | -c CODE) [ARGS...]\n"
        "       midden heap [-o FILE] FILE.json",
        description="Run a Python program, as midden run does, and show midden's heap: bytes by size class, "
        "live, free and returned, and a map of its pages. At exit, or whenever a signal arrives. "
        "Or show a heap that was saved as FILE.json.",
        epilog="A program can show its own at any moment: midden.heap_map().save('heap.html')",
        allow_abbrev=False,
    )
    heap.add_argument("-q", "--quiet", action="store_true", help="do not tell that a file was written")
    heap.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write it there, as text, drawing, page or data: FILE ends in .txt, .svg, .html or .json. "
        "Otherwise it goes to stderr as text",
    )
    heap.add_argument(
        "--signal",
        metavar="NAME",
        help="show it whenever that signal arrives, e.g. USR2, in FILE.1, FILE.2 ... (heap.1.html); the "
        "program's own handler for it, if it installs one, takes the place of this",
    )
    heap.add_argument("--at-exit", action="store_true", help="with --signal: show it at exit, too")

    check = commands.add_parser(
        "check",
        help="what this machine and interpreter support, and why not",
        description="Say, item by item, whether the collector can run here, and try it once. Exit "
        "status 0 when it can, 1 when it cannot.",
        allow_abbrev=False,
    )
    check.add_argument("--json", action="store_true", help="the same as JSON")
    return parser


_WITH_VALUE = {"run": ("--stats",), "heap": ("-o", "--output", "--signal")}


def _words(command: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what follows ``run`` or ``heap`` into our options, and the program with its arguments."""
    ours = list(arguments)
    i = 0
    while i < len(ours):
        word = ours[i]
        if word == "--":
            return ours[:i], ours[i + 1 :]
        if word == "-" or not word.startswith("-") or word[:2] in ("-m", "-c"):
            break
        i += 2 if word in _WITH_VALUE[command] else 1
    return ours[:i], ours[i:]


def _command(arguments: list[str]) -> int:
    program: list[str] = []
    if arguments and arguments[0] in _WITH_VALUE:
        command = arguments[0]
        ours, program = _words(command, arguments[1:])
        if command == "heap" and program and program[0].endswith(".json"):
            ours, program = [*ours, *program[1:]], program[:1]  # a saved heap: options may follow
        arguments = [command, *ours]
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
    if options.command == "heap":
        return _heap(options, program)
    from midden import check

    return check.check(as_json=options.json)


def _heap(options: argparse.Namespace, program: list[str]) -> int:
    from midden import heaprun, run

    if options.output is not None:
        heaprun.check_suffix(options.output)
    if program and program[0].endswith(".json"):
        if options.signal is not None or options.at_exit:
            raise UsageError(f"--signal and --at-exit are for a program, and {program[0]!r} is a saved heap")
        output = None if options.output is None else run.writable_file(options.output, "heap file")
        return heaprun.show(program[0], output)
    words = ["quiet"] * options.quiet + heaprun.words(options.signal, options.at_exit)
    run.become(program, "heap", words, heap=options.output)


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
