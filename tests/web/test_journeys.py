"""Ways through the pages in a browser: keyboard alone, reloads, failed pages, paper, hostile text."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sshrender.api.joblistsource import JobListSource
from sshrender.api.uploadpasswords import UploadPasswords
from sshrender.api.web.jobfeed import JobFeed
from sshrender.api.web.uploads import PartWriter
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.views.dashboard.source import HostLine, JobLine, Listed
from tests import pdfs
from tests.entries import fields_of
from tests.stretch import stretched, wait_until
from tests.views.chromium import Browser
from tests.web.serving import Client, serving
from tests.web.test_pages import BUILT, DROP, Page

EVIL = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>\u2028"
FOCUSED = "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent)"
STATE = "document.getElementById('state').textContent.includes('{}')"
LIVE = "document.getElementById('live').textContent.includes({!r})"
TOLD = "document.querySelector('.upload p')?.textContent.includes({!r})"


@pytest.fixture(scope="module")
def passwords() -> UploadPasswords:
    """Those that the server keeps."""
    return UploadPasswords()


@pytest.fixture(scope="module")
def san(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared folder for all tests here."""
    return tmp_path_factory.mktemp("san")


@pytest.fixture(scope="module")
def client(san: Path, passwords: UploadPasswords) -> Iterator[Client]:
    """A server for all tests here."""
    with serving(san, passwords=passwords) as found:
        yield found


def _drop(browser: Browser, data: bytes) -> None:
    browser.run(DROP.replace("@DATA@", base64.b64encode(data).decode()))


def _submit(client: Client, pages: int, name: str) -> str:
    upload = client.upload(pdfs.build(pdfs.numbered(pages)), name)
    return str(client.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"])


class Hand:
    """Writes a job's journal, as a coordinator would."""

    def __init__(self, san: Path, job: str, pages: int) -> None:
        self.folder = JobFolder(san / job)
        begun = {"epoch": 1, "output": "", "coordinator": "desk (pid 7)", "hosts": ["node1"]}
        self.write("run_started", **begun, pages=pages)

    def write(self, type_: str, **fields: object) -> None:
        """Append an entry."""
        with self.folder.journal.open("a") as journal:
            journal.write(json.dumps(fields_of(type_, time.time(), **fields)) + "\n")

    def deliver(self, page: int, file: str = "") -> None:
        """Deliver a page, without a file."""
        facts = {"file": file or f"page-{page:04d}.png", "bytes": 5, "sha256": "0" * 64, "width": 2}
        facts |= {"height": 1, "ghostscript": "10", "seconds": 0.5, "attempts": 1, "diagnostics": []}
        self.write("page_delivered", page=page, host="node1", attempt=f"1.{page}", **facts)

    def fail(self, page: int, reason: str) -> None:
        """Give a page up after an attempt on each of three hosts."""
        hosts = ["node1", "node2", "node3"]
        for number, host in enumerate(hosts):
            place = {"page": page, "host": host, "attempt": f"1.{page}{number}"}
            self.write("page_sent", **place)
            self.write("attempt_failed", **place, kind="crashed", reason=reason)
        self.write("page_failed", page=page, kind="crashed", reason=reason, attempts=3, hosts=hosts)

    def end(self, state: str) -> None:
        """Write that the job has ended."""
        jobattributes.load_signed(self.folder).changed(over=state).save(self.folder)


def _tab_to(browser: Browser, words: str) -> None:
    for _ in range(60):
        browser.press("Tab")
        if browser.run(FOCUSED).startswith(words):
            return
    raise AssertionError(f"no Tab leads to {words}")


def test_the_keyboard_alone_leads_from_the_upload_to_a_large_page(
    browser: Browser, client: Client, san: Path
) -> None:
    page = Page(browser, client, "alice")
    page.open("")
    browser.press("Tab")
    assert browser.run(FOCUSED) == "Skip to the content"
    _tab_to(browser, "Choose PDF files")
    _drop(browser, pdfs.build(pdfs.numbered(3)))
    browser.wait_for(TOLD.format("3 pages"))
    _tab_to(browser, "Render: ")
    browser.press("Enter")
    browser.wait_for(f"location.pathname.includes('/jobs/') && {BUILT}")
    for button, state in (("Hold", "held"), ("Continue", "queued")):
        _tab_to(browser, button)
        browser.press("Enter")
        browser.wait_for(STATE.format(state))
        # The focus stays where the user was.
        assert browser.run("document.getElementById('actions').contains(document.activeElement)")
    browser.run("document.activeElement.blur()")
    _tab_to(browser, "Cancel")
    browser.press("Enter")
    browser.wait_for("document.querySelector('dialog.ask')?.open")
    browser.press("Escape")
    browser.wait_for("!document.querySelector('dialog.ask')")
    assert browser.run(FOCUSED) == "Cancel"
    _tab_to(browser, "page 1, missing")
    browser.press("ArrowRight")
    browser.press("Enter")
    browser.wait_for("document.getElementById('viewer').open")
    assert "page 2" in browser.run("document.getElementById('viewer-title').textContent")
    browser.press("Escape")
    browser.wait_for("!document.getElementById('viewer').open")
    assert browser.run(FOCUSED).startswith("page 2, missing")


def test_an_upload_is_paused_and_goes_on_after_a_reload(
    browser: Browser, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, before = pdfs.build(pdfs.heavy(2, 5 << 20)), _stored(client)
    is_paused, write = threading.Event(), PartWriter.write

    def write_later(writer: PartWriter, block: bytes) -> None:
        if writer._final.name == "1.part":
            is_paused.wait(stretched(60))
        write(writer, block)

    monkeypatch.setattr(PartWriter, "write", write_later)
    page = Page(browser, client, "alice")
    page.open("")
    _drop(browser, data)
    wait_until(lambda: _stored(client) > before, what="the first part")
    browser.click(".upload .buttons button")
    browser.wait_for(TOLD.format("paused"))
    assert _stored(client) == before + 1
    is_paused.set()
    page.open("login", "document.readyState === 'complete'")
    page.open("")
    # The last part may have arrived although the page was paused: then nothing is missing.
    browser.wait_for(f"{TOLD.format('choose the same file again')} || {TOLD.format('2 pages')}")
    _drop(browser, data)
    browser.wait_for(TOLD.format("2 pages"))
    assert browser.run("document.querySelectorAll('.upload').length") == 1
    # What was there is not sent again.
    assert _stored(client) == before + -(-len(data) // (8 << 20))
    # Now that it is there as a whole, it needs no file; one that was refused does not come back.
    page.open("login", "document.readyState === 'complete'")
    page.open("")
    browser.wait_for(TOLD.format("2 pages"))
    _drop(browser, pdfs.build(pdfs.numbered(1)))
    browser.wait_for("document.querySelectorAll('.upload button.main:not(.lock *)').length === 2")
    _drop(browser, b"no document")
    browser.wait_for("[...document.querySelectorAll('.upload .problem')].some((each) => !each.hidden)")
    page.open("login", "document.readyState === 'complete'")
    page.open("")
    browser.wait_for("document.getElementById('render-all').textContent === 'Render all 2'")
    assert browser.run("document.querySelectorAll('.upload').length") == 2
    browser.click("#render-all")
    browser.wait_for("!document.querySelector('.upload') && document.querySelectorAll('.job').length>1")
    assert browser.run("document.activeElement.id") == "choose"


def _stored(client: Client) -> int:
    """Return how many parts the server has stored."""
    text = client.as_("olga").call("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if 'method="PUT",status="204"' in line]
    return int(float(lines[0].split()[-1])) if lines else 0


def test_a_document_with_a_password_is_asked_for_it(
    browser: Browser, client: Client, passwords: UploadPasswords, tmp_path: Path
) -> None:
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(2))
    page = Page(browser, client, "alice")
    page.open("")
    _drop(browser, pdfs.protect(plain, tmp_path / "locked.pdf", "secret").read_bytes())
    browser.wait_for("document.activeElement.type === 'password'")
    assert "no file has it" in browser.run("document.querySelector('.lock').textContent")
    for word in "no":
        browser.press(word)
    browser.press("Enter")
    problem = "document.querySelector('.upload .problem').textContent"
    browser.wait_for(f"{problem} === 'This password does not open the document.'")
    for letter in "secret":
        browser.press(letter)
    browser.press("Enter")
    browser.wait_for(TOLD.format("2 pages"))
    browser.click(".upload button.main:not(.lock *)")
    browser.wait_for(f"location.pathname.includes('/jobs/') && {BUILT}")
    job = browser.run("overview.sheet.job")
    assert passwords.of(job) == "secret"
    passwords.forget(job)
    page.open(f"jobs/{job}/")
    assert "give the password again" in browser.run("document.getElementById('hint').textContent")
    _press(browser, "Give the password")
    browser.wait_for("document.querySelector('dialog.ask input') !== null")
    browser.run("document.getElementById('password-again').value = 'secret'")
    browser.click("dialog.ask button.main")
    browser.wait_for("!document.querySelector('dialog.ask')")
    assert passwords.of(job) == "secret"


def _press(browser: Browser, text: str, within: str = "#actions") -> None:
    buttons = f"[...document.querySelectorAll('{within} button')]"
    browser.run(f"{buttons}.find((each) => each.textContent === {text!r}).click()")


def test_quarters_are_announced_a_failed_page_tells_its_history_and_is_tried_again(
    browser: Browser, client: Client, san: Path
) -> None:
    job = _submit(client, 8, "quarters.pdf")
    hand = Hand(san, job, 8)
    page = Page(browser, client, "alice")
    page.open(f"jobs/{job}/")
    for number in range(1, 7):
        hand.deliver(number)
        browser.wait_for(f"document.getElementById('progress').value === {number / 8}")
        if number % 2 == 0:
            browser.wait_for(LIVE.format(f"{12.5 * number:.0f} percent"))
    hand.fail(7, EVIL)
    hand.deliver(8)
    hand.end("partial")
    browser.wait_for(STATE.format("partial"))
    browser.wait_for("overview.sheet.counts.failed === 1")
    # Those whose files are not there are problems, too.
    seven = "[...document.querySelectorAll('#problem-list button')].find((each) => /page 7 f/.test("
    browser.wait_for(f"Boolean({seven}each.textContent)))")
    browser.run(f"{seven}each.textContent)).click()")
    browser.wait_for("document.getElementById('viewer').open")
    browser.wait_for("document.querySelectorAll('#facts ol li').length >= 3")
    # Also where the address has opened the page.
    page.open(f"jobs/{job}/#page=7", "document.getElementById('viewer')?.open")
    browser.wait_for("document.querySelectorAll('#facts .buttons button').length === 2")
    _press(browser, "Why?", "#facts")
    browser.wait_for("document.querySelectorAll('dialog.ask li').length >= 3")
    assert "<img src=x" in browser.run("document.querySelector('dialog.ask').textContent")
    browser.press("Escape")
    browser.wait_for("!document.querySelector('dialog.ask')")
    _press(browser, "Try this page again", "#facts")
    browser.wait_for(STATE.format("queued"))
    _press(browser, "Why?")
    browser.wait_for("document.querySelector('dialog.ask h3')?.textContent === 'Hosts'")
    browser.press("Escape")
    assert browser.run("window.pwned") is None
    assert client.call("GET", f"/api/v1/jobs/{job}/why?page=99").status == 400
    assert client.call("GET", f"/api/v1/jobs/{job}/why").status == 400
    assert client.as_("bob").call("GET", f"/api/v1/jobs/{job}/why?page=1").status == 404


def test_tabs_keep_each_others_uploads_and_settings_are_looked_at_again(
    browser: Browser, client: Client
) -> None:
    page = Page(browser, client, "alice")
    page.open("")
    kept = "localStorage.getItem('sshrender.uploads.alice')"
    stored = f"JSON.parse({kept} ?? '[]').map((each) => each.name)"
    browser.run("localStorage.clear()")
    # Another tab begins an upload after this page was opened.
    other = {"id": "other", "name": "other.pdf", "size": 5, "modified": 1, "partSize": 524288}
    browser.run(f"localStorage.setItem('sshrender.uploads.alice', {json.dumps(json.dumps([other]))})")
    _drop(browser, pdfs.build(pdfs.numbered(3)))
    browser.wait_for(TOLD.format("3 pages"))
    assert browser.run(stored) == ["other.pdf", "Katalog Herbst.pdf"]
    change = "(() => {{ const list = document.getElementById('page-list'); list.value = '{}';"
    change += " list.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
    browser.run(change.format("9"))
    browser.wait_for("document.querySelector('.upload .problem').textContent.includes('Page 9')")
    browser.run(change.format("2"))
    browser.wait_for(TOLD.format("1 page"))
    assert browser.run("document.querySelector('.upload .problem').hidden")
    browser.click(".upload button.main:not(.lock *)")
    browser.wait_for(f"location.pathname.includes('/jobs/') && {BUILT}")
    assert browser.run(stored) == ["other.pdf"]
    # Another user of this browser does not see the name.
    page = Page(browser, client, "bob")
    page.open("")
    assert "other.pdf" not in browser.run("document.body.textContent")
    browser.run("localStorage.clear()")


def test_what_is_wrong_is_said_in_words_for_people(browser: Browser, client: Client) -> None:
    """A list without a match was empty, and a wrong resolution led to the description of the API."""
    page = Page(browser, client, "alice")
    job = _submit(client, 2, "stopped.pdf")
    assert client.call("POST", f"/api/v1/jobs/{job}/cancel", {}).status == 202
    page.open("")
    browser.wait_for("document.getElementById('jobs').textContent.includes('cancelled by alice')")
    browser.run("location.hash = 'find=nothing-is-called-so'")
    browser.wait_for("!document.getElementById('none').hidden")
    assert browser.run("document.querySelectorAll('.job').length") == 0
    browser.click("#all")
    browser.wait_for("document.querySelectorAll('.job').length > 0")
    assert browser.run("document.getElementById('none').hidden && location.hash === ''")
    _drop(browser, pdfs.build(pdfs.numbered(3)))
    browser.wait_for(TOLD.format("3 pages"))
    change = "(() => {{ const field = document.getElementById('dpi'); field.value = '{}';"
    change += " field.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
    problem = "document.querySelector('.upload .problem')"
    browser.run(change.format("9999"))
    browser.wait_for(f"{problem}.textContent === 'The resolution is a whole number from 30 to 600.'")
    browser.run(change.format("300"))
    browser.wait_for(f"{problem}.hidden")
    browser.wait_for(TOLD.format("3 pages"))
    browser.click(".upload .buttons button:last-child")
    browser.wait_for("!document.querySelector('.upload')")


def test_a_page_whose_job_or_session_is_gone_says_so(browser: Browser, client: Client) -> None:
    """It said for ever that the connection is broken."""
    page = Page(browser, client, "alice")
    asleep, awake = ("dispatchEvent(new Event('pagehide'))", "dispatchEvent(new Event('pageshow'))")
    told = "document.getElementById('connection').textContent.includes({!r})"
    job = _submit(client, 2, "vanishing.pdf")
    page.open(f"jobs/{job}/")
    browser.run(asleep)
    assert client.call("POST", f"/api/v1/jobs/{job}/cancel", {}).status == 202
    assert client.call("DELETE", f"/api/v1/jobs/{job}").status == 204
    browser.run(awake)
    browser.wait_for(told.format("There is no job"))
    assert browser.run("document.getElementById('actions').textContent") == "All jobs"
    page.open(f"jobs/{_submit(client, 2, 'watched.pdf')}/")
    browser.run(asleep)
    browser.call("Network.clearBrowserCookies")
    browser.run(awake)
    browser.wait_for("document.querySelector('h1')?.textContent === 'Log in'")


def test_paper_has_the_pages_and_no_buttons_and_motion_is_as_the_user_wants(
    browser: Browser, client: Client
) -> None:
    job = _submit(client, 3, "paper.pdf")
    Page(browser, client, "alice").open(f"jobs/{job}/")
    shown = "(id) => getComputedStyle(document.querySelector(id)).display !== 'none'"
    parts = ["#actions", ".top", "#map-box", "#filters", "#pages", "#numbers"]
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run(f"{json.dumps(parts)}.filter({shown})") == ["#pages", "#numbers"]
    assert browser.print().startswith(b"%PDF")
    wanted = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.call("Emulation.setEmulatedMedia", media="", features=wanted)
    moving = "[...document.querySelectorAll('*')].filter((each) => getComputedStyle(each)"
    assert browser.run(f"{moving}.transitionDuration !== '0s').length") == 0
    assert browser.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


def test_names_and_messages_from_elsewhere_never_run(
    browser: Browser, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of hosts, users, files and programs: on the list, on the hosts' page and on that of a job."""
    job = _submit(client, 2, "evil.pdf")
    line = JobLine("", EVIL, "running", 9, 1, owner=f"web:{EVIL}", note=EVIL, ended=EVIL)
    line = replace(line, submitted="2026-01-15T12:00:00.123Z")
    host = HostLine(EVIL, "idle", EVIL, 1, 1, 0.5, (EVIL,))
    monkeypatch.setattr(JobListSource, "read", lambda _self: Listed((line,), (host,)))
    found = JobFeed.sheet

    def sheet(self: JobFeed) -> dict[str, object]:
        made = found(self)
        hosts = [{"name": EVIL, "state": EVIL, "word": EVIL, "reason": EVIL, "pages": 1}]
        hosts[0] |= {"failures": 1, "seconds": 1.0, "median": 1.0, "cores": 1}
        pages = [
            {**each, "diagnostics": [EVIL], "history": [EVIL], "reason": EVIL, "host": EVIL}
            for each in made["pages"]
        ]
        return {**made, "hosts": hosts, "pages": pages, "notes": [EVIL], "reason": EVIL}

    monkeypatch.setattr(JobFeed, "sheet", sheet)
    page = Page(browser, client, "olga")
    for path, condition in (
        ("", "document.querySelector('.job') !== null"),
        ("hosts", "document.querySelector('#hosts th[scope=row]') !== null"),
        (f"jobs/{job}/", BUILT),
    ):
        page.open(path, condition)
        assert "<img src=x" in browser.run("document.body.textContent")
        assert browser.run("document.querySelector('img[src=x]')") is None
        assert browser.run("window.pwned") is None
        if not path:
            shown = "document.querySelector('time[datetime=\"2026-01-15T12:00:00.123Z\"]').textContent"
            assert browser.run(shown).startswith("15 Jan 2026")


def test_without_scripts_the_login_and_messages_work_and_other_pages_say_what_they_need(
    browser: Browser, client: Client
) -> None:
    job, shown = _submit(client, 2, "plain.pdf"), "document.body?.innerText.includes({!r})"
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        Page(browser, client, "").open("login", shown.format("Password"))
        assert browser.run("document.querySelector('input[name=password]').offsetHeight > 0")
        page = Page(browser, client, "alice")
        page.open("jobs/nosuch/", shown.format("There is no job nosuch."))
        page.open("", shown.format("This page needs JavaScript"))
        page.open(f"jobs/{job}/", shown.format("needs JavaScript"))
        # Not an empty bar, which would say that no page is ready.
        assert browser.run("document.getElementById('standing').offsetHeight") == 0
        assert "for this site" in browser.run("document.body.innerText")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
