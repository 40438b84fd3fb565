"""The long-running fuzzer: random programs, random settings, one process each, until the time is over.

    python tests/fuzz/fuzz.py [--seconds S] [--seed N] [--python PY] [--site DIR] [--each S]

Each round draws from its seed: a mode, a torture period, an allocator, and (where the extension was built with
-Dfaults=true) a fault. It runs mutator.py, or a graph of the oracle (tests/cpython/program.py), and looks at
its exit status, its answer, and what is left of its processes. A failing round prints the command that
runs it again, and the fuzzer goes on; the exit status is 1 if any failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent / "cpython" / "program.py"
MUTATOR = HERE / "mutator.py"

FAULTS = ["clone=1", "clone=3", "clone=*", "shared=2", "shared=*", "map=3", "map=7", "thread=1", "thread=*", "kill=1", "kill=2",
          "kill=3", "kill=4", "kill=*", "hang=1", "hang=3"]
ALLOCATORS = [{}, {}, {}, {}, {"PYTHONMALLOC": "debug"}, {"PYTHONMALLOC": "malloc"}, {"PYTHONDEVMODE": "1"}, {"PYTHONTRACEMALLOC": "1"}]


class Round:
    """One program with its settings, all drawn from one seed."""

    def __init__(self, seed: int, python: str, each: float) -> None:
        rng = random.Random(seed)
        self.seed = seed
        self.settings: dict[str, str] = {"PYTHONHASHSEED": str(seed % 1000), "PYTHONFAULTHANDLER": "1", **rng.choice(ALLOCATORS)}
        if rng.random() < 0.8:
            self.settings["MIDDEN_TORTURE"] = rng.choice(["1", "1", "2", "7", "40"])
        if rng.random() < 0.4:
            self.settings["MIDDEN_FAULT"] = ",".join(rng.sample(FAULTS, rng.choice([1, 1, 2])))
            self.settings["MIDDEN_TIMEOUT"] = "0.3"
        if rng.random() < 0.3:
            self.settings["MIDDEN_CHECK"] = "1"
        if rng.random() < 0.7:
            self.kind = "mutator"
            mode = rng.choice(["midden", "midden", "midden", "fast"])
            self.command = [python, str(MUTATOR), "--seed", str(seed), "--seconds", str(each), "--mode", mode]
        else:
            self.kind = "oracle"
            mode = rng.choice(["midden", "in_place", "fast", "torture"])
            if mode == "torture":
                self.settings["MIDDEN_TORTURE"] = "1"
                self.settings.pop("MIDDEN_FAULT", None)  # it waits for what only a snapshot finds
            self.command = [python, str(PROGRAM), mode, "--seed", str(seed), "--largest", str(rng.choice([10, 60, 400]))]

    def again(self, site: str | None) -> str:
        """The command line that runs this round alone."""
        shown = [f"{name}={value}" for name, value in sorted(self.settings.items())]
        if site:
            shown.append(f"PYTHONPATH={shlex.quote(site)}")
        return " ".join([*shown, shlex.join(self.command)])

    def run(self, site: str | None, limit: float) -> str | None:
        """None, or what went wrong."""
        mark = secrets.token_hex(8)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MIDDEN_", "PYTHON"))}
        env.update(self.settings, MIDDEN_MARK=mark)
        if site:
            env["PYTHONPATH"] = site
        process = subprocess.Popen(self.command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, errors="replace", start_new_session=True)
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler tells where it hangs
            time.sleep(1)
            try:
                os.killpg(process.pid, signal.SIGKILL)  # its session; forked children hold its output open
            except ProcessLookupError:
                pass
            out, err = process.communicate()
            return f"did not end in {limit:.0f} s\n{err[-3000:]}"
        left = outlived(mark)
        if process.returncode:
            return f"exit status {process.returncode}\n{(out if self.kind == 'mutator' else tail(out))[-2000:]}\n{err[-3000:]}"
        return f"{len(left)} processes outlived it" if left else None


def tail(out: str) -> str:
    """What program.py found wrong: all but the spec and the result, which the seed gives again."""
    return "\n".join(out.splitlines()[2:])


def outlived(mark: str) -> list[int]:
    """Processes with the mark, after a moment of grace; they are ended."""
    until = time.monotonic() + 3
    while True:
        left = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark.encode() in Path("/proc", entry, "environ").read_bytes():
                    left.append(int(entry))
            except OSError:
                pass
        if not left or time.monotonic() > until:
            break
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return left


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long in all (60)")
    parser.add_argument("--seed", type=int, help="the first round's seed; each round adds one (default: random)")
    parser.add_argument("--rounds", type=int, help="stop after so many rounds")
    parser.add_argument("--python", default=sys.executable, help="the interpreter under test")
    parser.add_argument("--site", default=os.environ.get("MIDDEN_SITE"), help="the directory that holds the midden package")
    parser.add_argument("--each", type=float, default=3, metavar="SECONDS", help="how long one mutator runs (3)")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else secrets.randbelow(1 << 31)
    print(f"seed {seed}, {chosen.seconds:g} s", flush=True)
    counts: Counter[str] = Counter()
    end = time.monotonic() + chosen.seconds
    number = 0
    while time.monotonic() < end and (chosen.rounds is None or number < chosen.rounds):
        one = Round(seed + number, chosen.python, min(chosen.each, max(0.5, end - time.monotonic())))
        number += 1
        wrong = one.run(chosen.site, limit=chosen.each * 10 + 60)
        counts[f"{one.kind} {'failed' if wrong else 'passed'}"] += 1
        if wrong:
            print(f"\nround of seed {one.seed} failed: {wrong.strip()}\nagain: {one.again(chosen.site)}", flush=True)
    print(json.dumps(dict(sorted(counts.items()))), flush=True)
    return 1 if any("failed" in name for name in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
