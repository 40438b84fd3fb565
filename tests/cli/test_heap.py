"""The picture of the heap: ``midden heap``, `midden.heap_map`, and what both write."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_errors import refused

import midden
from midden import heapmap, heaprun
from midden.heapmap import FULL, NEVER_USED, RETURNED, TILE, UNIT, HeapMap

WORK = "kept = [[i] for i in range(50_000)]\ndel kept[::2]\nlarge = bytearray(3_000_000)\n"
TAKE = "import midden\nmidden.enable()\n" + WORK + "picture = midden.heap_map()\n"

TRY = """\
import midden
midden.enable()
try:
    midden.heap_map()
except RuntimeError as error:
    print(f"{type(error).__name__}: {error}")
"""


def made(arenas: int = 3, seed: int = 1, **about: str) -> HeapMap:
    """A heap that never was: each of its arenas has slabs of each kind, free units and untouched ones."""
    rng = random.Random(seed)
    units, classes, resident, mapped, live, blocks = [], {}, 0, 0, 0, 0
    for i in range(arenas * TILE):
        region = "objects" if i < (arenas + 1) // 2 * TILE else "buffers"
        address = (0x7F00 << 32) + (i * UNIT) + ((region == "buffers") << 38)
        kind = rng.choice(("slab", "slab", "slab", "free", "unused"))
        slot = rng.choice((16, 32, 64, 512, 1344, 32768)) if kind == "slab" else 0
        if kind == "slab":
            pages = bytes(rng.choice((0, 1, 100, FULL, FULL, RETURNED, NEVER_USED)) for _ in range(16))
            c = classes.setdefault(
                (region, slot),
                {
                    **{"region": region, "slot_bytes": slot, "slabs": 0, "blocks": 0, "slots": 0},
                    **{"resident_bytes": 0, "purged_bytes": 0},
                },
            )
            used = sum(page for page in pages if page <= FULL) * 4096 // FULL // slot
            c["slabs"] += 1
            c["blocks"] += used
            c["slots"] += UNIT // slot
            c["resident_bytes"] += sum(page <= FULL for page in pages) * 4096
            c["purged_bytes"] += pages.count(RETURNED) * 4096
            live += used * slot
            blocks += used
        else:
            pages = bytes([rng.choice((0, RETURNED)) if kind == "free" else NEVER_USED]) * 16
        resident += sum(page <= FULL for page in pages) * 4096
        mapped += UNIT
        units.append([address, 1, kind, region, i // TILE % 2 == 1, slot, pages.hex()])
    for i in range(2):
        units.append([0x7F80 << 32 | i << 24, 20, "room", "rooms", False, 0, "fa" * 16])
    rooms = {"blocks": 2, "live_bytes": 40 * UNIT - 100, "resident_bytes": 40 * UNIT}
    figures = {
        "blocks": blocks + 2, "live_bytes": live + rooms["live_bytes"], "mapped_bytes": mapped + 64 * UNIT,
        "resident_bytes": resident + 40 * UNIT, "returned_bytes": 123456, "side_bytes": 7890,
        "moved_blocks": 0, "moved_bytes": 0, "advised": 3, "purges": 4,
    }  # fmt: skip
    figures["free_bytes"] = figures["resident_bytes"] - figures["live_bytes"]
    data = {
        "midden_heap": 1, "page_bytes": 4096, "unit_bytes": UNIT, "figures": figures, "rooms": rooms,
        "about": {"program": "app.py", "pid": 12, "moment": "at exit", "time": "2026-01-01 12:00:00",
                  "python": "3.11.2", "midden": "0.1.0", **about},
        "classes": list(classes.values()), "units": units,
    }  # fmt: skip
    return HeapMap.from_json(json.dumps(data))


def figure(text: str, name: str) -> str:
    match = re.search(rf"^{name} +(\S+ \w+)", text, re.MULTILINE)
    assert match, text
    return match[1]


# --- what it tells ----------------------------------------------------------------------------------------


def test_the_parts_add_up(shell):
    run = shell.python("-c", TAKE + "print(picture.to_json())")
    assert (run.status, run.err) == (0, "")
    picture = HeapMap.from_json(run.out)
    figures, rows = picture.figures, picture.rows()
    assert sum(row.live for row in rows) == picture.live_bytes == figures["live_bytes"]
    assert sum(row.blocks for row in rows) == figures["blocks"]
    assert sum(row.live + row.free for row in rows) == picture.resident_bytes
    assert picture.free_bytes == picture.resident_bytes - picture.live_bytes
    assert 0 < picture.fragmentation < 1
    assert picture.resident_bytes <= figures["mapped_bytes"]
    assert picture.rooms["blocks"] >= 1 and picture.rooms["live_bytes"] >= 3_000_000
    lists = sum(row.blocks for row in rows if row.region == "objects" and 40 < row.slot_bytes <= 64)
    assert lists >= 25_000
    assert sum(row.slabs for row in rows) == sum(unit.kind == "slab" for unit in picture.units)


def test_units_are_in_order_and_as_full_as_they_are(shell):
    picture = HeapMap.from_json(shell.python("-c", TAKE + "print(picture.to_json())").out)
    for region in heapmap.REGIONS:
        units = [unit for unit in picture.units if unit.region == region]
        addresses = [unit.address for unit in units]
        assert addresses == sorted(set(addresses)) and not any(address % UNIT for address in addresses)
    slabs = [unit for unit in picture.units if unit.kind == "slab"]
    for row in picture.rows():
        if row.slot_bytes and row.live > 1 << 20:
            ours = [unit for unit in slabs if (unit.region, unit.slot_bytes) == (row.region, row.slot_bytes)]
            pages = [page for unit in ours for page in unit.pages]
            seen = sum(page for page in pages if page <= FULL) * 4096 / FULL
            assert abs(seen / row.live - 1) < 0.02


def test_the_picture_is_not_in_the_picture(shell):
    code = TAKE + (
        "for _ in range(3): midden.heap_map()\n"
        "first = midden.heap_map().live_bytes\n"
        "again = midden.heap_map().live_bytes\n"
        "print(again - first)"
    )
    assert abs(int(shell.python("-c", code).out)) < 20_000


def test_what_went_back_is_told(shell):
    code = TAKE + "del kept, large\nmidden.compact()\nafter = midden.heap_map()\n"
    code += "print(picture.resident_bytes, after.resident_bytes, after.returned_bytes)\n"
    code += "print(after.figures['returned_bytes'])"
    before, after, returned, ever = map(int, shell.python("-c", code).out.split())
    assert after < before - 3_000_000
    assert 0 < returned <= ever


def test_before_enable(shell):
    told = shell.python("-c", TRY.replace("midden.enable()\n", "")).out
    assert told == "RuntimeError: there is no heap of midden's; call midden.enable() first\n"


def test_where_the_heap_cannot_serve(shell):
    shell.environment["PYTHONMALLOC"] = "malloc"
    told = shell.python("-c", TRY).out
    assert told.startswith("Unsupported: ") and "PYTHONMALLOC" in told


def test_without_the_extension(shell, site, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(site, bare, ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    shell.environment["PYTHONPATH"] = str(bare)
    told = shell.python("-c", TRY.replace("midden.enable()\n", "")).out
    assert told.startswith("Unsupported: midden is not built for")
    run = shell.midden("heap", "-o", "x.html", "-c", "print(1)")
    assert (run.status, run.out, len(run.ours)) == (0, "1\n", 1)
    assert run.ours[0].endswith("; running as stock Python")
    shell.write("saved.json", made().to_json())  # to look at a saved one needs none
    assert shell.midden("heap", "saved.json").out == made().text()


def test_without_memory_for_it(shell):
    """Needs a build with faults; in others there is always memory."""
    for number in range(1, 8):
        shell.environment["MIDDEN_FAULT"] = f"map={number}"
        code = TRY.replace("RuntimeError", "(RuntimeError, MemoryError)") + "print('on')"
        run = shell.python("-c", code)
        assert (run.status, run.err) == (0, "") and run.out.splitlines()[-1] == "on"
        assert run.out in ("on\n", "MemoryError: \non\n") or run.out.startswith("Unsupported: ")


def test_size():
    told = [heapmap.size(number) for number in (0, 1023, 1024, 1536, 1048524, 1048525, 1 << 30, 5000 << 40)]
    assert told == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1,023.9 KiB", "1.0 MiB", "1.0 GiB", "5,000.0 TiB"]


# --- the text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arenas", [0, 1, 3, 100, 1500])
@pytest.mark.parametrize("ascii", [False, True])
def test_text_fits_80_columns(arenas, ascii):
    text = made(arenas).text(ascii=ascii)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 80
    assert not any(line != line.rstrip() for line in lines)
    assert text.isascii() == ascii


def test_text_shows_what_matters():
    picture = made(40)
    text = str(picture)
    assert text.startswith("Heap of app.py\nprocess 12 · at exit · ")
    assert figure(text, "live") == heapmap.size(picture.live_bytes)
    assert figure(text, "free") == heapmap.size(picture.free_bytes)
    assert f"fragmentation {picture.fragmentation * 100:.1f} %" in text
    for row in picture.rows():
        assert re.search(rf"^\S* +{row.name} ", text, re.MULTILINE)


def test_small_classes_are_summed_up():
    picture = made(100)
    all_rows, some = picture.rows(), picture.rows(most=4)
    assert len(some) < len(all_rows) and "others" in {row.name for row in some}
    for name in ("slabs", "blocks", "live", "free", "returned"):
        assert sum(getattr(row, name) for row in some) == sum(getattr(row, name) for row in all_rows)


def test_names_of_programs():
    for program, title in (
        ("/a/b.py", "Heap of b.py"), ("-c", "Heap of python -c"), ("/a/pip/__main__.py", "Heap of pip"),
        ("", "Heap"), ("/a/", "Heap"),
    ):  # fmt: skip
        assert made(1, program=program).title() == title


# --- saving -----------------------------------------------------------------------------------------------


def test_json_round_trip():
    for arenas in (0, 1, 30):
        picture = made(arenas)
        again = HeapMap.from_json(picture.to_json())
        assert again == picture and again != made(arenas + 1)
        assert [unit.pages for unit in again.units] == [unit.pages for unit in picture.units]
        assert again.text() == picture.text() and again.svg() == picture.svg()


def test_equal_neighbours_are_one_line_of_json():
    told = json.loads(made(1).to_json())
    assert sum(unit[1] for unit in told["units"]) == TILE + 40
    assert [unit[1] for unit in told["units"] if unit[2] == "room"] == [20, 20]


@pytest.mark.parametrize("suffix", heapmap.FORMATS)
def test_save(tmp_path, suffix):
    path = tmp_path / f"heap{suffix.upper()}"
    picture = made()
    picture.save(path)
    content = path.read_text(encoding="utf-8")
    assert content == {
        ".txt": picture.text, ".svg": picture.svg, ".html": picture.html, ".json": picture.to_json
    }[suffix]()  # fmt: skip


@pytest.mark.parametrize("name", ["heap", "heap.png", ".html"])
def test_save_in_an_unknown_form(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.txt, \.svg, \.html or \.json"):
        made().save(tmp_path / name)
    with pytest.raises(OSError):
        made().save(tmp_path / "nowhere" / "heap.txt")
    assert list(tmp_path.iterdir()) == []


SAVED = json.loads(made(1).to_json())
PLACES: list[tuple[object, ...]] = [
    (key, *rest)
    for key, value in SAVED.items()
    for rest in [(), *([(name,) for name in value] if isinstance(value, dict) else [])]
] + [("classes", 0), ("classes", 0, "slot_bytes"), ("classes", 0, "region"), ("units", 0)] + [
    ("units", 0, i) for i in range(7)
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.sampled_from(
        [None, True, -1, 0, 17, 1.5, 1 << 40, 1 << 70, float("nan"), "", "x", "room", "slab", "\ud800",
         "fb" * 16, "zz" * 16, [], [1], {}]
    ),
)
def test_damaged_json_is_refused_or_harmless(place, value):
    data = json.loads(json.dumps(SAVED))
    at = data
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    try:
        picture = HeapMap.from_json(json.dumps(data))
    except ValueError as error:
        assert str(error)
        return
    assert picture.text(ascii=True).isascii()
    ElementTree.fromstring(picture.svg())
    check_page(picture.html())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", "{}", '{"midden_heap": 2}', "[" * 100_000])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError):
        HeapMap.from_json(text)


# --- drawing and page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that elements nest, and counts them."""

    EMPTY = {"meta", "br", "link", "img", "input"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)


def check_page(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def nothing_from_elsewhere(text: str) -> None:
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|\burl\(|@import|\b(src|href|action)=|fetch\(|import\(|XMLHttp", text)


@pytest.mark.parametrize("arenas", [0, 1, 30, 300])
def test_drawing(arenas):
    text = made(arenas).svg()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("role") == "img"
    words = " ".join(root.itertext())
    assert "Heap of app.py" in words and "fragmentation" in words and "prefers-color-scheme: dark" in words
    assert len(list(root.iter())) < 400
    nothing_from_elsewhere(text)


@pytest.mark.parametrize("arenas", [0, 1, 30, 300])
def test_page(arenas):
    picture = made(arenas)
    text = picture.html()
    page = check_page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("table") == tags.count("main") == 1
    assert len(tags) < 1500 and "img" not in tags and "link" not in tags
    assert [attrs["lang"] for tag, attrs in page.elements if tag == "html"] == ["en"]
    assert sum(tag == "tr" for tag in tags) == len(picture.rows()) + 2
    assert picture.text() in "".join(page.data)
    assert "prefers-color-scheme: dark" in text and "Content-Security-Policy" in text
    assert not re.search("@@[a-z]+@@", text)
    nothing_from_elsewhere(text)


def test_a_map_of_tens_of_thousands_of_pages_is_small():
    assert len(made(1000).html()) < 3_000_000
    assert len(made(1000).svg()) < 1_000_000
    assert len(made(250).svg()) < 1_500_000


NASTY = "a</script><script>document.title='owned'</script><!--&\"'\x00\ud800\uffff @@text@@ ]]>.py"


def test_nasty_names_stay_names():
    picture = made(2, program=NASTY, time="<b>@@data@@", midden="<svg onload=x>")
    page = check_page(picture.html())
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert not any("onload" in attrs for _, attrs in page.elements)
    assert "\x00" not in picture.html()
    words = " ".join(ElementTree.fromstring(picture.svg()).itertext())
    assert "<b>@@data@@" in words
    assert check_page(picture._repr_html_()).elements[0][0] == "iframe"
    assert picture._repr_svg_() == picture.svg()


def test_nasty_names_can_be_saved(tmp_path):
    for suffix in heapmap.FORMATS:
        made(1, program=NASTY).save(tmp_path / ("x" + suffix))
    assert HeapMap.from_json((tmp_path / "x.json").read_bytes()) == made(1, program=NASTY)


# --- in a browser -----------------------------------------------------------------------------------------

USE = """
<script>
(() => {
  const told = document.documentElement.dataset;
  const canvas = document.querySelector("canvas"), frame = canvas.getBoundingClientRect();
  const at = (x, y) => canvas.dispatchEvent(
    new PointerEvent("pointermove", { clientX: frame.left + x, clientY: frame.top + y, bubbles: true }));
  at(3, 3);
  told.tip = document.getElementById("tip").innerText.replace(/\\n/g, " | ");
  at(1e6, 3);
  told.hidden = document.getElementById("tip").style.display;
  const colours = () => {
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return new Set(new Uint32Array(copy.getImageData(0, 0, width, height).data.buffer)).size;
  };
  told.colours = colours();
  const slots = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[1].dataset.v).join();
  const head = document.querySelectorAll("th button")[1];
  head.click();
  told.up = slots();
  head.click();
  told.down = slots();
  document.querySelector("[data-slot='32']").click();
  told.alone = colours();
  document.querySelector("[data-slot='32']").click();
  told.used = "yes";
})();
</script>
"""


@pytest.fixture(scope="session")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no chromium here to look at the page with")


def look(browser: str, path: Path, *options: str) -> tuple[dict[str, str], str]:
    """Load a page; the attributes of its html element, and what the browser said about scripts."""
    profile = path.parent / "profile"
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={profile}", "--window-size=1200,900", *options, "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    page = Page()
    page.feed(done.stdout)
    attributes = next((attrs for tag, attrs in page.elements if tag == "html"), None)
    if attributes is None:
        pytest.skip(f"{browser} does not start here: {done.stderr[-300:]}")
    said = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return {name: value or "" for name, value in attributes.items()}, said


@pytest.mark.parametrize("arenas", [0, 3, 600, 5000])
def test_the_page_draws_itself(browser, tmp_path, arenas):
    path = tmp_path / "heap.html"
    made(arenas).save(path)
    told, said = look(browser, path)
    assert said == ""
    assert told.get("data-drawn") == str(1 + (arenas > 0) + (arenas > 1))


@pytest.mark.parametrize("options", [[], ["--force-device-scale-factor=2.5"], ["--window-size=320,600"]])
def test_the_page_can_be_used(browser, tmp_path, options):
    path = tmp_path / "heap.html"
    picture = made(6)
    path.write_text(picture.html().replace("</body>", USE + "</body>"))
    told, said = look(browser, path, *options)
    assert said == ""
    assert told.get("data-used") == "yes"
    assert told["data-hidden"] == "none"
    unit = picture.units[0]
    address, what, full = told["data-tip"].split(" | ")
    assert address == hex(unit.address) and "objects" in what
    assert unit.kind == "slab" and f"slots of {unit.slot_bytes:,} B" in what
    ups = [int(slot) for slot in told["data-up"].split(",")]
    assert ups == sorted(ups) and told["data-down"] == ",".join(map(str, sorted(ups, reverse=True)))
    assert int(told["data-colours"]) > int(told["data-alone"]) > 3


def test_nasty_names_in_a_browser(browser, tmp_path):
    path = tmp_path / "heap.html"
    made(2, program=NASTY).save(path)
    tell = "<script>document.documentElement.dataset.t = document.title</script></body>"
    path.write_text(path.read_text().replace("</body>", tell))
    told, said = look(browser, path)
    assert said == "" and told["data-drawn"] == "3"
    assert told["data-t"].startswith("Heap of ") and told["data-t"] != "owned"


# --- the command ------------------------------------------------------------------------------------------


def test_at_exit(shell):
    program = WORK + "import sys; print(sys.argv[1:]); print('theirs', file=sys.stderr); sys.exit(3)"
    stock = shell.python("-c", program, "-o", "a")
    run = shell.midden("heap", "-c", program, "-o", "a")
    assert (run.status, run.out) == (stock.status, stock.out)
    first, title, about, *_ = run.err.splitlines()
    assert (first, title) == ("theirs", "Heap of python -c") and re.match(r"process \d+ · at exit · ", about)
    assert "\nobjects" in run.err and "live  " in run.err and run.ours == []


def test_into_a_file(shell):
    shell.write("app.py", WORK)
    for suffix in heapmap.FORMATS:
        run = shell.midden("heap", "--output", "heap" + suffix, "app.py")
        assert (run.status, run.out, run.theirs) == (0, "", "")
        told = rf"midden: wrote \S+/heap{suffix}: \S+ MiB live, \S+ [KM]iB free \(\S+ %\)"
        assert re.fullmatch(told, run.ours[0])
    assert HeapMap.from_json((shell.folder / "heap.json").read_bytes()).title() == "Heap of app.py"
    ElementTree.parse(shell.folder / "heap.svg")
    check_page((shell.folder / "heap.html").read_text())
    run = shell.midden("heap", "-q", "-oheap.txt", "app.py")
    assert (run.status, run.out, run.err) == (0, "", "")
    assert (shell.folder / "heap.txt").read_text().startswith("Heap of app.py\n")


def test_a_program_that_hides_modules_of_python(shell):
    for name in ("json", "html", "base64", "struct", "time", "signal"):
        shell.write(f"sub/{name}.py", "raise SystemError('theirs')")
    shell.write("sub/app.py", "import os; os.kill(os.getpid(), 12)")
    run = shell.midden("heap", "--signal", "12", "--at-exit", "-o", "heap.html", "sub/app.py")
    assert (run.status, run.theirs, len(run.ours)) == (0, "", 2)
    check_page((shell.folder / "heap.1.html").read_text())


def test_the_program_sees_nothing_of_it(shell):
    code = "import os; print([n for n in os.environ if n.startswith('MIDDEN')], os.environ['PYTHONPATH'])"
    run = shell.midden("heap", "-q", "-o", "x.txt", "-c", code)
    assert run.out == f"[] {shell.environment['PYTHONPATH']}\n"


SIGNALS = """\
import os, signal, sys
for _ in range(int(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGUSR2)
print("on")
"""


def test_on_demand(shell):
    run = shell.midden("heap", "--signal", "usr2", "-o", "heap.json", "-c", SIGNALS, "3")
    assert (run.status, run.out, len(run.ours), run.theirs) == (0, "on\n", 3, "")
    assert sorted(p.name for p in shell.folder.iterdir()) == ["heap.1.json", "heap.2.json", "heap.3.json"]
    picture = HeapMap.from_json((shell.folder / "heap.2.json").read_bytes())
    assert picture.about["moment"] == "on SIGUSR2"


def test_on_demand_and_at_exit(shell):
    run = shell.midden("heap", "-q", "--signal=SIGUSR2", "--at-exit", "-o", "heap.txt", "-c", SIGNALS, "1")
    assert (run.status, run.out, run.err) == (0, "on\n", "")
    assert sorted(path.name for path in shell.folder.iterdir()) == ["heap.1.txt", "heap.txt"]


def test_on_demand_on_stderr(shell):
    run = shell.midden("heap", "--signal", "USR2", "-c", SIGNALS, "2")
    assert run.err.count("Heap of python -c") == run.err.count("on SIGUSR2") == 2


def test_the_programs_own_handler_comes_first(shell):
    code = "import signal; signal.signal(signal.SIGUSR2, lambda *_: print('theirs'))\n" + SIGNALS
    run = shell.midden("heap", "--signal", "USR2", "-o", "heap.txt", "-c", code, "1")
    assert (run.out, run.err) == ("theirs\non\n", "") and list(shell.folder.iterdir()) == []


def test_a_forked_child_writes_its_own(shell):
    code = "import os\nif os.fork() == 0:\n    os.kill(os.getpid(), 12); os._exit(0)\nos.wait()"
    run = shell.midden("heap", "-q", "--signal", "12", "--at-exit", "-o", "heap.txt", "-c", code)
    assert run.status == 0
    names = sorted(path.name for path in shell.folder.iterdir())
    assert len(names) == 2 and re.fullmatch(r"heap\.\d+\.1\.txt", names[0]) and names[1] == "heap.txt"


def test_no_handler_is_installed_unasked(shell):
    code = "import signal; print([s.name for s in signal.Signals if callable(signal.getsignal(s))])"
    assert shell.midden("heap", "-q", "-o", "x.txt", "-c", code).out == "['SIGINT']\n"


def test_a_file_that_became_unwritable(shell):
    (shell.folder / "sub").mkdir()
    run = shell.midden("heap", "-o", "sub/x.html", "-c", "import os, sys; os.rmdir('sub'); sys.exit(3)")
    assert (run.status, len(run.err.splitlines())) == (3, 1)
    assert run.err.startswith("midden: can't write heap file ") and "No such file" in run.err


def test_where_there_is_no_heap_the_program_runs_all_the_same(shell):
    shell.environment["PYTHONMALLOC"] = "malloc"
    run = shell.midden("heap", "--signal", "USR2", "--at-exit", "-c", SIGNALS, "1")
    assert (run.status, run.out, run.theirs) == (0, "on\n", "")
    assert len(run.ours) == 2 and all("no picture of the heap: " in line for line in run.ours)


def test_a_terminal_without_blocks(shell):
    shell.environment["PYTHONIOENCODING"] = "ascii"
    run = shell.midden("heap", "-c", WORK)
    assert run.err.isascii() and "Heap of python -c - " not in run.err and "process " in run.err
    shell.write("saved.json", made().to_json())
    assert shell.midden("heap", "saved.json").out == made().text(ascii=True)


def test_a_saved_heap(shell):
    shell.write("saved.json", made(5).to_json())
    run = shell.midden("heap", "saved.json")
    assert (run.status, run.out, run.err) == (0, made(5).text(), "")
    for words in ("saved.json -o x.svg", "-o x.html saved.json", "-q saved.json -ox.json"):
        run = shell.midden("heap", *words.split())
        assert (run.status, run.out, run.err) == (0, "", "")
    assert (shell.folder / "x.svg").read_text() == made(5).svg()
    assert (shell.folder / "x.html").read_text() == made(5).html()
    assert HeapMap.from_json((shell.folder / "x.json").read_bytes()) == made(5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["heap needs a SCRIPT"]),
        (["-q"], ["heap needs a SCRIPT"]),
        (["--bogus", "x.py"], ["--bogus"]),
        (["-o"], ["-o"]),
        (["-o", "x.png", "-c", "1"], ["x.png", ".txt, .svg, .html or .json"]),
        (["-o", "x", "-c", "1"], ["'x'"]),
        (["-o", "", "-c", "1"], [".txt"]),
        (["-o", "no/where/x.txt", "-c", "1"], ["no folder"]),
        (["-o", "x.txt", "-m"], ["-m"]),
        (["--signal", "-c", "1"], ["--signal"]),
        (["--signal", "NONE", "-c", "1"], ["no signal 'NONE'"]),
        (["--signal", "999", "-c", "1"], ["no signal '999'"]),
        (["--signal", "²", "-c", "1"], ["no signal"]),
        (["--signal", "", "-c", "1"], ["no signal"]),
        (["--signal", "KILL", "-c", "1"], ["SIGKILL cannot be waited for"]),
        (["--signal", "11", "-c", "1"], ["SIGSEGV cannot be waited for"]),
        (["missing.py"], ["can't open file", "missing.py"]),
        (["missing.json"], ["can't read heap file 'missing.json'", "No such file"]),
        (["--", "missing.py"], ["can't open file"]),
        (["missing.json", "x.py"], ["x.py"]),
        (["missing.json", "--at-exit"], ["saved heap"]),
        (["--signal", "USR2", "missing.json"], ["saved heap"]),
        (["missing.json", "-o", "x.doc"], ["x.doc"]),
    ],
    ids=str,
)
def test_bad_command_line(shell, arguments, words):
    refused(shell.midden("heap", *arguments), *words)
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', b"\xed\xa0\x80", '{"midden_heap":2}'])
def test_bad_files(shell, content):
    (shell.folder / "x.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(shell.midden("heap", "x.json"), "can't read heap file 'x.json': ", "midden")
    (shell.folder / "y.json").mkdir()
    refused(shell.midden("heap", "y.json"), "can't read heap file 'y.json'", "directory")
    refused(shell.midden("heap", "-o", "y.json", "-c", "1"), "it is a folder")


def test_help(shell):
    run = shell.midden("heap", "--help")
    assert (run.status, run.err) == (0, "") and "midden heap" in run.out and "--signal" in run.out


def test_names_of_numbered_files():
    assert heaprun.numbered("/a.b/heap.html", 3, None) == "/a.b/heap.3.html"
    assert heaprun.numbered("heap.html", 3, 12) == "heap.12.3.html"


def test_documented():
    assert "heap.html" in (midden.heap_map.__doc__ or "")
    assert os.path.splitext("heap.html")[1] in heapmap.FORMATS
