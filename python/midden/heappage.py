"""A heap's picture as a page, HTML: `heappage.html` filled in. heapdraw.py tells how it looks, and why."""

from __future__ import annotations

import binascii
import os
import re

from midden.heapdraw import DARK, LIGHT, PAGES, alternative, cell_of, escaped
from midden.heapmap import FULL, NEVER_USED, REGIONS, RETURNED, TILE, UNIT, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from midden.heapmap import HeapMap, Row

MOST_TILES = 4096  # with more of them, a cell is a unit

with open(os.path.splitext(os.path.abspath(__file__))[0] + ".html", encoding="utf-8") as _file:
    _PAGE = _file.read()


def _run_lengths(data: bytes) -> str:
    """Pairs of value and count - 1, in base64."""
    pairs = bytearray()
    for run in re.finditer(rb"(.)\1{0,255}", data, re.DOTALL):
        pairs += bytes((run[1][0], len(run[0]) - 1))
    return binascii.b2a_base64(pairs, newline=False).decode()


def _map_data(picture: HeapMap) -> dict[str, Any]:
    """What the page's script draws."""
    tiles = list(picture.tiles())
    whole_units = len(tiles) > MOST_TILES
    blank = bytes([NEVER_USED]) * PAGES
    regions = []
    for region in REGIONS:
        ours = [(address, units) for name, address, units in tiles if name == region]
        if not ours:
            continue
        slots = sorted({unit.slot_bytes for _, units in ours for unit in units if unit and unit.slot_bytes})
        codes = {slot: 3 + i for i, slot in enumerate(slots)}
        kinds, cells = bytearray(), bytearray()
        starts: list[list[int]] = []
        for address, units in ours:
            tile = address // (TILE * UNIT)
            if starts and starts[-1][0] + starts[-1][1] == tile:
                starts[-1][1] += 1
            else:
                starts.append([tile, 1])
            for unit in units:
                # 0: never used or not there, 1: free, 2: room, then slots
                known = 0 if unit is None or unit.kind == "unused" else {"free": 1, "room": 2}.get(unit.kind)
                kinds.append(codes[unit.slot_bytes] if known is None and unit is not None else known or 0)
                if whole_units:
                    cells.append(cell_of(unit))
                else:
                    cells += unit.pages if unit else blank
        huge = bytes(any(unit and unit.huge for unit in units) for _, units in ours)
        regions.append(
            {
                "name": region,
                "tiles": starts,
                "huge": _run_lengths(huge),
                "slots": slots,
                "kinds": _run_lengths(bytes(kinds)),
                "cells": _run_lengths(bytes(cells)),
            }
        )
    return {"full": FULL, "returned": RETURNED, "wholeUnits": whole_units, "regions": regions}


def _bar(row: Row, most: int) -> str:
    parts = "".join(
        f'<i class="{style}" style="width:{figure * 100 / most:.2f}%"></i>'
        for figure, style in ((row.live, "live"), (row.free, "free"), (row.returned, "gone"))
        if figure
    )
    return f'<span class="bar" aria-hidden="true">{parts}</span>'


def _table_rows(picture: HeapMap) -> Iterator[str]:
    rows = sorted(picture.rows(), key=lambda row: -(row.live + row.free + row.returned))
    most = max((row.live + row.free + row.returned for row in rows), default=0) or 1
    for place, row in enumerate(rows):
        extent = row.live + row.free + row.returned
        small = place >= 10 and extent < 0.01 * most
        yield _table_row(row, row.name, _bar(row, most), extent, small)


def _table_row(row: Row, name: str, bar: str, extent: int, small: bool = False) -> str:
    sizes = "".join(
        f'<td data-v="{figure}">{size(figure) if figure else "–"}</td>'
        for figure in (row.live, row.free, row.returned)
    )
    label = escaped(name)
    if row.slot_bytes or row.region == "rooms":
        label = f'<button type="button" aria-pressed="false" data-slot="{row.slot_bytes}">{label}</button>'
    share = f"{row.fragmentation * 100:.0f} %" if row.live + row.free else "–"
    order = row.slot_bytes or (1 << 20 if row.region == "rooms" else 0)
    return (
        f'<tr{" class=small" if small else ""} data-region="{row.region}">'
        f'<td>{row.region}</td><td data-v="{order}">{label}</td>'
        f'<td data-v="{row.slabs}">{row.slabs or "–":{"," if row.slabs else ""}}</td>'
        f'<td data-v="{row.blocks}">{row.blocks or "–":{"," if row.blocks else ""}}</td>{sizes}'
        f'<td data-v="{row.fragmentation:.4f}">{share}</td>'
        f'<td data-v="{extent}">{bar}</td></tr>'
    )


def _facts(picture: HeapMap) -> Iterator[str]:
    marks = {"live": "live", "free": "free", "returned": "gone"}
    for name, figure, words in picture.facts():
        mark = f'<i class="mark {marks[name]}"></i>' if name in marks else ""
        yield f"<div><dt>{mark}{name}</dt><dd><b>{figure}</b><span>{escaped(words)}</span></dd></div>"


def html(picture: HeapMap) -> str:
    import json

    total = picture.total()
    whole = total.live + total.free + total.returned or 1
    data = json.dumps(_map_data(picture), separators=(",", ":")).replace("<", "\\u003c")
    return _filled(
        title=escaped(picture.title()),
        subtitle=escaped(picture.subtitle()),
        facts="\n".join(_facts(picture)),
        whole=_bar(total, whole),
        alternative=escaped(alternative(picture)),
        rows="\n".join(_table_rows(picture)),
        total=_table_row(total, "", "", whole),
        text=escaped(picture.text()),
        light=_variables(LIGHT),
        dark=_variables(DARK),
        data=data,
    )


def _variables(stops: tuple[str, ...]) -> str:
    return " ".join(f"--r{i}: {colour};" for i, colour in enumerate(stops))


def _filled(**parts: str) -> str:
    return re.sub("@@([a-z]+)@@", lambda match: parts[match[1]], _PAGE)


def frame(picture: HeapMap) -> str:
    """The page within another one, as in a notebook."""
    return (
        f'<iframe title="{escaped(picture.title())}" sandbox="allow-scripts" '
        f'style="width:100%;height:760px;border:0" srcdoc="{escaped(html(picture))}"></iframe>'
    )
