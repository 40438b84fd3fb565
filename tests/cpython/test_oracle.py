"""The oracle: generated graphs, collected by stock and by midden in every way, must end the same.

Each graph (kinds.py, model.py) runs as stock and in midden's modes (program.py). What is compared:

1. *What dies.* All that is unreachable when the roots are let go has died after one collection, unless a
   finalizer brought it back; all else is alive, with its contents as they were made. Stock's own
   collection afterwards (midden disabled) finds nothing of what was dead at the snapshot.
2. *How often.* In the end every node has died once, and every finalizer, weakref.finalize, suspended `finally`
   and close() has run once, in every mode, with the same errors told to sys.unraisablehook.
3. *In what order.* midden hands garbage over in slices, where one stock collection takes all at once. So
   its order may be any that stock takes when the graph is spread over generations, that is:
   - a finalizer finds all that its object leads to as it was, never cleared;
   - whoever follows a weak reference gets None or a whole object;
   - the callback of a weak reference is heard if the reference lives, silent if it dies with or leads to
     its target, and may be either if both die and it does not lead there;
   - what a finalizer brings back may have its own finalizers and callbacks run before or later, once.
   stock itself is judged by the same rules, so a rule that is too strict fails on stock.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import kinds
import model
import pytest
import subject

MODES = ["stock", "midden", "in_place", "fast", "torture"]
SCALE = int(os.environ.get("MIDDEN_SCALE", "1"))  # how many times as many graphs as usual


class Server:
    """A program under test that takes one graph after another; started again when it dies."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.process: subprocess.Popen[str] | None = None

    def ask(self, spec: model.Spec) -> dict[str, Any]:
        """Run a spec. A crash or a hang fails the test with the spec that can be run alone."""
        if self.process is None:
            extra = {"MIDDEN_TORTURE": "1"} if self.mode == "torture" else None
            self.process = subprocess.Popen(
                [subject.PYTHON, str(subject.HERE / "program.py"), self.mode, "--serve"], env=subject.environment(extra),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(spec) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            status = self.end()
            pytest.fail(f"{self.mode}: the interpreter ended with status {status} on\n{again(self.mode, spec)}", pytrace=False)
        return json.loads(line)

    def end(self) -> int:
        """Close its input and wait for it; its exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        assert process.stdin
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def again(mode: str, spec: model.Spec) -> str:
    """The command that runs one graph alone."""
    graph = f"--seed {spec['seed']}" if "seed" in spec else f"--spec '{json.dumps(spec)}'"
    torture = "MIDDEN_TORTURE=1 " if mode == "torture" else ""
    return f"MIDDEN_SEED={subject.SEED} {torture}{subject.PYTHON} tests/cpython/program.py {mode} {graph}"


@pytest.fixture(scope="module")
def servers() -> Any:
    """One server per mode."""
    made = {mode: Server(mode) for mode in MODES}
    yield made
    statuses = {mode: server.end() for mode, server in made.items()}
    assert not any(statuses.values()), f"exit statuses of the servers: {statuses}"


def compare(servers: dict[str, Server], spec: model.Spec, modes: list[str] = MODES) -> None:
    """Run a graph in all modes; fail with everything that is wrong, and the way to see it again."""
    results = {mode: servers[mode].ask(spec) for mode in modes}
    wrong = []
    stock = model.summary(spec, results["stock"])
    for mode, result in results.items():
        wrong += [f"{mode}: {what}" for what in model.judge(spec, result)]
        mine = model.summary(spec, result)
        for event in sorted(stock.keys() | mine.keys()):
            if stock.get(event, 0) != mine.get(event, 0):
                wrong.append(f"{mode}: {event} {mine.get(event, 0)} times, in stock {stock.get(event, 0)}")
    if "fast" in results and results["fast"]["found"] != results["stock"]["found"] and model.Expectation(spec).harmless:
        wrong.append(f"fast: gc.collect() returned {results['fast']['found']}, in stock {results['stock']['found']}")
    if wrong:
        commands = [again(mode, spec) for mode in modes if any(what.startswith(mode) for what in wrong)]
        pytest.fail("\n".join([*wrong[:40], "--- again:", *commands]), pytrace=False)


@pytest.mark.parametrize("name", list(kinds.KINDS))
def test_every_kind_in_every_generation(servers: dict[str, Server], name: str) -> None:
    """A ring of one kind across the three generations, one alone, one alive, with weak references and finalizers."""
    def node(age: int, edges: list[int], **more: Any) -> dict[str, Any]:
        return {"kind": name, "age": age, "edges": edges, "weak": [], "final": None, "target": 0, **more}

    nodes = [node(2, [1], weak=[[1, "self"]]), node(1, [2], final="log"), node(0, [0], weak=[[3, "plain"]]),
             node(2, [3], final="log"), node(2, [4], weak=[[0, "plain"]]), node(2, [6]), node(2, [5, 7]), node(2, [])]
    compare(servers, {"nodes": nodes, "roots": [4]})


@pytest.mark.parametrize("final", model.FINALIZERS)
def test_every_finalizer(servers: dict[str, Server], final: str) -> None:
    """A chain of rings in which the first, the middle or the last has the finalizer, acting on each other."""
    for place in range(3):
        for target in (0, 3, 5) if final in model.ACTS_ON_TARGET else (0,):
            nodes = [{"kind": "list", "age": 2, "edges": [i, (i + 1) % 6], "weak": [[(i + 3) % 6, "plain"]], "final": "log",
                      "target": 0} for i in range(6)]
            nodes[5]["edges"] = [5, 3]
            nodes[2]["edges"] = [0, 3]
            nodes.append({"kind": "instance", "age": 2, "edges": [6], "weak": [], "final": "log", "target": 0})
            nodes[place * 2].update(final=final, target=target)
            compare(servers, {"nodes": nodes, "roots": [6]}, ["stock", "midden", "in_place", "fast"])


@pytest.mark.parametrize("number", range(12 * SCALE))
def test_seeded(servers: dict[str, Server], number: int) -> None:
    """Graphs of all kinds at once, drawn from the seed."""
    spec = model.draw(subject.SEED + number, list(kinds.KINDS))
    compare(servers, {**spec, "seed": subject.SEED + number},
            MODES if number % 4 == 0 else ["stock", "midden", "in_place", "fast"])


def test_large(servers: dict[str, Server]) -> None:
    """A few hundred nodes of all kinds: more than one slice."""
    spec = model.draw(subject.SEED, list(kinds.KINDS), 400)
    compare(servers, spec, ["stock", "midden", "in_place", "fast"])


def test_generated(servers: dict[str, Server]) -> None:
    """Graphs from hypothesis, which finds the smallest that goes wrong."""
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    @st.composite
    def specs(draw: Any) -> model.Spec:
        number = draw(st.integers(1, 9))
        label = st.integers(0, number - 1)
        one = st.fixed_dictionaries({
            "kind": st.sampled_from(list(kinds.KINDS)), "age": st.integers(0, 2), "edges": st.lists(label, max_size=4),
            "weak": st.lists(st.tuples(label, st.sampled_from(["plain", "self"])).map(list), max_size=2),
            "final": st.one_of(st.none(), st.sampled_from(model.FINALIZERS)), "target": label})
        nodes = draw(st.lists(one, min_size=number, max_size=number))
        return {"nodes": nodes, "roots": sorted(draw(st.sets(label, max_size=2)))}

    @hypothesis.seed(subject.SEED)
    @hypothesis.settings(max_examples=30 * SCALE, deadline=None, database=None,
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(specs())
    def check(spec: model.Spec) -> None:
        compare(servers, spec, ["stock", "midden", "in_place", "fast"])

    check()


@pytest.mark.parametrize("settings", [{"PYTHONMALLOC": "debug"}, {"PYTHONMALLOC": "malloc"}, {"PYTHONMALLOC": "malloc_debug"},
                                      {"PYTHONDEVMODE": "1"}, {"PYTHONTRACEMALLOC": "3"}, {"PYTHONNODEBUGRANGES": "1"}],
                         ids=lambda settings: "=".join(*settings.items()))
def test_other_allocators(settings: dict[str, str]) -> None:
    """The same graphs where a block lies elsewhere, or has something in front of it."""
    for mode in MODES[1:]:
        for number in range(SCALE):
            extra = {**settings, **({"MIDDEN_TORTURE": "1"} if mode == "torture" else {})}
            ended = subject.run_file("program.py", mode, "--seed", str(subject.SEED + number), env=extra, status=None)
            if ended.status:
                subject.blame(ended, f"ended with status {ended.status}", str(extra))
