"""Renderers in their walls: what a hostile page could reach, what is left of them, what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sshrender.renderers import ghostscript
from sshrender.runner.host import processlimits, sandbox, scratch
from tests import pdfs
from tests.lab.farm import Farm
from tests.lab.requirements import require_sandbox
from tests.lab.slow import GATE, gated
from tests.plain import SMOOTHED, page_content
from tests.stretch import wait_until

PROGRAM = [sys.executable, "-m", "sshrender", "render"]
ESCAPES = {
    "reads a system file": "(/etc/passwd) (r) file",
    "reads its environment": "(/proc/self/environ) (r) file",
    "writes over the document": "(source.pdf) (w) file",
    "writes over another page": "(work/p000001) (w) file",
    "reads another page": "(work/p000001) (r) file",
    "writes elsewhere": "(canary) (w) file",
    "writes to /tmp": "(/tmp/canary) (w) file",
    "climbs": "(work/../canary) (w) file",
    "runs a program": "(%pipe%touch canary) (r) file",
    "writes to a program": "(%pipe%cat>canary) (w) file",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder with a document, and a page of another attempt."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "p000001").write_text("another page")
    pdfs.write(tmp_path / "source.pdf", pdfs.numbered(2))
    return tmp_path


def _try(folder: Path, deed: str, is_sandboxed: bool) -> tuple[str, list[str]]:
    """What a renderer says that is told to do this, and which files are there afterwards."""
    if is_sandboxed:
        require_sandbox()
    setup = ghostscript.Setup("gs", "png16m", "72", "source.pdf", "work", "s1.%d", (), "test")
    own = scratch.make()
    command = ghostscript.command(setup)
    if is_sandboxed:
        command = sandbox.wrap(command, str(folder), "source.pdf", own)
    lines = ghostscript.open_lines("source.pdf", None, "ready") + ghostscript.page_lines(1, "drawn")
    lines += [f"{{ {deed} pop }} stopped {{ (refused) }} {{ (allowed) }} ifelse = flush"]
    answer = subprocess.run(
        processlimits.wrap(command, 1 << 30),
        cwd=folder,
        env=scratch.environment(processlimits.environment(dict(os.environ)), own),
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    scratch.remove(own)
    return answer.stdout, sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("is_sandboxed", [False, True], ids=["safer", "bwrap"])
@pytest.mark.parametrize("deed", ESCAPES.values(), ids=ESCAPES.keys())
def test_a_renderer_reaches_its_document_and_its_pages_alone(
    folder: Path, deed: str, is_sandboxed: bool
) -> None:
    said, files = _try(folder, deed, is_sandboxed)
    assert "drawn 0" in said
    assert "refused" in said
    assert files == ["source.pdf", "work", "work/p000001", "work/s1.1"]
    assert not Path("/tmp/canary").exists()


def test_in_the_sandbox_there_is_no_home_and_no_other_process(folder: Path) -> None:
    require_sandbox()
    own = scratch.make()
    look = ["sh", "-c", "ls / /tmp; ls /proc; ls /etc"]
    command = sandbox.wrap(look, str(folder), "source.pdf", own)
    seen = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    scratch.remove(own)
    assert "usr" in seen
    assert not {"home", "root", "1", "passwd", "shadow", "ssh"} & set(seen)


def _render(farm: Farm, document: Path, *words: str) -> tuple[int, dict[str, Any]]:
    hosts = farm.write_inventory(slots=None)
    command = [*PROGRAM, str(document), "--hosts", str(hosts), "-o", str(farm.root / "out"), "--json"]
    answer = farm.run([*command, *words])
    return answer.returncode, json.loads(answer.stdout)


def test_a_sandboxed_job_draws_the_same_and_leaves_nothing(farm: Farm, tmp_path: Path) -> None:
    """Hosts log in as an ordinary user, for whom bwrap needs no privileges."""
    require_sandbox()
    document = pdfs.write(tmp_path / "doc.pdf", pdfs.numbered(20, 300, 400))
    # However late a host is met, its page waits for it.
    pins = ("--pin", "1=node1", "--pin", "2=node2")
    code, summary = _render(farm, document, "--sandbox", "bwrap", *pins)
    assert code == 0
    assert all(host["pages"] for host in summary["hosts"])
    gs = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r150", *SMOOTHED]
    subprocess.run([*gs, f"-sOutputFile={tmp_path}/page-%04d.png", str(document)], check=True)
    for page in (farm.root / "out").iterdir():
        assert page_content(page) == page_content(tmp_path / page.name)
    # What a runner removes, or its guardian, may be gone a moment after the end of the command.
    wait_until(lambda: not any(host.exec("ls", "-A", "/tmp").stdout for host in farm.hosts), 10)


def test_a_host_without_bubblewrap_is_refused_and_told_what_to_install(
    farm: Farm, tmp_path: Path
) -> None:
    require_sandbox()
    farm["node1"].remove("/usr/bin/bwrap")
    # A renderer in its walls does not see the gate: the other host's runner waits for it.
    wait = f"until [ -e {GATE} ]; do sleep 0.1; done"
    farm["node2"].install("/usr/local/bin/python3", f'#!/bin/sh\n{wait}\nexec /usr/bin/python3 "$@"\n')
    document = pdfs.write(tmp_path / "doc.pdf", pdfs.numbered(10))
    with gated(farm, node1="refused"):
        code, summary = _render(farm, document, "--sandbox", "bwrap")
    assert code == 0
    (refused,) = [host for host in summary["hosts"] if host["name"] == "node1"]
    assert refused["state"] == "refused"
    assert "apt install bubblewrap" in refused["reason"]


def test_what_a_killed_runner_left_is_cleared_by_the_next(farm: Farm, tmp_path: Path) -> None:
    """Only what is this user's, of this boot and pid namespace, and no living runner's."""
    host = farm["node1"]
    boot = host.exec("cat", "/proc/sys/kernel/random/boot_id").stdout.strip().replace("-", "")
    space = host.exec("readlink", "/proc/self/ns/pid").stdout.strip().strip("pid:[]")
    name = f"/tmp/sshrender-{boot}.{space}-99999-7-{{}}"
    dead, foreign = name.format("0" * 16), name.format("1" * 16)
    host.exec("install", "-d", "-o", "artist", dead, check=True)
    host.exec("install", "-o", "artist", "/dev/null", f"{dead}/gs_x", check=True)
    host.exec("install", "-d", foreign, check=True)
    code, _ = _render(farm, pdfs.write(tmp_path / "doc.pdf", pdfs.numbered(10)), "--on", "node1")
    assert code == 0
    wait_until(lambda: host.exec("ls", "/tmp").stdout.split() == [Path(foreign).name], 10)


def test_a_page_cannot_fill_the_disk(farm: Farm, tmp_path: Path) -> None:
    """A picture larger than four times the memory of a renderer is not written to its end."""
    page = pdfs.PdfPage((0, 0, 14_400, 14_400), b"0 0 7200 7200 re f\n")
    document = pdfs.write(tmp_path / "huge.pdf", [page, *pdfs.numbered(2)])
    words = ("--device", "ppmraw", "--page-memory", "64M", "-r", "150", "--retries", "1")
    code, summary = _render(farm, document, *words)
    assert code == 3
    assert summary["pages"]["done"] == 2
    left = [path for path in farm.san.rglob("*") if path.is_file() and path.stat().st_size > 300 << 20]
    assert left == []
