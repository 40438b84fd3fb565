"""Strings and byte buffers of all sizes, cut up, glued together, grown; and one big JSON document."""

from __future__ import annotations

import json
from typing import Any


def strings() -> int:
    """Split texts of many sizes into words, change the words, and join them again."""
    words = [f"word{i * 31 % 997}" * (1 + i % 5) for i in range(4_000)]
    total = 0
    for size in (3, 17, 90, 450, 2_000, 4_000):
        for start in range(0, 4_000, size):
            text = " ".join(words[start : start + size])
            parts = text.split()
            text = ", ".join(part.upper() if i % 3 else part[::-1] for i, part in enumerate(parts))
            text = text.replace("WORD", "w").strip()
            total += len(text) + text.count(",")
            head, _, rest = text.partition(", ")
            total += len(f"{head:>20}|{rest[:50]}|{len(parts):06}")
    lines = [f"{i}\t{words[i]}\t{i * 0.5:.2f}" for i in range(4_000)]
    table = [line.split("\t") for line in "\n".join(lines).splitlines()]
    grown = ""
    for name in words[:2_000]:
        grown += name[:3]
    return total + sum(len(row[1]) for row in table) + len(grown)


def bytearrays() -> int:
    """Grow buffers from 1 KB to 1 MB, several at a time, in steps of many sizes; cut, copy and join them."""
    total = 0
    chunk = bytes(range(256)) * 4
    for step in (64, 1_000, 9_000, 65_536):
        buffers = [bytearray(1_000) for _ in range(4)]
        piece = (chunk * (step // len(chunk) + 1))[:step]
        limit = 100_000 if step < 1_000 else 1_000_000
        while len(buffers[0]) < limit:
            for one in buffers:
                one += piece
        for one in buffers:
            del one[: len(one) // 3]
            total += len(one) + one[-1]
        joined = b"".join(buffers)
        total += len(joined) + joined.count(7)
    packets = [joined[i : i + 1_400] for i in range(0, 700_000, 1_400)]
    stream = bytearray()
    for packet in packets:
        stream.extend(packet)
        if len(stream) > 16_384:
            total += sum(bytes(stream[:4]))
            del stream[:16_000]
    for size in range(1_000, 1_000_000, 37_000):
        total += len(bytearray(size)) + len(bytes(size))
    return total


def document(shelves: int = 250) -> dict[str, Any]:
    """Return a nested document of about four megabytes, as text."""
    return {
        "title": "inventory",
        "shelves": [
            {
                "id": shelf,
                "label": f"shelf {shelf}",
                "boxes": [
                    {
                        "box": f"{shelf}/{box}",
                        "weight": box * 1.25 + shelf,
                        "tags": ["a", "b", f"tag {box * shelf}"],
                        "note": "careful " * (box % 9),
                        "place": {"row": box % 7, "column": box // 7, "level": None},
                    }
                    for box in range(100)
                ],
            }
            for shelf in range(shelves)
        ],
    }


def json_document() -> int:
    """Write and read a big document, compact and indented."""
    data = document()
    total = 0
    for indent in (None, 1):
        text = json.dumps(data, indent=indent)
        data = json.loads(text)
        total += len(text)
    return total + len(data["shelves"][-1]["boxes"])
