"""Makes the pictures of docs/web.md from a real run: ``python -m docs.pictures.web``.

It uploads the Debian Reference to a server of this checkout, renders it here, and takes pictures of
each page in Chromium, at three widths.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.conftest import PROGRAM
from tests.views.chromium import Browser, chromium
from tests.web.serving import Client, serving

DOCUMENT = Path("/usr/share/debian-reference/debian-reference.en.pdf")
HERE = Path(__file__).parent
WIDTHS = (390, 1024, 1920)
BUILT = "document.documentElement?.dataset.built === 'yes'"
MAP = f"document.documentElement?.dataset.map === 'yes' && {BUILT}"


def _picture(browser: Browser, client: Client, path: str, name: str, condition: str) -> None:
    base = f"http://127.0.0.1:{client.port}/"
    cookie, _, value = client.as_("olga")._cookies().partition("=")
    browser.call("Network.enable")
    browser.call("Network.setCookie", name=cookie, value=value, url=base)
    for width in WIDTHS:
        browser.resize(width, 800 if width < 1000 else 900)
        browser.call("Page.navigate", url=base + path)
        browser.wait_for(f"location.href.startsWith({base!r}) && {condition}")
        browser.run("new Promise((done) => setTimeout(done, 1500))")
        (HERE / f"web-{name}-{width}.png").write_bytes(browser.screenshot())


def main() -> None:
    """Make the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = f"{folder}/config"
        os.environ["SSHRENDER_SLOT_NAMESPACE"] = uuid.uuid4().hex[:12]
        san = Path(folder) / "san"
        san.mkdir()
        with serving(san) as client, chromium() as browser:
            for name, pages in (
                ("catalogue.pdf", "1-60"),
                ("manual.pdf", "1-8"),
                ("annual report.pdf", "1-3"),
            ):
                upload = client.as_("olga").upload(DOCUMENT.read_bytes(), name)
                options = {"dpi": 72, "pages": pages, "assemble": True}
                made = client.as_("olga").call("POST", f"/api/v1/uploads/{upload}/complete", options)
                if name == "catalogue.pdf":
                    job = made.json()["job"]
                if name != "annual report.pdf":
                    subprocess.run(
                        [*PROGRAM, "coordinate", "--once", "--san", san], check=True, cwd=folder
                    )
            _picture(browser, client, "", "home", BUILT)
            _picture(browser, client, f"jobs/{job}/", "job", MAP)
            _picture(browser, client, "hosts", "hosts", BUILT)


if __name__ == "__main__":
    main()
