from types import TracebackType
from typing import Any, Literal, TypedDict, overload

from .heapmap import HeapMap

__all__ = [
    "Unsupported",
    "collect",
    "compact",
    "disable",
    "enable",
    "heap_map",
    "hold",
    "is_enabled",
    "stats",
]
__version__: str

_core: Any  # the extension; None where it is missing
_missing: str  # why

class Unsupported(RuntimeError): ...

class Collected(TypedDict):
    found: int
    reclaimed: int
    clone_s: float
    find_s: float
    reclaim_s: float
    in_place: bool

class Pause(TypedDict):
    count: int
    total_s: float
    max_s: float
    p50_s: float
    p99_s: float

class Pauses(TypedDict):
    clone: Pause
    reclaim: Pause
    young: Pause
    full: Pause

class _HeapAlways(TypedDict):
    live_bytes: int | None
    mapped_bytes: int | None
    resident_bytes: int | None
    returned_bytes: int | None
    serving: bool
    declined: str | None

class Heap(_HeapAlways, total=False):
    blocks: int
    free_bytes: int
    side_bytes: int
    moved_blocks: int
    moved_bytes: int
    purges: int
    compactions: int
    idle_compactions: int
    longest_evacuate_s: float
    longest_purge_s: float

class Middle(TypedDict):
    count: int
    objects: int

class Stats(TypedDict):
    enabled: bool
    in_flight: bool
    snapshots: int
    snapshots_failed: int
    candidates: int
    reclaimed: int
    fallbacks: int
    child_cpu_s: float
    pauses: Pauses
    heap: Heap
    naps: Pause
    middle: Middle
    oversized: int
    find_s: float
    finder_bytes: int
    record_bytes: int
    page_faults: int
    last_failure: str | None

def enable(*, collector: bool = True, heap: bool = True, fast_collect: bool = False) -> None: ...
def disable() -> None: ...
def is_enabled() -> bool: ...
@overload
def collect(
    wait: Literal[True] = True, timeout: float | None = None, in_place: bool = False
) -> Collected: ...
@overload
def collect(wait: Literal[False], timeout: float | None = None, in_place: bool = False) -> None: ...
@overload
def collect(wait: bool, timeout: float | None = None, in_place: bool = False) -> Collected | None: ...
def compact() -> int: ...
def stats() -> Stats: ...
def heap_map() -> HeapMap: ...

class hold:
    def __enter__(self) -> hold: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
