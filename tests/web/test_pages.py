"""The pages in a real browser: drag and drop, live pages, the overview, keys, both themes."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import uuid
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.conftest import PROGRAM
from tests.stretch import stretched
from tests.views.chromium import Browser
from tests.web.serving import Client, serving

BUILT = "document.documentElement?.dataset.built === 'yes'"
WIDTHS = (180, 390, 1024, 1920)

DROP = (Path(__file__).parent / "drop.js").read_text()

FAULTS = (Path(__file__).parent / "faults.js").read_text()


AXE = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map(
    (rule) => [rule.id, rule.help, ...rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 120))]))"""


def violations(browser: Browser) -> list[list[str]]:
    """Return what axe-core finds on a page: rules with the elements that break them."""
    browser.run(f"{AXE}; 0")
    found: list[list[str]] = browser.run(RUN_AXE)
    return found


class Page:
    """A tab that is logged in to a server."""

    def __init__(self, browser: Browser, client: Client, user: str) -> None:
        self.browser = browser
        self.base = f"http://127.0.0.1:{client.port}/"
        browser.call("Network.enable")
        browser.call("Network.clearBrowserCookies")
        if user:
            name, _, value = client.as_(user)._cookies().partition("=")
            browser.call("Network.setCookie", name=name, value=value, url=self.base, httpOnly=True)

    def open(self, path: str, condition: str = BUILT, width: int = 1024) -> None:
        """Open a page and wait until it is built."""
        self.browser.resize(width, 900)
        self.browser.call("Page.navigate", url=self.base + path)
        self.browser.wait_for(f"location.href.startsWith({json.dumps(self.base)}) && {condition}")


@pytest.fixture(scope="module")
def san(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared folder for all tests here."""
    return tmp_path_factory.mktemp("san")


@pytest.fixture(scope="module")
def client(san: Path) -> Iterator[Client]:
    """A server for all tests here."""
    with serving(san) as found:
        yield found


def _coordinate(san: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SSHRENDER_SLOT_NAMESPACE": uuid.uuid4().hex[:12]}
    words = [*PROGRAM, "coordinate", "--once", "--san", str(san)]
    return subprocess.Popen(words, cwd=san, env=environment, stderr=subprocess.DEVNULL)


def test_a_dropped_document_is_rendered_watched_and_downloaded(
    browser: Browser, client: Client, san: Path
) -> None:
    page = Page(browser, client, "alice")
    page.open("")
    assert "There is no job yet" in browser.run("document.getElementById('empty').textContent")
    data = base64.b64encode(pdfs.build(pdfs.numbered(12))).decode()
    browser.run(DROP.replace("@DATA@", data))
    browser.wait_for("document.querySelector('.upload p')?.textContent.includes('12 pages')")
    browser.run("document.getElementById('dpi').value = '72'")
    browser.click(".upload button.main")
    browser.wait_for(f"location.pathname.includes('/jobs/') && {BUILT}")
    browser.wait_for("document.getElementById('state').textContent.trim().endsWith('queued')")
    browser.wait_for("document.getElementById('numbers').textContent.includes('has started it yet')")
    queue = _coordinate(san)
    # The page learns everything from the events alone.
    browser.wait_for("document.querySelectorAll('#pages li.done').length === 12")
    browser.wait_for("document.getElementById('state').textContent.includes('done')")
    browser.wait_for(
        "document.querySelectorAll('#time').length && overview.sheet.timeline.length === 12"
    )
    assert queue.wait(stretched(60)) == 0
    browser.wait_for("[...document.querySelectorAll('#pages img')].some((each) => each.naturalWidth)")
    assert "12 of 12 pages (100 %)" in browser.run("document.getElementById('numbers').textContent")
    browser.wait_for("document.getElementById('live').textContent.includes('done')")
    # What the button downloads.
    job = browser.run("overview.sheet.job")
    whole = client.call("GET", f"/api/v1/jobs/{job}/pages.zip")
    with zipfile.ZipFile(io.BytesIO(whole.body)) as opened:
        for name in opened.namelist():
            assert opened.read(name) == (san / job / "pages" / name).read_bytes()
        assert len(opened.namelist()) == 12
    # The viewer: keys, real pixels, and the address.
    browser.click("#pages li button")
    browser.wait_for("document.querySelector('#image img')?.naturalWidth === 200")
    browser.press("ArrowRight")
    browser.wait_for("document.querySelector('#image img[alt=\"page 2\"]')?.naturalWidth === 200")
    browser.press("z")
    assert browser.run("location.hash") == "#page=2"
    assert browser.run("document.querySelector('#image img').getBoundingClientRect().width") == 200
    browser.press("Escape")
    browser.wait_for("location.hash === ''")
    page.open(f"jobs/{job}/#state=done&page=7", "document.getElementById('viewer')?.open")
    assert "page 7" in browser.run("document.getElementById('viewer-title').textContent")
    assert [line for line in browser.logged if "favicon" not in line] == []


def _job(client: Client, san: Path) -> str:
    """Return the job of the first test. Where another worker runs that test, one like it is made."""
    jobs = client.call("GET", "/api/v1/queue").json()["jobs"]
    if not jobs:
        upload = client.upload(pdfs.build(pdfs.numbered(12)))
        client.call("POST", f"/api/v1/uploads/{upload}/complete", {"dpi": 72})
        assert _coordinate(san).wait(stretched(300)) == 0
        jobs = client.call("GET", "/api/v1/queue").json()["jobs"]
    return str(jobs[0]["name"])


def test_held_released_cancelled_and_deleted_by_its_buttons(browser: Browser, client: Client) -> None:
    upload = client.upload(pdfs.build(pdfs.numbered(3)), "other.pdf")
    job = client.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"]
    page = Page(browser, client, "alice")
    page.open(f"jobs/{job}/")
    state = "document.getElementById('state').textContent.includes('{}')"
    buttons = "[...document.querySelectorAll('#actions button')]"
    press = f"{buttons}.find((each) => each.textContent === '{{}}').click()"
    for button, word in (("Hold", "held"), ("Continue", "queued")):
        browser.run(press.format(button))
        browser.wait_for(state.format(word))
    browser.run(press.format("Cancel"))
    browser.click("dialog.ask button.danger")
    browser.wait_for(state.format("cancelled"))
    browser.run(press.format("Link for a colleague"))
    browser.wait_for("document.querySelector('dialog.ask input')?.value.includes('/link/')")
    browser.press("Escape")
    browser.run(press.format("Delete"))
    browser.click("dialog.ask button.danger")
    browser.wait_for(f"!location.pathname.includes('/jobs/') && {BUILT}")
    assert client.call("GET", f"/api/v1/jobs/{job}").status == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_and_used_by_all(
    browser: Browser, client: Client, san: Path, scheme: str
) -> None:
    job = _job(client, san)
    pages = [
        ("olga", "", BUILT),
        ("olga", "hosts", BUILT),
        ("olga", f"jobs/{job}/", BUILT),
        ("vera", "", BUILT),
    ]
    loaded = "document.readyState === 'complete' && document.querySelector('h1') !== null"
    pages += [("", "", loaded), ("olga", "jobs/none/", loaded)]
    browser.scheme(scheme)
    for user, path, condition in pages:
        page = Page(browser, client, user)
        for width in WIDTHS:
            page.open(path, condition, width)
            assert (user, path, width, browser.run(FAULTS)) == (user, path, width, [])
        assert (user, path, violations(browser)) == (user, path, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_opens_on_the_pages_can_be_read_and_used_by_all(
    browser: Browser, client: Client, san: Path, scheme: str
) -> None:
    """Uploads in each state, questions, messages and the large page, as axe-core judges them."""
    browser.scheme(scheme)
    page = Page(browser, client, "olga")
    page.open("")
    browser.run(DROP.replace("@DATA@", base64.b64encode(pdfs.build(pdfs.numbered(2))).decode()))
    browser.wait_for("document.querySelector('.upload p')?.textContent.includes('2 pages')")
    browser.run(DROP.replace("@DATA@", base64.b64encode(b"<html>").decode()).replace("Herbst", "2"))
    browser.wait_for("[...document.querySelectorAll('.upload .problem')].some((each) => !each.hidden)")
    assert violations(browser) == []
    for button in ("1", "2"):
        browser.run("document.querySelector('.upload:first-child .buttons button:last-child').click()")
        browser.wait_for(f"document.querySelectorAll('.upload').length === {2 - int(button)}")
    page.open(f"jobs/{_job(client, san)}/")
    browser.run("document.querySelector('#pages .page').click()")
    browser.wait_for("document.getElementById('viewer').open")
    assert violations(browser) == []
    browser.press("Escape")
    press = "[...document.querySelectorAll('#actions button')].find((each) => each.textContent === '{}')"
    for button in ("Link for a colleague", "Delete"):
        browser.run(f"{press.format(button)}.click()")
        browser.wait_for("document.querySelector('dialog.ask')?.open")
        assert violations(browser) == []
        browser.press("Escape")
        browser.wait_for("!document.querySelector('dialog.ask')")


def test_a_large_document_stays_fluid_and_its_map_is_there_at_once(
    browser: Browser, client: Client, san: Path
) -> None:
    """A canvas is one element, and pages outside of the window are not laid out."""
    page = Page(browser, client, "alice")
    page.open(f"jobs/{_job(client, san)}/")
    sizes: dict[str, Any] = browser.run(
        "({map: document.getElementById('map').width, pages: overview.sheet.pages.length})"
    )
    assert sizes["map"] > 0
    assert (
        browser.run("getComputedStyle(document.querySelector('#pages li')).contentVisibility") == "auto"
    )
