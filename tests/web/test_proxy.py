"""Behind nginx: a path, a limit of bodies, and two servers of which one ends in the middle."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import pdfs
from tests.views.chromium import chromium
from tests.web.proxies import NGINX, nginx
from tests.web.serving import Client, serving

BUILT = "document.documentElement?.dataset.built === 'yes'"
DROP = (Path(__file__).parent / "drop.js").read_text()


@pytest.mark.skipif(NGINX is None, reason="install nginx first: apt install nginx-light")
def test_an_upload_goes_in_smaller_parts_and_another_server_continues(tmp_path: Path) -> None:
    san = tmp_path / "san"
    san.mkdir()
    data = pdfs.build(pdfs.heavy(4, 600_000))
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        first_ends = ExitStack()
        stack.callback(first_ends.close)
        clients: list[Client] = [first_ends.enter_context(serving(san, base_path="/render"))]
        clients.append(stack.enter_context(serving(san, base_path="/render")))
        port = stack.enter_context(nginx(tmp_path, [client.port for client in clients]))
        base = f"http://127.0.0.1:{port}/render/"
        name, _, value = clients[0]._cookies().partition("=")
        browser.call("Network.enable")
        browser.call("Network.setCookie", name=name, value=value, url=base)
        browser.resize(1024, 900)
        browser.call("Page.navigate", url=base)
        browser.wait_for(f"location.href.startsWith({json.dumps(base)}) && {BUILT}")
        browser.run(DROP.replace("@DATA@", base64.b64encode(data).decode()))
        browser.wait_for("document.querySelector('.upload p')?.textContent.includes('4 pages')")
        parts = {line.split()[6].rpartition("/")[2] for line in _log(tmp_path, "PUT", 204)}
        assert len(data) // 1_048_576 < len(parts)
        assert _log(tmp_path, "PUT", 413)
        first_ends.close()
        browser.click(".upload button.main")
        browser.wait_for(f"location.pathname.includes('/render/jobs/') && {BUILT}")
        browser.wait_for("document.getElementById('state').textContent.includes('queued')")
        job = browser.run("overview.sheet.job")
        assert (san / job / "source.pdf").read_bytes() == data
        clients[1].call("POST", f"/api/v1/jobs/{job}/hold", {})
        browser.wait_for("document.getElementById('state').textContent.includes('held')")


def _log(folder: Path, method: str, status: int) -> list[str]:
    lines = (folder / "access").read_text().splitlines()
    return [line for line in lines if f'"{method} ' in line and f'" {status} ' in line]
