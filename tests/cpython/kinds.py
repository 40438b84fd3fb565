"""Every kind of object that the oracle puts into its graphs, behind one small interface.

A *kind* says how to make a node of it from its token (`make`), how to add a strong reference to another
node (`add`), and how to read back what it holds (`look`: the token first, then the targets in the order
they were added; None when the object was finalized, as a closed generator is).

The token is what the node's death is seen by: nothing else refers to it, it takes weak references where
lists and tuples do not, and it carries a payload that tells whether memory was overwritten.

Runs in the interpreter under test; imports neither midden nor pytest.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import ctypes
import functools
import io
import queue
import sqlite3
import threading
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

Make = Callable[["Token"], Any]
Look = Callable[[Any], "list[Any] | None"]


def payload_for(label: int) -> str:
    """What a token of that label must say; long enough to be a block of its own."""
    return f"payload of node {label} " + "abcdefgh"[label % 8] * 20


class Token:
    """The mark of one node. `guard` holds its finalizer, if it has one; `weak` its weak references."""

    def __init__(self, label: int, note: Callable[[str, int], None]) -> None:
        self.label = label
        self.payload = payload_for(label)
        self.note = note
        self.guard: object = None
        self.weak: list[object] = []

    def intact(self) -> bool:
        """Whether nobody wrote over it."""
        return self.payload == payload_for(self.label)


@dataclass(frozen=True)
class Kind:
    """How to make, link and read one kind of object."""

    make: Make
    look: Look
    add: Callable[[Any, Any], None]


KINDS: dict[str, Kind] = {}


def kind(name: str, look: Look, add: Callable[[Any, Any], None] | None = None) -> Callable[[Make], Make]:
    """Register a kind. Without `add`, `look` must give the very list that the node holds."""

    def register(make: Make) -> Make:
        KINDS[name] = Kind(make, look, add or (lambda head, target: look(head).append(target)))  # type: ignore[union-attr]
        return make

    return register


# --- containers --------------------------------------------------------------------------------------


class Key:
    """Makes anything hashable, and remembers the order in which it was added."""

    def __init__(self, index: int, value: Any) -> None:
        self.index = index
        self.value = value


kind("list", lambda head: head)(lambda token: [token])
kind("dict", lambda head: list(head.values()), lambda head, target: head.__setitem__(len(head), target))(
    lambda token: {0: token})
kind("dict of names", lambda head: list(head.values()), lambda head, t: head.__setitem__(f"e{len(head)}", t))(
    lambda token: {"token": token})
kind("set", lambda head: [key.value for key in sorted(head, key=lambda key: key.index)],
     lambda head, target: head.add(Key(len(head), target)))(lambda token: {Key(0, token)})
kind("frozenset", lambda head: next(iter(head)).value)(lambda token: frozenset([Key(0, [token])]))
kind("tuple", lambda head: head[1])(lambda token: (None, [token]))
kind("deque", lambda head: list(head), lambda head, target: head.append(target))(
    lambda token: collections.deque([token]))
kind("OrderedDict", lambda head: list(head.values()), lambda head, target: head.__setitem__(len(head), target))(
    lambda token: collections.OrderedDict({0: token}))
kind("WeakValueDictionary", lambda head: head.box)(lambda token: _with_box(weakref.WeakValueDictionary(), token))
kind("SimpleNamespace", lambda head: head.box)(lambda token: types.SimpleNamespace(box=[token]))
kind("MappingProxy", lambda head: head["box"])(lambda token: types.MappingProxyType({"box": [token]}))
kind("iterator", lambda head: head.__reduce__()[1][0])(lambda token: iter([token]))
kind("slice", lambda head: head.start)(lambda token: slice([token], None))
kind("cell", lambda head: head.cell_contents)(lambda token: types.CellType([token]))
kind("generic alias", lambda head: head.__args__[0])(lambda token: types.GenericAlias(list, ([token],)))
kind("element", lambda head: head.attrib["box"])(lambda token: _element(token))
kind("module", lambda head: head.box)(lambda token: _with_box(types.ModuleType("made_by_the_oracle"), token))


def _with_box(head: Any, token: Token) -> Any:
    head.box = [token]
    return head


def _element(token: Token) -> Element:
    head = Element("node")
    head.attrib["box"] = [token]  # type: ignore[assignment]
    Element("leaf").append(head)
    return head


@kind("defaultdict", lambda head: head["box"])
def _defaultdict(token: Token) -> Any:
    box = [token]
    head: Any = collections.defaultdict(lambda: box)
    assert head["box"] is box
    return head


@kind("queue", lambda head: head.box)
def _queue(token: Token) -> Any:
    class Queue(queue.SimpleQueue):  # type: ignore[type-arg]
        pass

    head: Any = Queue()
    head.box = [token]
    head.put(head)
    return head


# --- instances and classes ---------------------------------------------------------------------------


class Plain:
    """An instance whose attributes live where the interpreter likes best."""

    def __init__(self, token: Token) -> None:
        self.token = token


class Finalized(Plain):
    """As Plain, with a finalizer of its own."""

    def __del__(self) -> None:
        self.token.note("del", self.token.label)


class Slotted:
    """No dict, no weak references."""

    __slots__ = ("first", "second", "third", "rest")

    def __init__(self, token: Token) -> None:
        self.first = token
        self.rest: list[Any] = []


class SlottedWeakly(Slotted):
    """No dict, but weak references: another layout in front of the object."""

    __slots__ = ("__weakref__",)


def _look_attributes(head: Any) -> list[Any]:
    return list(vars(head).values())


def _add_attribute(head: Any, target: Any) -> None:
    setattr(head, f"a{len(vars(head))}", target)


def _look_slots(head: Slotted) -> list[Any]:
    found = [head.first]
    for name in ("second", "third"):
        if hasattr(head, name):
            found.append(getattr(head, name))
    return found + head.rest


def _add_slot(head: Slotted, target: Any) -> None:
    for name in ("second", "third"):
        if not hasattr(head, name):
            setattr(head, name, target)
            return
    head.rest.append(target)


kind("instance", _look_attributes, _add_attribute)(Plain)
kind("instance with __del__", _look_attributes, _add_attribute)(Finalized)
kind("slots", _look_slots, _add_slot)(Slotted)
kind("slots, weak", _look_slots, _add_slot)(SlottedWeakly)
kind("class", lambda head: head.box)(lambda token: type("Made", (Plain,), {"box": [token], "f": lambda self: head_of(self)}))
kind("instance of own class", lambda head: type(head).box)(
    lambda token: type("Own", (), {"box": [token], "__slots__": ("__weakref__", "__dict__")})())
kind("method", lambda head: head.__self__.box)(lambda token: _with_box(Method(), token).method)
kind("builtin method", lambda head: head.__self__)(lambda token: [token].append)
kind("super", lambda head: head.__self__.box)(lambda token: _with_box(Method(), token).above())
kind("exception", lambda head: head.args[0])(lambda token: ValueError([token]))


class Method:
    """Something to bind."""

    box: list[Any]

    def method(self) -> None:
        """The head of a "method" node is this, bound."""

    def above(self) -> Any:
        """A super object, which holds self."""
        return super()


def head_of(anything: object) -> object:
    """A global for the lambda of a class to refer to."""
    return anything


@kind("property", lambda head: head.fget.__closure__[0].cell_contents)
def _property(token: Token) -> Any:
    box = [token]
    return property(lambda self: box)


@kind("closure", lambda head: head())
def _closure(token: Token) -> Any:
    box = [token]

    def head() -> Any:
        return box if head else None  # refers to its own cell: a cycle by itself

    return head


@kind("partial", lambda head: head.args[0])
def _partial(token: Token) -> Any:
    return functools.partial(print, [token], end="")


@kind("lru_cache", lambda head: head.__wrapped__())
def _lru_cache(token: Token) -> Any:
    box = [token]

    @functools.lru_cache
    def head() -> Any:
        return box

    head()
    return head


@kind("context", lambda head: head[VARIABLE])
def _context(token: Token) -> Any:
    head = contextvars.Context()
    head.run(VARIABLE.set, [token])
    return head


VARIABLE: contextvars.ContextVar[list[Any]] = contextvars.ContextVar("VARIABLE")


@kind("thread local", lambda head: head.box)
def _local(token: Token) -> Any:
    return _with_box(threading.local(), token)


# --- suspended code ----------------------------------------------------------------------------------


def _frame_box(name: str) -> Look:
    def look(head: Any) -> list[Any] | None:
        frame = getattr(head, name)
        return None if frame is None else frame.f_locals["box"]

    return look


@types.coroutine
def suspend() -> Any:
    """Awaited, it stops there."""
    yield


@kind("generator", _frame_box("gi_frame"))
def _generator(token: Token) -> Any:
    def generate(box: list[Any]) -> Any:
        try:
            yield
        finally:
            box[0].note("finally", box[0].label)

    head = generate([token])
    next(head)
    return head


@kind("generator, stubborn", _frame_box("gi_frame"))
def _stubborn(token: Token) -> Any:
    def generate(box: list[Any]) -> Any:
        try:
            yield
        finally:
            box[0].note("finally", box[0].label)
            yield  # closing it is an error, told to sys.unraisablehook

    head = generate([token])
    next(head)
    return head


@kind("generator, not started", _frame_box("gi_frame"))
def _fresh(token: Token) -> Any:
    def generate(box: list[Any]) -> Any:
        yield box

    return generate([token])


@kind("coroutine", _frame_box("cr_frame"))
def _coroutine(token: Token) -> Any:
    async def wait(box: list[Any]) -> None:
        try:
            await suspend()
        finally:
            box[0].note("finally", box[0].label)

    head = wait([token])
    head.send(None)
    return head


@kind("async generator", _frame_box("ag_frame"))
def _async_generator(token: Token) -> Any:
    async def generate(box: list[Any]) -> Any:
        try:
            yield
        finally:
            box[0].note("finally", box[0].label)

    head = generate([token])
    try:
        head.__anext__().send(None)
    except StopIteration:
        pass
    return head


@kind("traceback", lambda head: head.__traceback__.tb_frame.f_locals["box"])
def _traceback(token: Token) -> Any:
    def fail(box: list[Any]) -> None:
        raise KeyError("kept with its frame")

    try:
        fail([token])
    except KeyError as error:
        error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
        return error


class Loop:
    """One event loop for all; it tells of tasks that are destroyed while pending."""

    loop: asyncio.AbstractEventLoop | None = None
    note: Callable[[str, int], None] = print

    @classmethod
    def get(cls) -> asyncio.AbstractEventLoop:
        """The loop, made when first asked for."""
        if cls.loop is None:
            cls.loop = asyncio.new_event_loop()
            cls.loop.set_exception_handler(cls.told)
        return cls.loop

    @classmethod
    def told(cls, loop: object, context: dict[str, Any]) -> None:
        """Note what the loop reports of a task or future."""
        task = context.get("task")
        cls.note("loop: " + context["message"], int(task.get_name()) if task is not None else -1)


@kind("future", lambda head: head._callbacks[0][0].args[0])
def _future(token: Token) -> Any:
    head = Loop.get().create_future()
    head.add_done_callback(functools.partial(print, [token]))
    return head


@kind("task", lambda head: head.get_coro().cr_frame and head.get_coro().cr_frame.f_locals["box"])
def _task(token: Token) -> Any:
    loop = Loop.get()
    Loop.note = token.note

    async def wait(box: list[Any], future: Any) -> None:
        await future

    head = loop.create_task(wait([token], loop.create_future()), name=str(token.label))
    loop.call_soon(loop.stop)
    loop.run_forever()
    return head


# --- C libraries with callbacks ------------------------------------------------------------------------


class Structure(ctypes.Structure):
    """Holds a Python object in a field."""

    _fields_ = [("other", ctypes.c_long), ("object", ctypes.py_object)]


Callback = ctypes.CFUNCTYPE(ctypes.c_long)

kind("ctypes structure", lambda head: head.object)(lambda token: Structure(1, [token]))
kind("ctypes pointer", lambda head: head.contents.object)(lambda token: ctypes.pointer(Structure(1, [token])))
kind("ctypes py_object", lambda head: head.value)(lambda token: ctypes.py_object([token]))


@kind("ctypes callback", lambda head: head.box)
def _callback(token: Token) -> Any:
    box = [token]
    head: Any = Callback(lambda: len(box))
    head.box = box
    assert head() == 1
    return head


class Connection(sqlite3.Connection):
    """A connection that can be given attributes."""


@kind("sqlite3 connection", lambda head: head.row_factory.args[0])
def _connection(token: Token) -> Any:
    head = sqlite3.connect(":memory:", factory=Connection, check_same_thread=False)
    head.row_factory = functools.partial(print, [token])
    head.set_progress_handler(head.row_factory, 1 << 30)
    head.set_trace_callback(None)
    return head


@kind("sqlite3 cursor", lambda head: head.row_factory.args[0])
def _cursor(token: Token) -> Any:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    head = connection.cursor()
    head.row_factory = functools.partial(print, [token])
    head.execute("select 1")
    return head


class Raw(io.RawIOBase):
    """A file that notes when it is closed."""

    def __init__(self, token: Token) -> None:
        self.box = [token]

    def readable(self) -> bool:
        """BufferedReader asks."""
        return True

    def close(self) -> None:
        """Closed by the finalizer of whatever io object holds it, once."""
        if not self.closed and self.box:
            self.box[0].note("close", self.box[0].label)
        super().close()


kind("io raw", lambda head: head.box)(Raw)
kind("io buffered", lambda head: head.raw.box)(lambda token: io.BufferedReader(Raw(token)))
kind("io text", lambda head: head.buffer.raw.box)(lambda token: io.TextIOWrapper(io.BufferedReader(Raw(token))))
kind("io bytes", lambda head: head.box)(lambda token: _with_box(Bytes(), token))


class Bytes(io.BytesIO):
    """A BytesIO that can be given attributes."""
