"""The overview in a real browser: its content, its keys, and that only its own script runs."""

from __future__ import annotations

import base64
import io
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sshrender.views import overview
from tests.stretch import stretched
from tests.views.chromium import Browser, chromium

SHOWN = "overview.shown().length"
FOCUSED = "document.activeElement.getAttribute('aria-label')"
COLOUR = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
INKS = ("ink", "quiet", "done", "suspect", "failed", "missing", "accent")
TITLE = "document.getElementById('viewer-title').textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests: it takes a second to start."""
    with chromium() as found:
        yield found
        # The tests show more pages than they have image files.
        assert [line for line in found.logged if "ERR_FILE_NOT_FOUND" not in line] == []


@pytest.fixture(autouse=True)
def _as_it_was(browser: Browser) -> Iterator[None]:
    """Reset medium and colour scheme after each test, also after one that fails."""
    yield
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


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
        "diagnostics": [],
        "reason": "",
        "history": [],
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


def _with_problems(count: int = 40) -> list[dict[str, Any]]:
    pages = [_page(number) for number in range(1, count + 1)]
    pages[6] = _page(7, state="suspect", diagnostics=["Unknown operator: nonsense"])
    failed = {"file": None, "thumb": None, "size": None, "width": 0, "height": 0, "bytes": 0}
    pages[11] = _page(
        12,
        state="failed",
        reason="took longer than the page timeout",
        history=["20:00:01  late"],
        **failed,
    )
    pages[19] = _page(20, state="missing", host="", attempts=0, **failed)
    return pages


def _write(folder: Path, sheet: dict[str, Any]) -> Path:
    """Write a job's folder with this overview and files for its first pages; return the overview."""
    for name in ("thumbs", "pages"):
        (folder / name).mkdir(exist_ok=True)
    for page in sheet["pages"][:60]:
        image = Image.new("RGB", (158, 224), (page["page"] * 5 % 256, 90, 160))
        for path in (page["file"], page["thumb"]):
            if path:
                data = io.BytesIO()
                image.save(data, "PNG" if path.endswith("png") else "JPEG")
                (folder / path).write_bytes(data.getvalue())
    path = folder / "overview.html"
    path.write_text(overview.render(sheet), encoding="utf-8")
    return path


def test_every_page_is_shown_and_problems_come_first(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    assert browser.run(SHOWN) == 40
    problems = browser.run("document.getElementById('problem-list').innerText")
    assert "page 7 suspect: Unknown operator: nonsense" in problems
    assert "page 12 failed: took longer than the page timeout" in problems
    assert "page 20 missing: not delivered" in problems
    assert "38 of 40 pages delivered" in browser.run("document.getElementById('summary').textContent")


def test_only_visible_thumbnails_are_loaded(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet([_page(number) for number in range(1, 1001)])))
    first = "document.querySelector('#pages li:first-child img')"
    browser.wait_for(f"{first}?.complete && {first}.naturalWidth === 158")
    asked = "performance.getEntriesByType('resource').filter((each) => /thumbs/.test(each.name)).length"
    assert browser.run(asked) < 400


def test_states_differ_without_colours(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    styles = browser.run(
        "['done', 'suspect', 'failed', 'missing'].map((state) => { const li = document.querySelector("
        "`#pages li.${state}`); return li.querySelector('.sign').textContent"
        " + getComputedStyle(li.querySelector('.page')).borderStyle })"
    )
    assert len(set(styles)) == 4
    assert len({style[0] for style in styles}) == 4


def test_filters_by_state_host_number_and_text_are_kept_in_the_address(
    browser: Browser, tmp_path: Path
) -> None:
    path = _write(tmp_path, _sheet(_with_problems()))
    browser.open(path)
    browser.click("#states [data-state=suspect]")
    assert browser.run(SHOWN) == 1
    assert browser.run("location.hash") == "#state=suspect"
    browser.click("#states [data-state='']")
    for words, expected in (
        ("10-19", 10),
        ("33", 1),
        ("38-", 3),
        ("7, 12-13", 3),
        ("NONSENSE", 1),
        ("no such thing", 0),
    ):
        _find(browser, words)
        assert browser.run(SHOWN) == expected, words
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=path.as_uri() + "#host=node2")
    browser.wait_for("document.documentElement?.dataset.built === 'yes'")
    assert browser.run(SHOWN) == 14
    assert browser.run("document.getElementById('host').value") == "node2"


def _find(browser: Browser, words: str) -> None:
    browser.run(
        f"(() => {{ const box = document.getElementById('find'); box.value = {words!r};"
        " box.dispatchEvent(new Event('input')) })()"
    )


def test_a_filter_holds_for_pages_that_are_built_later(browser: Browser, tmp_path: Path) -> None:
    path = _write(tmp_path, _sheet([_page(number) for number in range(1, 3001)]))
    browser.call("Page.navigate", url=path.as_uri() + "#find=2990-")
    browser.wait_for("document.documentElement?.dataset.built === 'yes'")
    assert browser.run(SHOWN) == 11
    assert browser.run("document.querySelector('.page[tabindex=\"0\"]').getAttribute('aria-label')") == (
        "page 2990, done, from node3"
    )


def test_links_within_the_sheet_leave_the_filters_alone(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    browser.click("#states [data-state=failed]")
    browser.run("document.querySelector('.skip').focus()")
    browser.press("Enter")
    browser.wait_for("document.activeElement.id === 'pages'")
    browser.click("#sections li:last-child a")
    browser.wait_for("document.activeElement.id === 'settings-title'")
    assert (browser.run(SHOWN), browser.run("location.hash")) == (1, "#state=failed")


def test_an_address_that_makes_no_sense_shows_all_pages(browser: Browser, tmp_path: Path) -> None:
    path = _write(tmp_path, _sheet(_with_problems()))
    browser.call("Page.navigate", url=path.as_uri() + "#state=nonsense&host=nobody&x=%00%ff")
    browser.wait_for("document.documentElement?.dataset.built === 'yes'")
    assert browser.run(SHOWN) == 40


def test_scrolling_moves_nothing(browser: Browser, tmp_path: Path) -> None:
    """For pages of every shape: portrait, landscape, unknown, narrow strip."""
    sizes = ([158, 224], [158, 224], [224, 158], None, [20, 224])
    pages = [_page(number, size=sizes[number % 5]) for number in range(1, 301)]
    browser.open(_write(tmp_path, _sheet(pages)))
    height = "document.documentElement.scrollHeight"
    at_first = browser.run(height)
    for part in (0.3, 0.6, 1.0):
        browser.run(f"scrollTo({{top: {height} * {part}, behavior: 'instant'}})")
        browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert browser.run(height) == at_first


def test_the_keyboard_is_enough(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
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
    assert browser.run("document.activeElement.id") == "viewer-title"
    browser.wait_for("document.querySelector('#image img').naturalWidth === 158")
    for _ in range(6):
        browser.press("j")
    assert browser.run(TITLE) == "? page 7, suspect"
    assert "Unknown operator" in browser.run("document.getElementById('facts').textContent")
    browser.press("End")
    assert browser.run(TITLE) == "✓ page 40, done"
    browser.press("Escape")
    browser.wait_for(f"{FOCUSED}?.startsWith('page 40,')")


def test_a_click_opens_a_page_and_a_missing_page_shows_its_history(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    browser.click("#pages li:nth-child(12) .page")
    assert browser.run(TITLE) == "✕ page 12, failed"
    facts = browser.run("document.getElementById('viewer-body').textContent")
    assert "there is no image of this page" in facts
    assert "20:00:01  late" in facts
    browser.click("#close")
    browser.wait_for("!document.getElementById('viewer').open")


def test_turning_pages_stops_at_the_ends_and_leaves_the_browsers_own_keys_alone(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    browser.click("#states [data-state=done]")
    browser.click("#pages li:nth-child(2) .page")
    is_off = "document.getElementById('{}').getAttribute('aria-disabled')"
    for key, place in (("k", 1), ("PageUp", 1), ("PageDown", 2), ("ArrowRight", 3), ("Home", 1)):
        browser.press(key)
        assert browser.run("document.getElementById('position').textContent") == f"{place} / 37", key
    assert browser.run(is_off.format("previous")) == "true"
    assert browser.run(is_off.format("next")) == "false"
    browser.press("ArrowRight", modifiers=1)
    assert browser.run(TITLE) == "✓ page 1, done"
    for _ in range(6):
        browser.press("j")
    assert browser.run(TITLE) == "✓ page 8, done"


def test_a_problem_opens_its_page_and_gets_the_focus_back(browser: Browser, tmp_path: Path) -> None:
    pages = _with_problems()
    for page in pages[19:30]:
        page.update(state="missing", file=None, thumb=None, size=None, host="")
    browser.open(_write(tmp_path, _sheet(pages)))
    texts = browser.run("[...document.querySelectorAll('#problem-list li')].map((li) => li.innerText)")
    assert len(texts) == 3
    assert "pages 20–30 missing: not delivered" in texts[2]
    browser.run("document.querySelector('#problem-list li:nth-child(2) button').focus()")
    browser.press("Enter")
    assert browser.run(TITLE) == "✕ page 12, failed"
    browser.press("Escape")
    browser.wait_for("document.activeElement.textContent.startsWith('page 12 failed')")


def test_a_format_that_browsers_do_not_know_is_shown_small_with_a_link_to_the_file(
    browser: Browser, tmp_path: Path
) -> None:
    pages = [_page(1, file="pages/a #1?.tiff"), _page(2, file="pages/2.tiff", thumb=None)]
    browser.open(_write(tmp_path, _sheet(pages, viewable=False)))
    browser.click("#pages li:first-child .page")
    browser.wait_for("document.querySelector('#image img').naturalWidth === 158")
    assert (
        browser.run("document.querySelector('#facts a').getAttribute('href')")
        == "pages/a%20%231%3F.tiff"
    )
    browser.press("j")
    assert "cannot show" in browser.run("document.getElementById('image').textContent")


def test_one_that_is_mailed_shows_its_images_without_any_other_file(
    browser: Browser, tmp_path: Path
) -> None:
    sheet = _sheet(_with_problems(20), viewable=False)
    data = io.BytesIO()
    Image.new("RGB", (158, 224), (40, 90, 160)).save(data, "JPEG")
    image = base64.b64encode(data.getvalue()).decode()
    for page in sheet["pages"]:
        page["file"], page["thumb"] = page["file"] and Path(page["file"]).name, None
    sheet["images"] = {str(number): image for number in range(1, 21) if number not in (2, 12, 20)}
    path = tmp_path / "mailed.html"
    path.write_text(overview.render(sheet), encoding="utf-8")
    logged = len(browser.logged)
    browser.open(path)
    shown = "[...document.querySelectorAll('#pages img')].map((image) => image.naturalWidth)"
    browser.wait_for(f"{shown}.length === 17 && {shown}.every((width) => width === 158)")
    assert browser.run("performance.getEntriesByType('resource').map((each) => each.name)") == []
    browser.click("#pages li:nth-child(7) button")
    browser.wait_for("document.querySelector('#image img')?.naturalWidth === 158")
    assert "page-0007.png" in browser.run("document.getElementById('facts').innerText")
    assert browser.run("document.querySelectorAll('#facts a').length") == 0
    browser.press("Home")
    browser.press("ArrowRight")
    assert browser.run("document.getElementById('image').innerText") == (
        "the image of this page is not in this file"
    )
    assert browser.logged[logged:] == []
    assert "beside it" not in path.read_text()


def test_the_timeline_shows_and_opens_pages_by_mouse_and_keyboard(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    tip = "document.getElementById('time-tip').textContent"
    browser.run("document.getElementById('time-box').focus()")
    for key, expected in (
        ("ArrowRight", "node1: page 3,"),
        ("ArrowRight", "node1: page 6,"),
        ("ArrowDown", "node2: page 7,"),
        ("Home", "node2: page 1,"),
        ("ArrowUp", "node1: page 3,"),
        ("End", "node1: page 39,"),
    ):
        browser.press(key)
        assert browser.run(tip).startswith(expected), key
    browser.press("Enter")
    assert browser.run(TITLE) == "✓ page 39, done"
    browser.press("Escape")
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        browser.press(key)
    assert "page 12, failed" in browser.run(tip)
    browser.run("document.getElementById('time').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = browser.run(
        "(() => { const mark = document.getElementById('time-mark'), b = mark.getBoundingClientRect();"
        " return [b.x + b.width / 2, b.y + b.height / 2] })()"
    )
    browser.point(x, y + 36)
    assert "page 12" not in browser.run(tip)
    browser.point(x, y)
    assert browser.run(tip).startswith("node1: page 12, failed")
    browser.click("#time-mark")
    assert browser.run(TITLE) == "✕ page 12, failed"


def test_a_job_without_pages_has_an_overview(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet([], state="queued", seconds=0.0, hosts=[])))
    assert browser.run("document.getElementById('found').textContent") == "0 pages"
    assert browser.run("document.querySelector('h1').textContent") == "big-3fa9c1d2: queued"


def test_light_and_dark_colours_have_enough_contrast(browser: Browser, tmp_path: Path) -> None:
    """WCAG 2.1, 1.4.3: text has a contrast of at least 4.5 with what is behind it."""
    path = _write(tmp_path, _sheet(_with_problems()))
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


def test_text_from_elsewhere_never_runs(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>\u2028"
    pages = [
        _page(number, diagnostics=[evil], reason=evil, host=evil, history=[evil])
        for number in range(1, 4)
    ]
    pages[1]["file"] = pages[1]["thumb"] = "thumbs/../../../etc/passwd"
    pages[2]["file"] = pages[2]["thumb"] = "javascript:window.pwned=1"
    sheet = _sheet(pages, job=evil, notes=[evil], output=evil)
    sheet["document"]["name"] = evil
    sheet["hosts"][0]["name"] = evil
    browser.open(_write_only(tmp_path, sheet))
    browser.click("#pages li:nth-child(2) .page")
    assert browser.run("window.pwned") is None
    sources = browser.run(
        "[...document.querySelectorAll('img')].map((image) => image.getAttribute('src'))"
    )
    assert set(sources) <= {"thumbs/page-0001.jpg", "pages/page-0001.png"}
    assert "<script>window.pwned" in browser.run("document.getElementById('facts').textContent")


def test_a_script_that_got_into_the_file_would_not_run(browser: Browser, tmp_path: Path) -> None:
    text = overview.render(_sheet([_page(1)]))
    strange = "<script>window.pwned = 1</script><b id=b style='color: red' onclick='pwned = 1'>b</b>"
    path = tmp_path / "overview.html"
    path.write_text(text.replace("<header>", f"<header>{strange}"), encoding="utf-8")
    browser.open(path)
    browser.run("document.getElementById('b').click()")
    assert browser.run("window.pwned") is None
    refused = [line for line in browser.logged if "Content Security Policy" in line]
    assert len(refused) >= 3
    browser.logged[:] = [line for line in browser.logged if line not in refused]


@pytest.mark.parametrize("mark", ["@DATA@", "@SCRIPT@", "@STYLE@", "@TITLE@"])
def test_a_job_may_have_any_name(browser: Browser, tmp_path: Path, mark: str) -> None:
    browser.open(_write_only(tmp_path, _sheet([_page(1)], job=mark, notes=[mark])))
    assert browser.run("document.title") == f"{mark}: partial"
    assert browser.run("document.querySelector('h1').textContent") == f"{mark}: partial"


def test_without_javascript_it_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    path = _write(tmp_path, _sheet(_with_problems()))
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.call("Page.navigate", url=path.as_uri())
    browser.wait_for("document.querySelector('noscript')?.innerText?.includes('JavaScript')")
    assert "sshrender status" in browser.run("document.body.innerText")
    assert "Timeline" not in browser.run("document.body.innerText")


def _write_only(folder: Path, sheet: dict[str, Any]) -> Path:
    path = folder / "overview.html"
    path.write_text(overview.render(sheet), encoding="utf-8")
    return path


def test_a_screen_reader_finds_names_for_everything(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
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
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    browser.call("Emulation.setEmulatedMedia", media="print")
    is_shown = "document.querySelector('{}').checkVisibility()"
    for name in ("#filters", "#scheme", "#sections", ".skip", "#hosts", "#time"):
        assert not browser.run(is_shown.format(name)), name
    for name in ("h1", "#summary", "#problem-list", "#pages"):
        assert browser.run(is_shown.format(name)), name
    assert browser.print().startswith(b"%PDF-")


def test_a_dark_screen_prints_on_white_paper(browser: Browser, tmp_path: Path) -> None:
    path = _write(tmp_path, _sheet(_with_problems()))
    browser.scheme("dark")
    browser.open(path)
    first = _first_page(tmp_path, browser.print())
    browser.click("#scheme")
    browser.click("#scheme")
    assert browser.run("document.documentElement.dataset.scheme") == "dark"
    for image in (first, _first_page(tmp_path, browser.print())):
        assert image.getpixel((3, 3)) == image.getpixel((image.width - 3, image.height - 3)) == 255
        assert sum(image.histogram()[128:]) > sum(image.histogram()[:128])


def _first_page(folder: Path, pdf: bytes) -> Image.Image:
    """Return the first page of a PDF, in grey."""
    (folder / "printed.pdf").write_bytes(pdf)
    words = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-dLastPage=1", "-r30", "-sDEVICE=pnggray"]
    subprocess.run([*words, "-o", "printed.png", "printed.pdf"], cwd=folder, check=True, timeout=60)
    return Image.open(folder / "printed.png").convert("L")


def test_a_print_of_some_pages_says_so(browser: Browser, tmp_path: Path) -> None:
    browser.open(_write(tmp_path, _sheet(_with_problems())))
    browser.click("#states [data-state=failed]")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("document.getElementById('printed').innerText") == (
        "Shown here: 1 of 40 pages (state failed)"
    )


def test_two_thousand_pages_open_soon_and_twenty_thousand_at_all(
    browser: Browser, tmp_path: Path
) -> None:
    """The target is two seconds; a busy machine may take five times as long, times its load."""
    path = _write(tmp_path, _sheet([_page(number) for number in range(1, 2001)]))
    began = time.monotonic()
    browser.open(path)
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert time.monotonic() - began < stretched(10)
    assert browser.run(SHOWN) == 2000
    browser.open(_write(tmp_path, _sheet([_page(number) for number in range(1, 20001)])))
    browser.run("document.querySelector('.page').focus()")
    browser.press("End")
    assert browser.run(FOCUSED).startswith("page 20000,")
    for words, expected in (("100-120", 21), ("", 20000)):
        _find(browser, words)
        assert browser.run(SHOWN) == expected


def test_a_narrow_window_needs_no_sideways_scrolling(browser: Browser, tmp_path: Path) -> None:
    """Not even with words that are longer than a line."""
    word = "w" * 300
    long = _sheet(
        [_page(1, diagnostics=[word], host=word), _page(2, state="missing", reason=word)], job=word
    )
    long["hosts"][0].update(name=word, reason=word)
    long.update(notes=[word], output=word, reason=word)
    for sheet in (_sheet(_with_problems()), long):
        browser.open(_write(tmp_path, sheet), 360, 700)
        assert browser.run("document.documentElement.scrollWidth") <= 360
        browser.click(".page")
        assert browser.run("document.getElementById('facts').scrollWidth") <= 360


CELLS = "document.querySelectorAll('#pages li').length"
LABELS = "[...document.querySelectorAll('#pages .page')].map((each) => each.getAttribute('aria-label'))"
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"
IN_WINDOW = (
    "(() => { const at = [...document.querySelectorAll('#pages li')].find((each) => "
    "each.getBoundingClientRect().bottom > innerHeight / 2);"
    " return Number(at?.getAttribute('aria-posinset') ?? 0) })()"
)


def _long(tmp_path: Path, browser: Browser, pages: int = 5000) -> Path:
    path = _write_only(tmp_path, _sheet([_page(n, thumb=None, file=None) for n in range(1, pages + 1)]))
    browser.open(path)
    return path


def test_of_a_long_sheet_only_the_pages_near_the_window_exist(browser: Browser, tmp_path: Path) -> None:
    """A frame that lays out every page of 20,000 takes more than half a second."""
    _long(tmp_path, browser)
    height = browser.run("document.documentElement.scrollHeight")
    for part, least, most in ((0.25, 1000, 1500), (0.9, 4000, 5000), (0.5, 2200, 2800), (0.0, 0, 60)):
        browser.run(f"scrollTo({{top: {height} * {part}, behavior: 'instant'}})")
        browser.run(FRAMES)
        if part:
            assert least < browser.run(IN_WINDOW) < most
        assert browser.run(CELLS) < 400
        assert browser.run("document.documentElement.scrollHeight") == height
    assert browser.run("document.querySelector('#pages li').getAttribute('aria-setsize')") == "5000"


def test_keys_reach_every_page_of_a_long_sheet_also_after_scrolling_away(
    browser: Browser, tmp_path: Path
) -> None:
    _long(tmp_path, browser)
    browser.run("document.querySelector('.page').focus()")
    browser.press("End")
    assert browser.run(FOCUSED).startswith("page 5000,")
    browser.run("scrollTo({top: 0, behavior: 'instant'})")
    browser.wait_for("document.activeElement.id === 'pages'")
    browser.press("ArrowLeft")
    assert browser.run(FOCUSED).startswith("page 4999,")
    browser.press("Enter")
    browser.press("Home")
    assert browser.run(TITLE) == "✓ page 1, done"
    browser.press("Escape")
    browser.wait_for(f"{FOCUSED}?.startsWith('page 1,')")
    assert browser.run("document.querySelectorAll('.page[tabindex=\"0\"]').length") == 1


def test_a_long_sheet_is_printed_whole_and_follows_the_width_of_the_window(
    browser: Browser, tmp_path: Path
) -> None:
    path = _long(tmp_path, browser, 900)
    browser.run("addEventListener('beforeprint', () => { window.printed = " + CELLS + " })")
    browser.print()
    assert browser.run("window.printed") == 900
    assert browser.run(CELLS) < 400
    browser.open(path)
    browser.run("scrollTo({top: document.documentElement.scrollHeight / 2, behavior: 'instant'})")
    browser.run(FRAMES)
    before = browser.run(IN_WINDOW)
    assert before > 300
    browser.resize(500, 900)
    browser.wait_for(f"Math.abs({IN_WINDOW} - {before}) < 60")


def test_a_filter_keeps_the_order_of_a_long_sheet(browser: Browser, tmp_path: Path) -> None:
    _long(tmp_path, browser)
    for words, first, last in (("2000-2010", 2000, 2010), ("100-105,7", 7, 105), ("", 1, None)):
        _find(browser, words)
        labels = browser.run(LABELS)
        assert labels[0].startswith(f"page {first},")
        assert labels == sorted(labels, key=lambda label: int(label.split()[1].rstrip(",")))
        assert last is None or labels[-1].startswith(f"page {last},")
