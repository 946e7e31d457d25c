"""The whole way on real hosts: servers, hosts and browsers of which some die in the middle."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from sshrender.api.web.webaccess import session_key
from sshrender.web.authentication import SESSION, Authenticator
from sshrender.web.settings import Auth, ServeSettings
from tests import pdfs
from tests.conftest import PROGRAM
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.stretch import wait_until
from tests.views.chromium import Browser, chromium
from tests.web.proxies import NGINX, free_port, nginx

MANUAL = Path("/usr/share/debian-reference/debian-reference.en.pdf")
BUILT = "document.documentElement?.dataset.built === 'yes'"
DROP = (Path(__file__).parent / "drop.js").read_text()
IMAGES = "[...document.querySelectorAll('#pages img')].filter((each) => each.naturalWidth).length"
WATCH_PROGRESS = """
window.fell = 0;
let highest = 0;
setInterval(() => {
  const now = document.getElementById('progress').value;
  if (now < highest) window.fell += 1;
  highest = Math.max(highest, now);
}, 20);
"""


@dataclass
class Server:
    """A server that is a process of its own, so that it can be killed."""

    san: Path
    users: Path
    port: int
    more: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        words = ["serve", "--bind", f"127.0.0.1:{self.port}", "--san", str(self.san), *self.more]
        words += ["--auth", f"htpasswd:{self.users}", "--sandbox", "none"]
        environment = {**os.environ, "SSHRENDER_SLOT_NAMESPACE": uuid.uuid4().hex[:12]}
        self.process = subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.san,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("http")

    def kill(self) -> None:
        """Kill it, as a machine that loses its power."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


def _log_in(browser: Browser, base: str, users: Path) -> None:
    """Give the browser the session that every server of this user accepts."""
    settings = ServeSettings(san=Path(), auth=Auth.HTPASSWD, htpasswd=users)
    token = Authenticator(settings, session_key()).session("alice", 3600)
    browser.call("Network.enable")
    browser.call("Network.setCookie", name=SESSION, value=token, url=base, httpOnly=True)
    browser.resize(1024, 900)


def _open(browser: Browser, base: str) -> None:
    browser.call("Page.navigate", url=base)
    browser.wait_for(f"location.href.startsWith({json.dumps(base)}) && {BUILT}")


def _users(folder: Path) -> Path:
    file = folder / "users"
    file.write_text(f"alice:{bcrypt.hashpw(b'right', bcrypt.gensalt(4)).decode()}\n")
    return file


def _download(browser: Browser, folder: Path, press: str) -> Path:
    """Press a button and return the file that the browser has saved."""
    folder.mkdir()
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run(press)
    return wait_until(lambda: list(folder.glob("*.zip")), what=lambda: list(folder.iterdir()))[0]


def _compare(archive: Path, job: Path, count: int) -> None:
    """Compare a ZIP with the job's pages and with what its manifest says, page by page."""
    rows = {row["file"]: row for row in json.loads((job / "manifest.json").read_text())["pages"]}
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert len(opened.namelist()) == len(rows) == count
        for name in opened.namelist():
            data = opened.read(name)
            assert data == (job / "pages" / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == rows[name]["sha256"]


@contextlib.contextmanager
def _queue(farm: Farm, **inventory: Any) -> Iterator[None]:
    """Run the queue at the farm's desk."""
    hosts = farm.write_inventory(**inventory)
    words = [*PROGRAM, "coordinate", "--hosts", str(hosts)]
    # The key with which the servers sign jobs, outside of the farm.
    environment = {"XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}
    process = farm.popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.matrix
@pytest.mark.skipif(NGINX is None, reason="install nginx first: apt install nginx-light")
def test_a_manual_is_dropped_watched_and_taken_away_while_servers_and_a_host_die(
    tmp_path: Path, farm_factory: FarmFactory
) -> None:
    farm = farm_factory(3)
    users = _users(tmp_path)
    base_path = ("--base-path", "/render")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(farm.san, users, free_port(), base_path)) for _ in range(2)
        ]
        port = stack.enter_context(nginx(tmp_path, [each.port for each in servers]))
        browser = stack.enter_context(chromium())
        base = f"http://127.0.0.1:{port}/render/"
        _log_in(browser, base, users)
        _open(browser, base)
        # A line on which the upload takes seconds, and the death of a server falls in its middle.
        conditions = {"offline": False, "latency": 20, "downloadThroughput": -1}
        browser.call("Network.emulateNetworkConditions", uploadThroughput=300_000, **conditions)
        browser.run(DROP.replace("@DATA@", base64.b64encode(MANUAL.read_bytes()).decode()))
        browser.wait_for("document.querySelector('.upload progress')?.value > 0.3")
        servers[0].kill()
        browser.wait_for("document.querySelector('.upload p')?.textContent.includes('261 pages')")
        browser.call("Network.emulateNetworkConditions", uploadThroughput=-1, **conditions)
        browser.run("document.getElementById('dpi').value = '50'")
        browser.click(".upload button.main")
        browser.wait_for(f"location.pathname.includes('/render/jobs/') && {BUILT}")
        browser.run(WATCH_PROGRESS)
        job = farm.san / browser.run("overview.sheet.job")
        assert (job / "source.pdf").read_bytes() == MANUAL.read_bytes()
        stack.enter_context(_queue(farm, slots=1))
        browser.wait_for(f"{IMAGES} >= 5")
        farm["node2"].crash()
        servers[0].start()
        browser.wait_for(f"{IMAGES} >= 12")
        servers[1].kill()
        browser.wait_for("document.getElementById('working').textContent.includes('node2')")
        # What the page knew when the server died; the other one continues from there.
        seen = browser.run("document.getElementById('progress').value")
        browser.wait_for(f"document.getElementById('progress').value > {seen}")
        browser.wait_for("document.getElementById('state').textContent.includes('done')")
        browser.wait_for("document.querySelectorAll('#pages li.done').length === 261")
        assert browser.run("window.fell") == 0
        browser.wait_for("overview.sheet.pages.every((page) => page.file)")
        browser.wait_for(f"{IMAGES} >= 12")
        press = "[...document.querySelectorAll('#actions button')].find((each) => each.textContent"
        press += " === 'Download as ZIP').click()"
        _compare(_download(browser, tmp_path / "downloads", press), job, 261)
        # Lines that a killed server leaves are the browser's own.
        assert not [line for line in browser.logged if "Error" in line and "net::" not in line]


@pytest.mark.matrix
def test_a_server_that_coordinates_dies_and_another_one_completes_the_job(tmp_path: Path) -> None:
    san = tmp_path / "san"
    san.mkdir()
    users = _users(tmp_path)
    with ExitStack() as stack:
        servers = [Server(san, users, free_port(), ("--coordinate",)) for _ in range(2)]
        stack.enter_context(servers[0])
        browser = stack.enter_context(chromium())
        base = f"http://127.0.0.1:{servers[0].port}/"
        _log_in(browser, base, users)
        _open(browser, base)
        document = pdfs.build(pdfs.slow(40, 3_000))
        browser.run(DROP.replace("@DATA@", base64.b64encode(document).decode()))
        browser.wait_for("document.querySelector('.upload p')?.textContent.includes('40 pages')")
        browser.run("document.getElementById('dpi').value = '40'")
        browser.click(".upload button.main")
        browser.wait_for(f"location.pathname.includes('/jobs/') && {BUILT}")
        # Thumbnails come when the machine has time for them.
        browser.wait_for("overview.sheet.counts.done >= 2")
        servers[0].kill()
        browser.wait_for("!document.getElementById('connection').hidden")
        known = browser.run("document.getElementById('progress').value")
        assert known < 1
        # The same address, as with a balancer; the other server takes the job over.
        servers[1].port = servers[0].port
        stack.enter_context(servers[1])
        browser.wait_for("document.getElementById('connection').hidden")
        browser.wait_for("document.getElementById('state').textContent.includes('done')")
        assert browser.run("overview.sheet.counts.done") == 40
        assert browser.run("document.getElementById('progress').value") == 1
