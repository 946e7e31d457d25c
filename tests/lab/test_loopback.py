"""SSH for real where there can be no lab: one host, which is this machine, behind an sshd of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.conftest import Run
from tests.lab.host import new_key
from tests.lab.loopback import Loopback
from tests.plain import SMOOTHED, page_content

PAGES = 6


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Six pages."""
    return pdfs.write(tmp_path / "six.pdf", pdfs.numbered(PAGES))


@pytest.mark.parametrize(
    ("has_san", "client"),
    [(True, "fabric"), (False, "fabric"), (False, "openssh")],
    ids=["shared folder", "files travel", "files travel with OpenSSH"],
)
def test_a_document_is_rendered_over_ssh_as_ghostscript_renders_it(
    loopback: Loopback, sshrender: Run, home: Path, document: Path, has_san: bool, client: str
) -> None:
    san = home / "san"
    san.mkdir()
    hosts = loopback.inventory(home / "hosts.toml", san if has_san else None, transport=client)
    answer = sshrender("render", document, "--hosts", hosts, "-o", "out", "-r", "72", "--json")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    assert [(host["name"], host["pages"]) for host in summary["hosts"]] == [("loopback", PAGES)]
    plain = home / "plain"
    plain.mkdir()
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r72", *SMOOTHED]
    subprocess.run([*command, "-o", str(plain / "page-%04d.png"), str(document)], check=True)
    found = {path.name: page_content(path) for path in (home / "out").iterdir()}
    assert found == {path.name: page_content(path) for path in plain.iterdir()}
    assert list(san.glob("*/work/*")) == []


def test_the_host_is_shown_as_idle(loopback: Loopback, sshrender: Run, home: Path) -> None:
    san = home / "san"
    san.mkdir()
    hosts = loopback.inventory(home / "hosts.toml", san)
    answer = sshrender("hosts", "--hosts", hosts, "--json")
    assert answer.returncode == 0, answer.stderr
    (host,) = json.loads(answer.stdout)["hosts"]
    assert (host["name"], host["state"]) == ("loopback", "idle")


@pytest.mark.parametrize("client", ["fabric", "openssh"])
@pytest.mark.parametrize("what", ["host key", "identity"])
def test_a_host_that_cannot_be_trusted_or_does_not_let_us_in_is_refused(
    loopback: Loopback, sshrender: Run, home: Path, document: Path, what: str, client: str
) -> None:
    assert new_key(home / "other").wait(timeout=60) == 0
    kind, key, *_ = (home / "other.pub").read_text().split()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{loopback.port} {kind} {key}\n")
    changes = {
        "host key": {"known_hosts": home / "known_hosts"},
        "identity": {"identity_file": home / "other"},
    }
    hosts = loopback.inventory(home / "hosts.toml", None, transport=client, **changes[what])
    answer = sshrender("render", document, "--hosts", hosts, "-o", "out", "--wait", "5s")
    assert answer.returncode == 8, answer.stderr
    assert not list(home.glob("out/page-*"))
