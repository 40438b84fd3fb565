"""Lists, dicts and sets that grow, shrink and are thrown away: buffers that change their size."""

from __future__ import annotations


def growing() -> int:
    """Grow eight long lists and two dicts side by side, and 8,000 short lists an item at a time."""
    lists: list[list[int]] = [[] for _ in range(8)]
    squares: dict[int, int] = {}
    names: dict[str, int] = {}
    for i in range(160_000):
        lists[i & 7].append(i)
        if i % 4 == 0:
            squares[i] = i * i
        if i % 8 == 0:
            names[str(i)] = i
    total = sum(map(len, lists)) + len(squares) + len(names)
    short: list[list[int]] = [[] for _ in range(8_000)]
    for turn in range(16):
        for one in short:
            one.append(turn)
        if turn == 8:
            short = short[::2]
    for one in lists:
        one.extend(range(20_000))
        del one[:30_000]
    return total + sum(map(len, short)) + sum(map(len, lists))


def table_churn(keep: int = 4_000) -> int:
    """A cache that forgets its oldest entry, an index of sets, and the algebra of sets of many sizes."""
    cache: dict[str, dict[str, int]] = {}
    index: dict[int, set[int]] = {}
    hits = 0
    for i in range(40_000):
        key = f"key {i * 7919 % 9_000}"
        entry = cache.pop(key, None)
        if entry is None:
            entry = {"id": i, "size": i % 97, "used": 0}
            if len(cache) >= keep:
                del cache[next(iter(cache))]
        else:
            hits += 1
            entry["used"] += 1
            entry[f"extra {entry['used'] % 11}"] = i
        cache[key] = entry
        index.setdefault(i % 701, set()).add(i)
        if i % 50 == 0:
            index.pop(i // 50 % 701, None)
    total = hits + len(cache)
    for size in range(1, 400):
        one = set(range(size))
        other = {n * 3 for n in one}
        total += len(one | other) - len(one & other) + len(one ^ other)
        total += len(dict.fromkeys(one - other))
    return total + sum(map(len, index.values()))
