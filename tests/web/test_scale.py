"""Many watchers and many pages: what they cost the server and the browser."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshrender.api.web.webaccess import session_key
from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.web.authentication import SESSION, Authenticator
from sshrender.web.settings import Auth, ServeSettings
from tests import pdfs
from tests.conftest import PROGRAM
from tests.entries import fields_of
from tests.views.chromium import Browser, chromium
from tests.web.serving import Client, serving

PAGES = 20_000
WATCHERS = 200
SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")
IDLE = "requestIdleCallback(() => done(0))"


@pytest.fixture
def san(tmp_path: Path) -> Path:
    """An empty shared folder. Not that of a home: Chromium does not start with its long TMPDIR."""
    folder = tmp_path / "san"
    folder.mkdir()
    return folder


def _crowd() -> float:
    """How many programs share a core: times on a busy machine are that much longer."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process (proc(5))."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def _delivered(page: int, at: float) -> str:
    facts = {"file": f"page-{page:04d}.png", "bytes": 51323, "sha256": "0" * 64, "width": 200}
    facts |= {"height": 100, "ghostscript": "10.00.0", "seconds": 0.5, "attempts": 1, "diagnostics": []}
    place = {"page": page, "host": f"node{page % 7}", "attempt": f"1.{page}"}
    lines = [fields_of("page_sent", at, **place), fields_of("page_delivered", at, **place, **facts)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def _job(client: Client, san: Path, pages: int, delivered: int) -> str:
    """Submit a document and let its journal say that so many of its pages are delivered."""
    upload = client.upload(pdfs.build(pdfs.numbered(pages)), part_size=8 << 20)
    answer = client.call("POST", f"/api/v1/uploads/{upload}/complete", {"dpi": 72})
    assert answer.status == 201, answer.body
    job = str(answer.json()["job"])
    now = time.time() - pages
    hosts = [f"node{number}" for number in range(7)]
    begun = {"epoch": 1, "pages": pages, "output": "", "coordinator": "desk (pid 7)", "hosts": hosts}
    with (san / job / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps(fields_of("run_started", now, **begun)) + "\n")
        for page in range(1, delivered + 1):
            journal.write(_delivered(page, now + page / 10))
    return job


@contextlib.contextmanager
def _server(san: Path, users: Path) -> Iterator[tuple[int, int]]:
    """Start the program; yield its process id and its port."""
    words = [*PROGRAM, "serve", "--bind", "127.0.0.1:0", "--san", str(san), "--sandbox", "none"]
    process = subprocess.Popen(
        [*words, "--auth", f"htpasswd:{users}"],
        cwd=san,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline().rpartition(":")[2].strip("/\n"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


@contextlib.contextmanager
def _watchers(port: int, cookie: str, job: str, count: int) -> Iterator[dict[str, int]]:
    """So many browsers that watch a job, in a thread; yield what they have got."""
    got = {"messages": 0, "last": 0}
    ended = threading.Event()
    selector = selectors.DefaultSelector()
    for _ in range(count):
        made = socket.create_connection(("127.0.0.1", port), 60)
        head = f"GET /api/v1/jobs/{job}/events?from=0 HTTP/1.1\r\nHost: localhost\r\n"
        made.sendall(f"{head}Cookie: {cookie}\r\n\r\n".encode())
        selector.register(made, selectors.EVENT_READ)

    def run() -> None:
        while not ended.is_set():
            for key, _ in selector.select(0.2):
                data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
                got["messages"] += data.count(b"\nid: ")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield got
    finally:
        ended.set()
        thread.join(20)
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        selector.close()


@pytest.mark.matrix
def test_two_hundred_watchers_and_a_new_one(san: Path, tmp_path: Path) -> None:
    """A quarter of a core, and the first paint within a second."""
    users = tmp_path / "users"
    users.write_text("alice:$2b$04$" + "." * 53 + "\n")
    pages = 2000
    with serving(san) as client:
        job = _job(client, san, pages, 1000)
    settings = ServeSettings(san=san, auth=Auth.HTPASSWD, htpasswd=users)
    token = Authenticator(settings, session_key()).session("alice", 3600)
    with _server(san, users) as (pid, port), chromium() as browser:  # noqa: SIM117 - uses what it gives
        with _watchers(port, f"{SESSION}={token}", job, WATCHERS) as got:
            while got["messages"] < WATCHERS:
                time.sleep(0.1)
            before, began, first = _cpu(pid), time.monotonic(), got["messages"]
            journal = san / job / "journal.jsonl"
            # A coordinator runs the job, and a large farm delivers twenty pages a second.
            held = lease.take(JobFolder(san / job).lease)
            for step in range(SECONDS * 2):
                held.beat()
                with journal.open("a") as file:
                    for page in range(1001 + 10 * step, 1011 + 10 * step):
                        file.write(_delivered(page, time.time()))
                time.sleep(max(0.0, began + (step + 1) / 2 - time.monotonic()))
            held.release()
            share = (_cpu(pid) - before) / (time.monotonic() - began)
            sent = got["messages"] - first
            print(f"{WATCHERS} watchers: {share:.1%} of a core, {sent} messages", os.getloadavg())
            assert share <= 0.25
            assert sent > WATCHERS * SECONDS / 2
            paint = _first_paint(browser, port, token, job)
            print(f"first paint: {paint:.0f} ms", os.getloadavg())
            assert paint < 1000 * _crowd()


def _first_paint(browser: Browser, port: int, token: str, job: str) -> float:
    base = f"http://127.0.0.1:{port}/"
    browser.call("Network.enable")
    browser.call("Network.setCookie", name=SESSION, value=token, url=base, httpOnly=True)
    browser.resize(1024, 900)
    browser.call("Page.navigate", url=f"{base}jobs/{job}/")
    paints = "performance.getEntriesByName('first-contentful-paint')"
    browser.wait_for(f"location.href.includes('/jobs/') && {paints}.length === 1")
    return float(browser.run(f"{paints}[0].startTime"))


def _main_thread(browser: Browser) -> float:
    """Return the CPU seconds of the page's main thread."""
    found = browser.call("Performance.getMetrics")["metrics"]
    return float({each["name"]: each["value"] for each in found}["TaskDuration"])


def _frames(browser: Browser, pixels: int, count: int) -> list[float]:
    """Scroll, frame by frame; return the CPU milliseconds of the main thread for each."""
    browser.run("scrollTo({top: 0, behavior: 'instant'})")
    browser.run(f"new Promise((done) => {IDLE})")
    costs, before = [], _main_thread(browser)
    for _ in range(count):
        browser.run(
            f"new Promise((done) => {{ scrollBy({{top: {pixels}, behavior: 'instant'}});"
            " requestAnimationFrame(() => setTimeout(done)); })"
        )
        now = _main_thread(browser)
        costs.append(1000 * (now - before))
        before = now
    return costs


@pytest.mark.matrix
def test_twenty_thousand_pages_are_there_soon_and_scroll_without_long_frames(san: Path) -> None:
    """CPU of the page's main thread: on a busy machine the time of a frame is that of other programs."""
    with serving(san) as client, chromium() as browser:
        job = _job(client, san, PAGES, PAGES - 500)
        cookie, _, token = client._cookies().partition("=")
        began, usage = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        assert client.call("GET", f"/jobs/{job}/", headers={"Accept": "text/html"}).status == 200
        after = resource.getrusage(resource.RUSAGE_SELF)
        server = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        print(f"first answer: {server:.2f} s of CPU, {time.monotonic() - began:.2f} s", os.getloadavg())
        assert cookie == SESSION
        browser.call("Performance.enable", timeDomain="threadTicks")
        _first_paint(browser, client.port, token, job)
        browser.wait_for("performance.getEntriesByName('map').length === 1")
        drawn = browser.run("performance.getEntriesByName('map')[0].startTime")
        print(f"page map: {drawn:.0f} ms, {_main_thread(browser):.2f} s of CPU", os.getloadavg())
        assert drawn < 1500 * _crowd()
        browser.wait_for("document.documentElement.dataset.built === 'yes'")
        browser.run(f"new Promise((done) => {IDLE})")
        worst: dict[int, Any] = {}
        for pixels in (60, 300, 3000):
            costs = _frames(browser, pixels, 120)
            worst[pixels] = round(max(costs), 1)
        print(f"most CPU of a frame, in ms, by pixels of it: {worst}", os.getloadavg())
        # Programs that share a core with others find its caches cold, and take more of its time.
        assert max(worst.values()) < 50 * min(2.0, _crowd())
