"""The overview in a real browser: what it shows, how it is walked, and only our script runs."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sshrender.views import overview
from tests.views.chromium import Browser, chromium

SHOWN = "[...document.querySelectorAll('#pages li:not([hidden])')].length"
FOCUSED = "document.activeElement.getAttribute('aria-label')"
COLOUR = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
INKS = ("ink", "quiet", "done", "suspect", "failed", "missing", "accent")
TITLE = "document.getElementById('viewer-title').textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all: it takes a second to start."""
    with chromium() as found:
        yield found
        # The tests have sheets of more pages than they have pictures.
        assert [line for line in found.logged if "ERR_FILE_NOT_FOUND" not in line] == []


def _page(number: int, **changes: Any) -> dict[str, Any]:
    page = {
        "page": number,
        "state": "done",
        "file": f"pages/page-{number:04d}.png",
        "thumb": f"thumbs/page-{number:04d}.jpg",
        "size": [158, 224],
        "width": 1240,
        "height": 1754,
        "bytes": 51323,
        "host": f"node{number % 3 + 1}",
        "seconds": 0.07,
        "attempts": 1,
        "said": [],
        "reason": "",
        "story": [],
    }
    return {**page, **changes}


def _sheet(pages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    states = [page["state"] for page in pages]
    counts = {state: states.count(state) for state in ("done", "suspect", "failed", "missing")}
    hosts = [
        {
            "name": f"node{number}",
            "state": "idle",
            "reason": "",
            "pages": len(pages) // 3,
            "failures": number - 1,
            "seconds": 9.5,
            "median": 0.07,
            "cores": 2,
        }
        for number in (1, 2, 3)
    ]
    timeline = [
        {
            "host": page["host"],
            "page": page["page"],
            "from": page["page"] * 0.1,
            "to": page["page"] * 0.1 + 0.09,
            "ok": page["state"] != "failed",
        }
        for page in pages
        if page["host"]
    ]
    sheet = {
        "schema": 1,
        "job": "big-3fa9c1d2",
        "state": "partial",
        "reason": "",
        "document": {"name": "big.pdf", "pages": len(pages), "bytes": 1281892},
        "settings": {"device": "png16m", "dpi": 150.0, "pages": f"1-{len(pages)}", "split": 0},
        "output": "/srv/big-pages",
        "created": "2026-11-23T20:00:00.000Z",
        "updated": "2026-11-23T20:01:00.000Z",
        "seconds": len(pages) * 0.1 + 0.1,
        "runs": 1,
        "notes": [],
        "counts": {"total": len(pages), **counts},
        "viewable": True,
        "pages": pages,
        "hosts": hosts,
        "timeline": timeline,
    }
    return {**sheet, **changes}


def _troubled(count: int = 40) -> list[dict[str, Any]]:
    pages = [_page(number) for number in range(1, count + 1)]
    pages[6] = _page(7, state="suspect", said=["Unknown operator: nonsense"])
    failed = {"file": None, "thumb": None, "size": None, "width": 0, "height": 0, "bytes": 0}
    pages[11] = _page(
        12,
        state="failed",
        reason="took longer than the page timeout",
        story=["20:00:01  late"],
        **failed,
    )
    pages[19] = _page(20, state="missing", host="", attempts=0, **failed)
    return pages


def _lay(folder: Path, sheet: dict[str, Any]) -> Path:
    """A job's folder with this overview, and files for its first pages."""
    for name in ("thumbs", "pages"):
        (folder / name).mkdir(exist_ok=True)
    for page in sheet["pages"][:60]:
        picture = Image.new("RGB", (158, 224), (page["page"] * 5 % 256, 90, 160))
        for path in (page["file"], page["thumb"]):
            if path:
                data = io.BytesIO()
                picture.save(data, "PNG" if path.endswith("png") else "JPEG")
                (folder / path).write_bytes(data.getvalue())
    path = folder / "overview.html"
    path.write_text(overview.render(sheet), encoding="utf-8")
    return path


def test_every_page_is_there_and_what_is_wrong_is_said_first(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())))
    assert browser.run(SHOWN) == 40
    problems = browser.run("document.getElementById('problem-list').innerText")
    assert "page 7 suspect: Unknown operator: nonsense" in problems
    assert "page 12 failed: took longer than the page timeout" in problems
    assert "page 20 missing: not delivered" in problems
    assert "38 of 40 pages delivered" in browser.run("document.getElementById('summary').textContent")


def test_thumbnails_in_sight_are_loaded_and_others_are_not(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet([_page(number) for number in range(1, 1001)])))
    first = "document.querySelector('#pages li:first-child img')"
    browser.wait_for(f"{first}.complete && {first}.naturalWidth === 158")
    assert not browser.run("document.querySelector('#pages li:last-child img')?.complete ?? false")


def test_states_are_told_apart_without_colours(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())))
    looks = browser.run(
        "['done', 'suspect', 'failed', 'missing'].map((state) => { const li = document.querySelector("
        "`#pages li.${state}`); return li.querySelector('.sign').textContent"
        " + getComputedStyle(li.querySelector('.page')).borderStyle })"
    )
    assert len(set(looks)) == 4
    assert len({look[0] for look in looks}) == 4


def test_filters_by_state_host_number_and_words_and_keeps_them_in_the_address(
    browser: Browser, tmp_path: Path
) -> None:
    path = _lay(tmp_path, _sheet(_troubled()))
    browser.open(path)
    browser.click("#states [data-state=suspect]")
    assert browser.run(SHOWN) == 1
    assert browser.run("location.hash") == "#state=suspect"
    browser.click("#states [data-state='']")
    for words, expected in (("10-19", 10), ("33", 1), ("NONSENSE", 1), ("no such thing", 0)):
        browser.run(
            f"(() => {{ const box = document.getElementById('find'); box.value = {words!r};"
            " box.dispatchEvent(new Event('input')) })()"
        )
        assert browser.run(SHOWN) == expected, words
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=path.as_uri() + "#host=node2")
    browser.wait_for("document.documentElement?.dataset.built === 'yes'")
    assert browser.run(SHOWN) == 14
    assert browser.run("document.getElementById('host').value") == "node2"


def test_the_keyboard_alone_will_do(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())))
    browser.run("document.querySelector('.page').focus()")
    browser.press("ArrowRight")
    assert browser.run(FOCUSED).startswith("page 2,")
    columns = browser.run(
        "getComputedStyle(document.getElementById('pages')).gridTemplateColumns.split(' ').length"
    )
    browser.press("ArrowDown")
    assert browser.run(FOCUSED).startswith(f"page {2 + columns},")
    browser.press("Home")
    browser.press("Enter")
    assert browser.run(TITLE) == "✓ page 1, done"
    browser.wait_for("document.querySelector('#picture img').naturalWidth === 158")
    for _ in range(6):
        browser.press("j")
    assert browser.run(TITLE) == "? page 7, suspect"
    assert "Unknown operator" in browser.run("document.getElementById('facts').textContent")
    browser.press("End")
    assert browser.run(TITLE) == "✓ page 40, done"
    browser.press("Escape")
    browser.wait_for(f"{FOCUSED}?.startsWith('page 40,')")


def test_a_click_enlarges_and_a_page_that_is_not_there_tells_its_story(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())))
    browser.click("#pages li:nth-child(12) .page")
    assert browser.run(TITLE) == "✕ page 12, failed"
    facts = browser.run("document.getElementById('viewer-body').textContent")
    assert "there is no picture of this page" in facts
    assert "20:00:01  late" in facts
    browser.click("#close")
    browser.wait_for("!document.getElementById('viewer').open")


def test_light_and_dark_are_both_legible(browser: Browser, tmp_path: Path) -> None:
    """WCAG 2.1, 1.4.3: text has a contrast of at least 4.5 with what is behind it."""
    path = _lay(tmp_path, _sheet(_troubled()))
    papers = []
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.open(path)
        colours = {name: browser.run(COLOUR.format(name)) for name in ("paper", "card", *INKS)}
        papers.append(colours["paper"])
        for name in INKS:
            for behind in ("paper", "card"):
                assert _contrast(colours[name], colours[behind]) >= 4.5, (scheme, name, behind)
    assert papers[0] != papers[1]
    browser.click("#scheme")
    assert browser.run("document.documentElement.dataset.scheme") == "light"
    browser.scheme("light")


def _contrast(one: str, other: str) -> float:
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_others_said_never_runs(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>\u2028"
    pages = [_page(number, said=[evil], reason=evil, host=evil, story=[evil]) for number in range(1, 4)]
    pages[1]["file"] = pages[1]["thumb"] = "thumbs/../../../etc/passwd"
    pages[2]["file"] = pages[2]["thumb"] = "javascript:window.pwned=1"
    sheet = _sheet(pages, job=evil, notes=[evil], output=evil)
    sheet["document"]["name"] = evil
    sheet["hosts"][0]["name"] = evil
    browser.open(_lay_text(tmp_path, sheet))
    browser.click("#pages li:nth-child(2) .page")
    assert browser.run("window.pwned") is None
    sources = browser.run(
        "[...document.querySelectorAll('img')].map((image) => image.getAttribute('src'))"
    )
    assert set(sources) <= {"thumbs/page-0001.jpg", "pages/page-0001.png"}
    assert "<script>window.pwned" in browser.run("document.getElementById('facts').textContent")


def _lay_text(folder: Path, sheet: dict[str, Any]) -> Path:
    path = folder / "overview.html"
    path.write_text(overview.render(sheet), encoding="utf-8")
    return path


def test_a_screen_reader_finds_names_for_everything(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())))
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    browser.call("Accessibility.disable")
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            role = node.get("role", {}).get("value", "")
            roles.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    for role in (
        "button",
        "combobox",
        "searchbox",
        "image",
        "link",
        "region",
        "main",
        "banner",
        "table",
    ):
        assert roles.get(role), role
    for role in ("button", "combobox", "searchbox", "link", "region"):
        assert all(roles[role]), role
    assert "page 12, failed, from node1" in roles["button"]


def test_prints_the_pages_without_the_controls(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())))
    browser.call("Emulation.setEmulatedMedia", media="print")
    is_shown = "getComputedStyle(document.querySelector('{}')).display !== 'none'"
    assert not browser.run(is_shown.format("#filters"))
    assert not browser.run(is_shown.format("#scheme"))
    assert browser.run(is_shown.format("#pages"))
    assert browser.print().startswith(b"%PDF-")
    browser.call("Emulation.setEmulatedMedia", media="")


def test_two_thousand_pages_open_soon_and_twenty_thousand_at_all(
    browser: Browser, tmp_path: Path
) -> None:
    """Two seconds are asked for; a busy machine gets five times as much before this fails."""
    path = _lay(tmp_path, _sheet([_page(number) for number in range(1, 2001)]))
    began = time.monotonic()
    browser.open(path)
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert time.monotonic() - began < 10
    assert browser.run(SHOWN) == 2000
    browser.open(_lay(tmp_path, _sheet([_page(number) for number in range(1, 20001)])))
    browser.run("document.querySelector('.page').focus()")
    browser.press("End")
    assert browser.run(FOCUSED).startswith("page 20000,")


def test_a_narrow_window_needs_no_sideways_scrolling(browser: Browser, tmp_path: Path) -> None:
    browser.open(_lay(tmp_path, _sheet(_troubled())), 360, 700)
    assert browser.run("document.documentElement.scrollWidth") <= 360
