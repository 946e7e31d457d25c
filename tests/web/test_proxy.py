"""Behind nginx: a path, a limit of bodies, and two servers of which one ends in the middle."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import pdfs
from tests.views.chromium import chromium
from tests.web.serving import Client, serving

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
BUILT = "document.documentElement?.dataset.built === 'yes'"
DROP = (Path(__file__).parent / "drop.js").read_text()

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream servers {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location /render/ {{
            proxy_pass http://servers;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            client_max_body_size 1m;
            proxy_next_upstream error timeout http_502 non_idempotent;
        }}
    }}
}}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _nginx(folder: Path, ports: list[int]) -> Iterator[int]:
    assert NGINX is not None
    port = _free_port()
    servers = " ".join(f"server 127.0.0.1:{each} max_fails=1;" for each in ports)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port))
    process = subprocess.Popen([NGINX, "-c", str(file), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


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
        port = stack.enter_context(_nginx(tmp_path, [client.port for client in clients]))
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
