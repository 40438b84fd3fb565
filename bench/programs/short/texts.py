"""Short programs that read and write: serialisers, regular expressions, log records."""

from __future__ import annotations

import io
import json
import logging
import pickle
import re
from typing import Any


def _document() -> dict[str, Any]:
    """Return a nested document such as a web service sends."""
    return {
        "title": "inventory",
        "shelves": [
            {
                "id": shelf,
                "label": f"shelf {shelf}",
                "boxes": [
                    {
                        "box": box,
                        "weight": box * 1.25,
                        "tags": ["a", "b", str(box)],
                        "open": box % 2 == 0,
                        "note": None,
                    }
                    for box in range(40)
                ],
            }
            for shelf in range(40)
        ],
    }


def json_both_ways() -> int:
    """Write and read a document of 1,600 entries several times; return its length."""
    document = _document()
    for _ in range(3):
        text = json.dumps(document)
        document = json.loads(text)
    return len(text)


def pickle_both_ways() -> int:
    """The same through pickle, with objects that share parts and refer back to each other."""
    document = _document()
    document["index"] = {f"{s['id']}/{b['box']}": b for s in document["shelves"] for b in s["boxes"]}
    document["self"] = document
    for _ in range(4):
        data = pickle.dumps(document, protocol=5)
        document = pickle.loads(data)
    return len(data)


def regex_scan() -> int:
    """Search a log of 3,000 lines with a few expressions; return the number of matches."""
    lines = "\n".join(
        f'192.0.2.{i % 250} - - [10/Oct/2025:13:{i % 60:02}:36] "GET /item/{i}?q=a{i}b&p={i % 9} HTTP/1.1" '
        f'{200 + i % 5} {i * 37} "someone{i}@example.org"'
        for i in range(3_000)
    )
    expressions = (
        r"(\d+)\.(\d+)\.(\d+)\.(\d+)",
        r"[\w.]+@[\w.]+",
        r"GET\s+(?P<path>/\S*?)\?(?P<query>\S*)",
        r"(?:200|204)\s+\d+",
        r"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)\]",
    )
    return sum(1 for expression in expressions for _ in re.finditer(expression, lines))


def logging_lines(lines: int = 12_000) -> int:
    """Log lines, a third filtered away, some with a traceback; return the length of the log."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log = logging.Logger("bench", logging.INFO)
    log.addHandler(handler)
    for number in range(lines):
        log.debug("left out %d", number)
        log.info("line %d of %s", number, "many")
        if number % 50 == 0:
            try:
                raise ValueError(number)
            except ValueError:
                log.exception("number %d failed", number)
        else:
            log.warning("careful with %d", number)
    return len(stream.getvalue())
