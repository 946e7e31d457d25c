"""What docs/web.md shows is typed here as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
import zipfile
from pathlib import Path

import bcrypt
import pytest

from tests import pdfs
from tests.commandtree import TREE
from tests.conftest import PROGRAM
from tests.stretch import stretched
from tests.web.proxies import NGINX, free_port
from tests.web.serving import serving

DOCS = Path(__file__).parents[2] / "docs"


def _example() -> list[str]:
    blocks = re.findall(r"```\n(.*?)```", (DOCS / "web.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith("base=")]
    return str(found).splitlines()


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="apt install curl jq")
def test_the_examples_with_curl_work_as_they_stand(san: Path, home: Path) -> None:
    """All lines but the first, which names the server."""
    users = home / "users"
    users.write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    pdfs.write(home / "big.pdf", pdfs.numbered(12))
    lines = _example()
    name = next(number for number, line in enumerate(lines) if line.startswith("job="))
    with serving(san, htpasswd=users, base_path="/render") as client:
        address = f"http://127.0.0.1:{client.port}/render"
        assert lines[0].startswith("base=https://render.example/render ")
        first = lines[0].replace("https://render.example/render", address)
        queue = f"{' '.join(map(str, PROGRAM))} coordinate --once --san {san} 2>queue"
        script = ["set -e", first, *lines[1 : name + 1], queue, 'echo "$job"']
        for line in lines[name + 1 :]:
            # Events end with the job's removal only.
            is_endless = line.startswith("curl -N")
            script.append(f"timeout {stretched(3):.0f} {line} || true" if is_endless else line)
        environment = {**os.environ, "SSHRENDER_SLOT_NAMESPACE": uuid.uuid4().hex[:12]}
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=stretched(120),
            check=False,
        )
    assert done.returncode == 0, done.stderr
    job = next(line for line in done.stdout.splitlines() if line.startswith("big-"))
    assert '"done"' in done.stdout
    assert "\nid: " in done.stdout
    with zipfile.ZipFile(home / "pages.zip") as opened:
        assert len(opened.namelist()) == 10
        assert opened.read("page-0001.png") == (san / job / "pages/page-0001.png").read_bytes()


@pytest.mark.skipif(NGINX is None, reason="install nginx first: apt install nginx-light")
def test_nginx_takes_the_lines_for_it(tmp_path: Path) -> None:
    (lines,) = re.findall(r"nginx:\n\n```\n(.*?)```", (DOCS / "web.md").read_text(), re.DOTALL)
    file = tmp_path / "nginx.conf"
    places = "".join(
        f"{each}_temp_path {tmp_path}/{each};" for each in ("proxy", "fastcgi", "uwsgi", "scgi")
    )
    places += f"client_body_temp_path {tmp_path}/bodies; access_log off;"
    server = f"server {{ listen 127.0.0.1:{free_port()}; {lines} }}"
    file.write_text(f"pid {tmp_path}/pid; events {{}}\nhttp {{ {places} {server} }}\n")
    assert NGINX is not None
    words = [NGINX, "-t", "-c", str(file), "-p", str(tmp_path), "-e", str(tmp_path / "errors")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="apt install systemd")
def test_the_services_are_such_that_systemd_reads(tmp_path: Path) -> None:
    units = []
    for path in sorted((DOCS / "systemd").iterdir()):
        text = path.read_text()
        # The same configuration for each, and so the same key: jobs that one makes are run by the other.
        assert "XDG_CONFIG_HOME" not in text
        # The program and the folder of the example are not on this machine.
        units.append(tmp_path / path.name)
        units[-1].write_text(text.replace("/usr/local/bin/sshrender", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert len(units) == 4
    assert [line for line in done.stderr.splitlines() if "sshrender-" in line] == []
    text = (DOCS / "systemd/sshrender-web.service").read_text()
    command = re.search(r"ExecStart=\S+ (.*?)\n[A-Z]", text, re.DOTALL)
    assert command is not None
    words = command[1].replace("\\\n", " ").split()
    assert words[0] == "serve"
    known = {name for each in TREE.commands["serve"].params for name in each.opts}
    assert {word for word in words if word.startswith("--")} <= known
