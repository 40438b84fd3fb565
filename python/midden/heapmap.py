"""The picture of a heap: what `midden.heap_map` returns, and ``midden heap`` shows.

    picture = midden.heap_map()
    print(picture)                      # a table and a map, as text
    picture.save("heap.html")           # or .svg, .json, .txt
    HeapMap.from_json(text)             # a saved one

A `HeapMap` is a moment's figures and does not change. Sizes are bytes. The words are those of the heap:

    live       in blocks that the program holds
    free       memory that is in no block; of the resident memory, `fragmentation` is its share
    returned   given back to the system: address space without memory
    slab       64 KiB cut into slots of one size
    room       what a block larger than any slot has for its own
    unit       64 KiB: a slab, or free, or a piece of a room

Nothing is imported here that a program could hide behind a module of its own: at exit its folder comes first.
"""

from __future__ import annotations

import os
import struct
import sys
import time

from midden import Unsupported, _core, _missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

PAGE = 4096
UNIT = 65536
TILE = 32  # units: the heap's arenas, 2 MiB, are what a map shows as one piece
REGIONS = ("objects", "buffers", "rooms")
KINDS = ("unused", "free", "slab", "room")
FULL, RETURNED, NEVER_USED = 250, 254, 255  # how full a page is: 0 to FULL, or one of the others
FORMATS = (".txt", ".svg", ".html", ".json")

_UNIT = struct.Struct("=QIBBBx16s")
_FIGURES = (
    "blocks", "live_bytes", "mapped_bytes", "resident_bytes", "free_bytes", "returned_bytes", "side_bytes",
    "moved_blocks", "moved_bytes", "advised", "purges",
)  # fmt: skip
_CLASS = ("slot_bytes", "slabs", "blocks", "slots", "resident_bytes", "purged_bytes")
_ROOMS = ("blocks", "live_bytes", "resident_bytes")
_ABOUT = ("program", "moment", "time", "python", "midden")
_VERSION = 1  # of the saved form
_MOST_UNITS = 1 << 25


class Unit:
    """64 KiB of the heap. `pages`: for each page, 0 to FULL, RETURNED or NEVER_USED."""

    __slots__ = ("address", "slot_bytes", "kind", "region", "huge", "pages")

    def __init__(
        self, address: int, slot_bytes: int, kind: int, region: int, huge: int, pages: bytes
    ) -> None:
        self.address = address
        self.slot_bytes = slot_bytes  # 0: not a slab
        self.kind = KINDS[kind]
        self.region = REGIONS[region]
        self.huge = bool(huge)
        self.pages = pages

    def __repr__(self) -> str:
        slots = f", slots of {self.slot_bytes}" if self.slot_bytes else ""
        return f"<unit {self.address:#x}: {self.kind} of {self.region}{slots}>"


class Row:
    """A line of the table."""

    __slots__ = ("region", "name", "slot_bytes", "slabs", "blocks", "live", "free", "returned")

    def __init__(
        self,
        region: str,
        name: str,
        *,
        slot_bytes: int = 0,
        slabs: int = 0,
        blocks: int = 0,
        live: int = 0,
        free: int = 0,
        returned: int = 0,
    ) -> None:
        self.region = region
        self.name = name
        self.slot_bytes = slot_bytes  # 0: not a size class
        self.slabs = slabs
        self.blocks = blocks
        self.live = live
        self.free = free
        self.returned = returned

    @property
    def fragmentation(self) -> float:
        return self.free / (self.live + self.free) if self.free else 0.0

    def add(self, other: Row) -> None:
        for name in ("slabs", "blocks", "live", "free", "returned"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class HeapMap:
    """What a heap holds, by size class, and how full each of its pages is. `str` of it is the text."""

    def __init__(
        self,
        about: dict[str, Any],
        figures: dict[str, int],
        classes: list[dict[str, Any]],
        rooms: dict[str, int],
        units: bytes,
    ) -> None:
        self.about = about  # program, pid, moment, time, and the versions of python and midden
        self.figures = figures  # of the whole heap
        self.classes = classes  # of each size class that has slabs
        self.rooms = rooms
        self._packed = units
        self._units: list[Unit] | None = None

    # --- figures ----------------------------------------------------------------------------------------

    @property
    def units(self) -> list[Unit]:
        """All units of all arenas and rooms, in address order."""
        if self._units is None:
            self._units = [Unit(*fields) for fields in _UNIT.iter_unpack(self._packed)]
        return self._units

    @property
    def live_bytes(self) -> int:
        return self.figures["live_bytes"]

    @property
    def resident_bytes(self) -> int:
        return self.figures["resident_bytes"]

    @property
    def free_bytes(self) -> int:
        return self.figures["free_bytes"]

    @property
    def fragmentation(self) -> float:
        """free / resident: 0 to 1."""
        return self.free_bytes / self.resident_bytes if self.resident_bytes else 0.0

    @property
    def returned_bytes(self) -> int:
        """Of the arenas and rooms that are open now, what was given back to the system."""
        return sum(row.returned for row in self.rows())

    @property
    def huge_bytes(self) -> int:
        """Of the arenas and rooms that are open now, what asked for huge pages."""
        return UNIT * sum(unit.huge for unit in self.units)

    def rows(self, share: float = 0.0, most: int = 1000) -> list[Row]:
        """The table: size classes, free units and rooms, by region and size.

        Classes with less than this share of the resident bytes, and more than so many, are summed up.
        """
        least = share * self.resident_bytes
        shown = sorted((c["resident_bytes"] for c in self.classes), reverse=True)[:most]
        least = max(least, shown[-1]) if shown else least
        rows = []
        for region in REGIONS[:2]:
            others = Row(region, "others")
            for c in sorted(self.classes, key=_slot_bytes):
                if c["region"] != region:
                    continue
                row = _class_row(c)
                if c["resident_bytes"] >= least:
                    rows.append(row)
                else:
                    others.add(row)
            if others.slabs:
                rows.append(others)
            free = Row(region, "free units")
            for unit in self.units:
                if unit.region == region and unit.kind in ("unused", "free"):
                    free.free += UNIT if unit.pages[0] <= FULL else 0
                    free.returned += UNIT if unit.pages[0] == RETURNED else 0
            if free.free or free.returned:
                rows.append(free)
        rooms = self.rooms
        if rooms["blocks"] or rooms["resident_bytes"]:
            unused = max(0, rooms["resident_bytes"] - rooms["live_bytes"])
            rows.append(
                Row("rooms", "> 32 KiB", blocks=rooms["blocks"], live=rooms["live_bytes"], free=unused)
            )
        return rows

    def total(self) -> Row:
        """The table's last line."""
        return Row(
            "all",
            "",
            slabs=sum(c["slabs"] for c in self.classes),
            blocks=self.figures["blocks"],
            live=self.live_bytes,
            free=self.free_bytes,
            returned=self.returned_bytes,
        )

    def title(self) -> str:
        folder, name = os.path.split(self.about.get("program") or "")
        if name == "__main__.py":  # of python -m
            name = os.path.basename(folder) or name
        return "Heap of " + ("python -c" if name == "-c" else name) if name else "Heap"

    def subtitle(self) -> str:
        """Which process, when, and with what."""
        about = self.about
        parts = [
            f"process {about['pid']}" if about.get("pid") else "",
            about.get("moment"),
            about.get("time"),
            f"CPython {about['python']}" if about.get("python") else "",
            f"midden {about['midden']}" if about.get("midden") else "",
        ]
        return " · ".join(part for part in parts if part)

    def facts(self) -> list[tuple[str, str, str]]:
        """What is told above the table: a name, a figure, and a few words about it."""
        figures = self.figures
        mapped, returned = size(figures["mapped_bytes"]), size(figures["returned_bytes"])
        share = _percent(self.fragmentation)
        huge = sum(any(unit and unit.huge for unit in units) for _, _, units in self.tiles())
        return [
            ("live", size(self.live_bytes), f"in {_count(figures['blocks'], 'block')}"),
            ("free", size(self.free_bytes), f"resident, in no block: fragmentation {share}"),
            ("resident", size(self.resident_bytes), f"of {mapped} in open arenas and rooms"),
            ("returned", size(self.returned_bytes), f"{returned} since the start"),
            ("side tables", size(figures["side_bytes"]), "what the heap knows about its blocks"),
            ("huge pages", size(self.huge_bytes), f"in {_count(huge, 'arena')}" if huge else "not asked for"),
        ]

    def tiles(self) -> Iterator[tuple[str, int, list[Unit | None]]]:
        """The units by pieces of 2 MiB: region, address, 32 units; None where a room's piece has none."""
        tile: list[Unit | None] = []
        at, region = -1, ""
        for unit in self.units:
            start = unit.address // (TILE * UNIT)
            if start != at or unit.region != region:
                if tile:
                    yield region, at * TILE * UNIT, tile
                at, region, tile = start, unit.region, [None] * TILE
            tile[unit.address // UNIT % TILE] = unit
        if tile:
            yield region, at * TILE * UNIT, tile

    # --- text -------------------------------------------------------------------------------------------

    def text(self, width: int = 80, ascii: bool = False) -> str:
        """The picture as plain text, in lines of at most `width` characters (80 or more).

        ascii: draw with characters that any terminal has.
        """
        return "\n".join(_Text(self, max(80, width), ascii).lines()) + "\n"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return (
            f"<{self.title()}: {size(self.live_bytes)} live, {size(self.free_bytes)} free "
            f"({_percent(self.fragmentation)})>"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HeapMap):
            return NotImplemented
        return self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]

    def _state(self) -> tuple[object, ...]:
        return self.about, self.figures, self.classes, self.rooms, self._packed

    # --- pictures ---------------------------------------------------------------------------------------

    def svg(self) -> str:
        """A drawing, which follows the reader's choice of light or dark."""
        from midden import heapdraw

        return heapdraw.svg(self)

    def html(self) -> str:
        """A page on its own: the map, what lies under the pointer, a table that can be sorted."""
        from midden import heappage

        return heappage.html(self)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        from midden import heappage

        return heappage.frame(self)

    # --- files ------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: .txt, .svg, .html or .json by its suffix; ValueError for any other."""
        suffix = suffix_of(os.fspath(path))
        if suffix == ".txt":
            content = self.text()
        elif suffix == ".json":
            content = self.to_json()
        else:
            content = self.svg() if suffix == ".svg" else self.html()
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(content)

    def to_json(self) -> str:
        """All of it, for `from_json` and other programs.

        ``units`` is a list of runs of equal units: address, how many, kind, region, huge, bytes of a slot,
        and in hexadecimal how full each page is: 0 to 250 (full), 254: returned, 255: never used.
        """
        import json

        head = {
            "midden_heap": _VERSION, "about": self.about, "page_bytes": PAGE, "unit_bytes": UNIT,
            "figures": self.figures, "classes": self.classes, "rooms": self.rooms,
        }  # fmt: skip
        runs: list[list[Any]] = []
        for unit in self.units:
            told = [unit.kind, unit.region, unit.huge, unit.slot_bytes, unit.pages.hex()]
            if runs and runs[-1][2:] == told and runs[-1][0] + runs[-1][1] * UNIT == unit.address:
                runs[-1][1] += 1
            else:
                runs.append([unit.address, 1, *told])
        lines = [f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items()]
        units = ",\n".join("    " + json.dumps(run) for run in runs)
        return "{\n" + "".join(lines) + '  "units": [\n' + units + "\n  ]\n}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> HeapMap:
        """The picture that `to_json` wrote; ValueError when it did not."""
        import json

        try:
            data = json.loads(text)
        except RecursionError:
            raise ValueError("not a heap saved by midden") from None
        return _read(data)


def heap_map(moment: str = "") -> HeapMap:
    """The heap of this process, now. moment: what to say about when that was."""
    if _core is None:
        raise Unsupported(_missing)
    taken = _core.heap_view()
    if taken is None:
        declined = _core.stats()["heap"].get("declined")
        if declined:
            raise Unsupported(declined)
        raise RuntimeError("there is no heap of midden's; call midden.enable() first")
    import midden

    about = {
        "program": str((getattr(sys, "argv", None) or [""])[0]),
        "pid": os.getpid(),
        "moment": moment,
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "python": sys.version.split()[0],
        "midden": midden.__version__,
    }
    return HeapMap(about, taken["figures"], taken["classes"], taken["rooms"], taken["units"])


def suffix_of(path: str) -> str:
    """The suffix that says how to write a file; ValueError for one that does not."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in FORMATS:
        raise ValueError(f"the name of the file must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    return suffix


def size(number: float) -> str:
    """Binary units, one decimal: 512 B, 1.5 KiB, 1,023.9 MiB."""
    if number < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        number /= 1024
        if number < 1023.95 or unit == "TiB":
            break
    return f"{number:,.1f} {unit}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _slot_bytes(c: dict[str, Any]) -> int:
    slot_bytes: int = c["slot_bytes"]
    return slot_bytes


def _class_row(c: dict[str, Any]) -> Row:
    live = c["blocks"] * c["slot_bytes"]
    return Row(
        c["region"],
        f"{c['slot_bytes']:,} B",
        slot_bytes=c["slot_bytes"],
        slabs=c["slabs"],
        blocks=c["blocks"],
        live=live,
        free=max(0, c["resident_bytes"] - live),
        returned=c["purged_bytes"],
    )


# --- text -----------------------------------------------------------------------------------------------


class _Text:
    """Draws the picture in lines of text."""

    MOST_LINES = 24  # of the map

    def __init__(self, picture: HeapMap, width: int, ascii: bool) -> None:
        self.picture = picture
        self.width = width
        self.ascii = ascii
        self.steps = "_123456789" if ascii else "_▁▂▃▄▅▆▇█"
        self.returned = "." if ascii else "·"

    def lines(self) -> list[str]:
        lines = [self.picture.title(), *self.wrapped(self.picture.subtitle()), ""]
        lines += [*self.facts(), "", *self.table(), "", *self.map()]
        if self.ascii:
            lines = [line.replace("·", "-").replace("–", "-") for line in lines]
            lines = [line.encode("ascii", "backslashreplace").decode() for line in lines]
        return [line.rstrip() for line in lines]

    def wrapped(self, text: str) -> list[str]:
        lines = [""]
        for part in text.split(" · "):
            if lines[-1] and len(lines[-1]) + 3 + len(part) > self.width:
                lines.append("")
            lines[-1] += (" · " if lines[-1] else "") + part
        return lines

    def facts(self) -> Iterator[str]:
        for name, figure, words in self.picture.facts():
            yield f"{name:<12} {figure:>11}   {words}"

    def table(self) -> Iterator[str]:
        form = "{:<8}{:>11}{:>8}{:>13}{:>11}{:>11}{:>11}{:>7}"
        yield form.format("region", "slot", "slabs", "blocks", "live", "free", "returned", "frag.")
        rule = ("-" if self.ascii else "─") * 80
        yield rule
        before = ""
        rows = self.picture.rows(share=0.01, most=16)
        for row in [*rows, self.picture.total()]:
            if row.region == "all":
                yield rule
            yield form.format(
                row.region if row.region != before else "",
                row.name,
                f"{row.slabs:,}" if row.slabs else "",
                f"{row.blocks:,}" if row.blocks else "",
                *(size(figure) if figure else "–" for figure in (row.live, row.free, row.returned)),
                f"{row.fragmentation * 100:.0f} %" if row.live + row.free else "",
            )
            before = row.region

    def map(self) -> Iterator[str]:
        regions: dict[str, list[Unit]] = {}
        for unit in self.picture.units:
            regions.setdefault(unit.region, []).append(unit)
        across = 64 * max(1, (self.width - 16) // 64)
        each = 1  # units for a character
        while sum(-(-len(units) // (across * each)) for units in regions.values()) > self.MOST_LINES:
            each *= 2
        extent = size(each * UNIT).replace(".0", "")
        yield f"The map: {extent} a character, by address"
        steps = self.steps
        yield f"  {steps[1:]} how full   {steps[0]} empty   {self.returned} returned   blank: never used"
        for region, units in regions.items():
            yield ""
            yield region
            for i in range(0, len(units), across * each):
                line = units[i : i + across * each]
                drawn = "".join(self.character(line[j : j + each]) for j in range(0, len(line), each))
                if drawn.strip():
                    yield f"  {line[0].address:012x}  {drawn}"

    def character(self, units: list[Unit]) -> str:
        used = resident = returned = 0
        for unit in units:
            in_use, pages, gone = measure(unit.pages)
            used += in_use
            resident += pages
            returned += gone
        if not resident:
            return self.returned if returned else " "
        steps = len(self.steps) - 1
        return self.steps[min(steps, -(-used * steps // (len(units) * FULL * UNIT // PAGE)))]


_measured: dict[bytes, tuple[int, int, int]] = {}


def measure(pages: bytes) -> tuple[int, int, int]:
    """Of some pages: how much is in use (a full one counts FULL), how many are resident, and returned."""
    known = _measured.get(pages)
    if known is None:
        resident = [page for page in pages if page <= FULL]
        known = sum(resident), len(resident), pages.count(RETURNED)
        if len(_measured) < 10000:
            _measured[pages] = known
    return known


# --- a saved picture ------------------------------------------------------------------------------------


def _read(data: Any) -> HeapMap:
    _demand(isinstance(data, dict) and "midden_heap" in data, "not a heap saved by midden")
    _demand(data["midden_heap"] == _VERSION, "saved by another version of midden")
    _demand(data.get("page_bytes") == PAGE and data.get("unit_bytes") == UNIT, "pages of another size")
    about = data.get("about")
    _demand(isinstance(about, dict), "no about")
    for name in _ABOUT:
        _demand(isinstance(about.get(name, ""), str), "about." + name)
    _number(about.get("pid", 0), "about.pid")
    classes = data.get("classes")
    _demand(isinstance(classes, list), "no classes")
    for c in classes:
        _numbers(c, _CLASS, "classes")
        _demand(c.get("region") in REGIONS[:2] and c["slot_bytes"] > 0, "classes.region")
    units = data.get("units")
    _demand(isinstance(units, list), "no units")
    return HeapMap(
        about, _numbers(data.get("figures"), _FIGURES, "figures"), classes,
        _numbers(data.get("rooms"), _ROOMS, "rooms"), b"".join(_packed(units)),
    )  # fmt: skip


def _packed(runs: list[Any]) -> Iterator[bytes]:
    count = 0
    slots: dict[str, set[int]] = {region: set() for region in REGIONS}
    for run in runs:
        _demand(isinstance(run, list) and len(run) == 7, "units")
        address, many, kind, region, huge, slot_bytes, pages = run
        _demand(kind in KINDS and region in REGIONS and isinstance(pages, str), "units")
        _number(address, "units")
        _number(many, "units")
        _number(slot_bytes, "units")
        count += many
        _demand(address % UNIT == 0 and address + many * UNIT <= 1 << 56, "units")
        _demand(count <= _MOST_UNITS and len(pages) == 2 * UNIT // PAGE, "units")
        _demand(slot_bytes in range(1, UNIT) if kind == "slab" else slot_bytes == 0, "units")
        slots[region].add(slot_bytes)
        _demand(len(slots[region]) <= 200, "units")
        try:
            each = bytes.fromhex(pages)
        except ValueError:
            raise ValueError("not a heap saved by midden: units") from None
        _demand(all(page <= FULL or page >= RETURNED for page in each), "units")
        for i in range(many):
            yield _UNIT.pack(
                address + i * UNIT, slot_bytes, KINDS.index(kind), REGIONS.index(region), bool(huge), each
            )


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what if " " in what else "not a heap saved by midden: " + what)


def _number(value: object, what: str) -> None:
    _demand(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62, what)


def _numbers(value: Any, names: Iterable[str], what: str) -> dict[str, Any]:
    _demand(isinstance(value, dict), what)
    for name in names:
        _number(value.get(name), f"{what}.{name}")
    checked: dict[str, Any] = value
    return checked
