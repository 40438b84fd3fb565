"""Short programs of coroutines and generators: frames that are objects, and tasks that form cycles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator


async def _branch(depth: int, width: int) -> int:
    """Await `width` branches below this one; the leaves yield to the loop once."""
    if depth == 0:
        await asyncio.sleep(0)
        return 1
    return sum(await asyncio.gather(*(_branch(depth - 1, width) for _ in range(width))))


def async_tree() -> int:
    """Gather a tree of 4,096 leaves."""
    return asyncio.run(_branch(6, 4))


class Nest:
    """A tree whose iterator is a generator on top of its children's generators."""

    __slots__ = ("key", "left", "right")

    def __init__(self, low: int, high: int) -> None:
        middle = (low + high) // 2
        self.key = middle
        self.left = Nest(low, middle) if low < middle else None
        self.right = Nest(middle + 1, high) if middle + 1 < high else None

    def __iter__(self) -> Iterator[int]:
        if self.left:
            yield from self.left
        yield self.key
        if self.right:
            yield from self.right


def generators() -> int:
    """Walk a nest of 20,000 keys through thousands of suspended frames."""
    nest = Nest(0, 20_000)
    return sum(key for _ in range(6) for key in nest)
