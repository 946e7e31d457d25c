"""Documents under a password: every kind, by either password, on hosts with and without a SAN."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter

from tests import pdfs
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.lab.slow import EACH_HAS_THREE, GATE, gated, open_gate_after
from tests.plain import SMOOTHED, page_content
from tests.stretch import wait_until

PROGRAM = [sys.executable, "-m", "sshrender"]
USER, OWNER = "Sesam-0ffne-dich", "Meister-W0rt"
ALGORITHMS = ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"]


def _encrypt(source: Path, target: Path, algorithm: str) -> Path:
    writer = PdfWriter(PdfReader(source))
    writer.encrypt(USER, OWNER, algorithm=algorithm)
    writer.write(target)
    return target


def _render(farm: Farm, document: Path, password: str, *words: str, **inventory: Any) -> Any:
    secret = farm.root / "password"
    secret.write_text(password + "\n")
    secret.chmod(0o600)
    hosts = farm.write_inventory(**inventory)
    command = [*PROGRAM, "render", str(document), "--hosts", str(hosts), "-r", "72", "--json"]
    command += ["--password-file", str(secret), "-o", str(farm.root / document.stem)]
    return farm.popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _end(process: Any) -> tuple[int, dict[str, Any], str]:
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr
    return process.returncode, json.loads(stdout or "{}"), stderr


def _plain(document: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r72", *SMOOTHED]
        + [f"-sOutputFile={folder}/page-%04d.png", str(document)],
        check=True,
    )
    return {path.name: page_content(path) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("password", "algorithms"),
    [
        (USER, ALGORITHMS),
        (OWNER, ("RC4-128", "AES-256")),
        pytest.param(OWNER, ("RC4-40", "AES-128", "AES-256-R5"), marks=pytest.mark.matrix),
    ],
    ids=["user", "owner", "owner, older kinds"],
)
def test_every_kind_of_encryption_is_opened(
    farm_factory: FarmFactory, tmp_path: Path, password: str, algorithms: Sequence[str]
) -> None:
    farm = farm_factory(1)
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(2))
    wanted = _plain(plain, tmp_path / "wanted")
    for algorithm in algorithms:
        # Not named after the password: another test looks for it in every process of the machine.
        document = _encrypt(plain, tmp_path / f"{algorithm}.pdf", algorithm)
        code, _, stderr = _end(_render(farm, document, password))
        assert code == 0, (algorithm, stderr)
        found = {path.name: page_content(path) for path in (farm.root / document.stem).iterdir()}
        assert found == wanted, algorithm


@pytest.mark.parametrize(
    "password", [USER, pytest.param(OWNER, marks=pytest.mark.matrix)], ids=["user", "owner"]
)
def test_parts_that_travel_are_encrypted_too(farm: Farm, tmp_path: Path, password: str) -> None:
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.heavy(24, 1_000_000))
    document = _encrypt(plain, tmp_path / "secret.pdf", "AES-256")
    inventory = {"extra": {"node2": {"san": False}}}
    open_gate_after(farm.hosts, 0.0, 4, GATE)
    with gated(farm, node1="sent", node2="sent"):
        code, summary, stderr = _end(_render(farm, document, password, *EACH_HAS_THREE, **inventory))
    assert code == 0, stderr
    assert all(host["pages"] for host in summary["hosts"])
    parts = list((farm.san / summary["job"] / "parts").iterdir())
    assert parts
    assert all(PdfReader(part).is_encrypted and not PdfReader(part).decrypt("") for part in parts)
    found = {path.name: page_content(path) for path in (farm.root / document.stem).iterdir()}
    assert found == _plain(plain, tmp_path / "wanted")


def test_the_password_is_seen_nowhere(farm: Farm, tmp_path: Path) -> None:
    """Not in any command line or environment of any process, nor in a file on the SAN or the hosts."""
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(12))
    document = _encrypt(plain, tmp_path / "secret.pdf", "AES-256")
    open_gate_after(farm.hosts, 0.5, 4, "/mnt/san/go")
    inventory = {"extra": {"node2": {"san": False}}}
    process = _render(farm, document, USER, "-v", **inventory)
    seen = _watch_processes(process)
    wait_until(lambda: seen["looks"] > 10, what="enough looks")
    (farm.san / "go").touch()
    code, summary, stderr = _end(process)
    assert code == 0, stderr
    assert seen["found"] == []
    assert USER not in stderr
    assert USER not in json.dumps(summary)
    for path in farm.san.rglob("*"):
        assert not path.is_file() or USER.encode() not in path.read_bytes(), path
    for host in farm.hosts:
        left = host.exec("grep", "-rlF", USER, "/tmp", "/var/tmp", "/home/artist", "/var/log").stdout
        assert left == "", (host.name, left)


def _watch_processes(process: Any) -> dict[str, Any]:
    """Looks at every process of this machine, on which all hosts run, until it has ended."""
    seen: dict[str, Any] = {"looks": 0, "found": []}

    def look() -> None:
        while process.poll() is None:
            for entry in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    if USER.encode() in _read(entry / name):
                        seen["found"].append(_read(entry / "cmdline"))
            seen["looks"] += 1
            time.sleep(0.05)

    threading.Thread(target=look, daemon=True).start()
    return seen


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_wrong_password_is_an_error_of_the_document(farm: Farm, tmp_path: Path) -> None:
    document = _encrypt(pdfs.write(tmp_path / "p.pdf", pdfs.numbered(2)), tmp_path / "s.pdf", "RC4-128")
    code, _, stderr = _end(_render(farm, document, "something else"))
    assert code == 5
    assert "wrong password" in stderr
