"""A heap's picture as a drawing, SVG; and what it shares with the page (heappage.py).

Both are complete in themselves, and need no font, script or image from elsewhere. Both follow the reader's
choice of light or dark. Pages of the heap are coloured in one hue, from empty to full, so that the order
shows in any kind of sight and in print; what was returned is a grey dot, what was never used is blank.

A map is made of tiles: 2 MiB, an arena, 8 by 4 units of 4 by 4 pages each. Where that would be too many
cells, a cell is a unit.
"""

from __future__ import annotations

import re

from midden.heapmap import FULL, NEVER_USED, PAGE, RETURNED, TILE, UNIT, measure, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from midden.heapmap import HeapMap, Row, Unit

PAGES = UNIT // PAGE
MOST_TILES = 256  # with more of them, a cell is a unit

# The scale from empty to full.
LIGHT = ("#dbe7f5", "#9dc3e8", "#5394d2", "#1a509a")
DARK = ("#203552", "#28568c", "#4787cc", "#97c8f7")


def escaped(text: str) -> str:
    """For HTML and XML, also within quotes; characters that neither may hold are replaced."""
    text = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(character, name)
    return text


def cell_of(unit: Unit | None) -> int:
    """How full a whole unit is, in the same figures as a page."""
    if unit is None:
        return NEVER_USED
    used, resident, returned = measure(unit.pages)
    if not resident:
        return RETURNED if returned else NEVER_USED
    return -(-used // PAGES)


def alternative(picture: HeapMap) -> str:
    """What a drawing says to those who do not see it."""
    told = ", ".join(f"{figure} {name}" for name, figure, _ in picture.facts()[:4])
    rows = sorted(picture.rows(), key=lambda row: -row.live)[:5]
    most = "; ".join(f"{row.region} {row.name}: {size(row.live)}" for row in rows if row.live)
    return f"{told}. Most of what is live: {most}." if most else f"{told}."


def _mixed(stops: tuple[str, ...], share: float) -> str:
    """A colour of a scale, 0 to 1."""
    at = min(share * (len(stops) - 1), len(stops) - 1.000001)
    low, high = stops[int(at)], stops[int(at) + 1]
    parts = []
    for i in (1, 3, 5):
        a, b = int(low[i : i + 2], 16), int(high[i : i + 2], 16)
        parts.append(round(a + (b - a) * (at - int(at))))
    return "#{:02x}{:02x}{:02x}".format(*parts)


# --- the drawing ----------------------------------------------------------------------------------------

_WIDTH, _MARGIN = 960, 32
_INNER = _WIDTH - 2 * _MARGIN
_STEPS = 8  # of colour; step 0 is empty

_LIGHT = {
    "ink": "#1d2329", "soft": "#626b76", "ground": "#ffffff", "line": "#e3e6ea", "huge": "#8d97a3",
    "gone": "#b3aea5",
}  # fmt: skip
_DARK = {
    "ink": "#e4e8ec", "soft": "#98a2ad", "ground": "#171b20", "line": "#2a3037", "huge": "#6d7883",
    "gone": "#66645f",
}  # fmt: skip

# Each rule is for this drawing alone, wherever it is put.
_STYLE = """\
text {{ font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: {ink}; }}
.ground {{ fill: {ground}; }}
.soft {{ fill: {soft}; }}
.end {{ text-anchor: end; }}
.h1 {{ font-size: 22px; font-weight: 600; }}
.h2 {{ font-size: 15px; font-weight: 600; }}
.figure {{ font-size: 19px; font-variant-numeric: tabular-nums; }}
.line {{ fill: none; stroke: {line}; }}
.huge {{ fill: none; stroke: {huge}; }}
.live {{ fill: {live}; }}
.free {{ fill: {free}; }}
.gone {{ fill: {gone}; }}
.cells path {{ fill: none; stroke-width: 1; }}
.cells .gone {{ stroke: {gone}; }}
.cells .dots {{ stroke-width: .4; stroke-dasharray: .4 .6; }}
{steps}"""


def _style() -> str:
    sheets = []
    for stops, colours in ((LIGHT, _LIGHT), (DARK, _DARK)):
        shades = [_mixed(stops, step / _STEPS) for step in range(_STEPS + 1)]
        steps = "\n".join(f".s{i} {{ stroke: {c}; }}\n.f{i} {{ fill: {c}; }}" for i, c in enumerate(shades))
        rules = _STYLE.format(steps=steps, live=shades[6], free=shades[1], **colours)
        sheets.append("".join(f".midden-heap {rule}\n" for rule in rules.split("\n")))
    return f"\n{sheets[0]}@media (prefers-color-scheme: dark) {{\n{sheets[1]}}}\n"


class _Drawing:
    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 0.0

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        named = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{named}>{escaped(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        if width > 0:
            self.parts.append(
                f'<rect x="{x:g}" y="{y:g}" width="{width:.4g}" height="{height:g}" class="{style}"/>'
            )

    def shares(self, x: float, y: float, scale: float, height: float, row: Row) -> None:
        """Live, free and returned side by side."""
        for figure, style in ((row.live, "live"), (row.free, "free"), (row.returned, "gone")):
            self.box(x, y, figure * scale, height, style)
            x += figure * scale


def svg(picture: HeapMap) -> str:
    drawing = _Drawing()
    drawing.text(_MARGIN, 46, picture.title(), "h1")
    drawing.text(_MARGIN, 68, picture.subtitle(), "soft")
    _draw_facts(drawing, picture)
    _draw_classes(drawing, picture)
    _draw_map(drawing, picture)
    height = round(drawing.y + _MARGIN)
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="midden-heap" role="img" '
            'aria-labelledby="midden-heap-title midden-heap-words" '
            f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
            f'<title id="midden-heap-title">{escaped(picture.title())}</title>',
            f'<desc id="midden-heap-words">{escaped(alternative(picture))}</desc>',
            f"<style>{_style()}</style>",
            f'<rect width="{_WIDTH}" height="{height}" class="ground"/>',
            *drawing.parts,
            "</svg>\n",
        ]
    )


def _draw_facts(drawing: _Drawing, picture: HeapMap) -> None:
    step = _INNER / len(picture.facts())
    for i, (name, figure, _) in enumerate(picture.facts()):
        x = _MARGIN + i * step
        mark = {"live": "live", "free": "free", "returned": "gone"}.get(name)
        if mark:
            drawing.box(x, 103, 9, 9, mark)
        drawing.text(x + (15 if mark else 0), 112, name, "soft")
        drawing.text(x, 137, figure, "figure")
    total = picture.total()
    whole = total.live + total.free + total.returned
    if whole:
        drawing.shares(_MARGIN, 152, _INNER / whole, 10, total)
    share = f"{picture.fragmentation * 100:.1f} %"
    drawing.text(_MARGIN, 184, f"fragmentation {share} (free of resident)", "soft")
    drawing.y = 184


def _draw_classes(drawing: _Drawing, picture: HeapMap) -> None:
    rows = picture.rows(share=0.01, most=14)
    most = max((row.live + row.free + row.returned for row in rows), default=0)
    if not most:
        return
    y = drawing.y + 44
    drawing.text(_MARGIN, y, "By size class", "h2")
    bar, end = _MARGIN + 150, _MARGIN + _INNER
    for x, name in ((end - 180, "live"), (end - 90, "free"), (end, "returned")):
        drawing.text(x, y, name, "soft end")
    y += 10
    before = ""
    for row in rows:
        y += 20
        if row.region != before:
            drawing.text(_MARGIN, y, row.region)
        before = row.region
        drawing.text(bar - 12, y, row.name, "end")
        drawing.shares(bar, y - 10, (end - 270 - bar) / most, 11, row)
        for x, figure in ((end - 180, row.live), (end - 90, row.free), (end, row.returned)):
            drawing.text(x, y, size(figure) if figure else "–", "end" if figure else "end soft")
    drawing.y = y


def _draw_map(drawing: _Drawing, picture: HeapMap) -> None:
    regions: dict[str, list[list[Unit | None]]] = {}
    for region, _, units in picture.tiles():
        regions.setdefault(region, []).append(units)
    count = sum(map(len, regions.values()))
    whole_units = count > MOST_TILES
    across, down = (8, 4) if whole_units else (32, 16)
    for scale in (4, 3, 2, 1):
        gap = 2 if scale == 1 else 4
        per_row = (_INNER + gap) // (across * scale + gap)
        rows = sum(-(-len(tiles) // per_row) for tiles in regions.values())
        if rows * (down * scale + gap) <= 720:
            break
    drawing.y += 44
    drawing.text(_MARGIN, drawing.y, "Unit by unit" if whole_units else "Page by page", "h2")
    dots = scale > 2  # smaller cells have no place for them
    _draw_legend(drawing, "64 KiB" if whole_units else "4 KiB", 4 if dots else 9)
    for region, tiles in regions.items():
        drawing.text(_MARGIN, drawing.y + 30, region)
        drawing.y += 40
        lines: list[list[str]] = [[] for _ in range(_STEPS + 2)]
        outlines: dict[bool, list[str]] = {False: [], True: []}
        for i, units in enumerate(tiles):
            x, y = i % per_row * (across + gap / scale), i // per_row * (down + gap / scale)
            huge = any(unit is not None and unit.huge for unit in units)
            outlines[huge].append(f"M{x:g} {y:g}h{across}v{down}h-{across}z")
            for row, cells in enumerate(_cell_rows(units, whole_units)):
                _draw_runs(lines, cells, x, y + row)
        places = f'transform="translate({_MARGIN} {drawing.y:g}) scale({scale})"'
        drawing.parts.append(f'<g class="cells" {places}>')
        for huge, paths in outlines.items():
            if paths:
                style = f'class="{"huge" if huge else "line"}" style="stroke-width:{1.5 / scale:.3g}"'
                drawing.parts.append(f'<path {style} d="{"".join(paths)}"/>')
        for step, runs in enumerate(lines):
            if runs:
                style = f'class="{f"s{step}" if step <= _STEPS else "gone"}"'
                if step > _STEPS and dots:
                    style = 'class="gone dots" transform="translate(.3 0)"'
                drawing.parts.append(f'<path {style} d="{"".join(runs)}"/>')
        drawing.parts.append("</g>")
        drawing.y += -(-len(tiles) // per_row) * (down * scale + gap)


def _draw_legend(drawing: _Drawing, what: str, dot: int) -> None:
    y, x = drawing.y, _MARGIN + _INNER
    drawing.text(x - 340, y, f"a cell is {what}; empty", "soft end")
    for step in range(_STEPS + 1):
        drawing.box(x - 332 + 12 * step, y - 9, 11, 10, f"f{step}")
    drawing.text(x - 216, y, "full", "soft")
    drawing.box(x - 170 - dot, y - 4 - dot / 2, dot, dot, "gone")
    drawing.text(x - 164, y, "returned", "soft")
    drawing.parts.append(f'<path class="huge" style="stroke-width:1.5" d="M{x - 88} {y - 9}h10v10h-10z"/>')
    drawing.text(x, y, "huge page", "soft end")


def _cell_rows(units: list[Unit | None], whole_units: bool) -> Iterator[bytes]:
    """The cells of a tile, row by row from the top."""
    if whole_units:
        cells = bytes(map(cell_of, units))
        for i in range(0, TILE, 8):
            yield cells[i : i + 8]
        return
    blank = bytes([NEVER_USED]) * PAGES
    pages = [unit.pages if unit else blank for unit in units]
    for i in range(0, TILE, 8):
        for j in range(0, PAGES, 4):
            yield b"".join(unit[j : j + 4] for unit in pages[i : i + 8])


def _draw_runs(lines: list[list[str]], cells: bytes, x: float, y: float) -> None:
    special = {NEVER_USED: -1, RETURNED: _STEPS + 1}
    steps = [special.get(cell, -(-cell * _STEPS // FULL)) for cell in cells]
    start = 0
    for i in range(1, len(steps) + 1):
        if i == len(steps) or steps[i] != steps[start]:
            if steps[start] >= 0:
                lines[steps[start]].append(f"M{x + start:g} {y + 0.5:g}h{i - start}")
            start = i
