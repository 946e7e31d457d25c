"""Hosts without a SAN: the document goes there by SFTP, pages come back, and nothing stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.entries import lines_of
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.requirements import require_sandbox
from tests.lab.slow import EACH_HAS_THREE, GATE, gated, go_on, open_gate_after
from tests.plain import SMOOTHED, page_content
from tests.stretch import wait_until
from tests.unit.test_switches_warm import ICC

PROGRAM = [sys.executable, "-m", "sshrender"]
NO_SAN = {"san": False}


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Thirty small pages; a gate says how long a job of them takes."""
    return pdfs.write(tmp_path / "big.pdf", pdfs.numbered(30))


def _start(farm: Farm, document: Path, inventory: Path, *words: str) -> subprocess.Popen[str]:
    command = [*PROGRAM, "render", str(document), "--hosts", str(inventory), "-r", "72"]
    command += ["-o", str(farm.root / "out"), "--json", *words]
    return farm.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _end(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr
    return process.returncode, json.loads(stdout or "{}"), stderr


def _journal(job_dir: str | Path) -> list[dict[str, Any]]:
    return lines_of(Path(job_dir) / "journal.jsonl")


def _left_on(host: Host) -> list[str]:
    """What of ours lies on a host's disk, and is not this machine's, whose root is below the host's."""
    command = "find /tmp /var/tmp /home/artist -name '*sshrender*' -not -path '*/.ssh/*'"
    found = host.exec("sh", "-c", command).stdout.split()
    return [path for path in found if not Path(path).exists()]


def _nothing_left_within(farm: Farm, seconds: float) -> None:
    def left() -> dict[str, list[str]]:
        return {host.name: found for host in farm.hosts if host.is_on() and (found := _left_on(host))}

    wait_until(lambda: not left(), seconds, left, pause=0.2)


def _plain(document: Path, folder: Path, *switches: str) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r72", *SMOOTHED]
        + [*switches, f"-sOutputFile={folder}/page-%04d.png", str(document)],
        check=True,
    )
    return {path.name: page_content(path) for path in folder.iterdir()}


def _delivered(farm: Farm) -> dict[str, bytes]:
    return {path.name: page_content(path) for path in (farm.root / "out").iterdir()}


def test_hosts_with_and_without_a_san_draw_one_job(farm: Farm, big: Path) -> None:
    inventory = farm.write_inventory(extra={"node2": NO_SAN})
    farm["node2"].san("gone")
    open_gate_after(farm.hosts, 0.24, 4, GATE)
    with gated(farm, node1="sent", node2="sent"):
        code, summary, stderr = _end(_start(farm, big, inventory, *EACH_HAS_THREE))
    assert code == 0, stderr
    assert summary["pages"]["done"] == 30
    assert all(host["pages"] > 2 for host in summary["hosts"]), summary["hosts"]
    assert _delivered(farm) == _plain(big, farm.root / "plain")
    _nothing_left_within(farm, 5)
    manifest = json.loads((farm.san / summary["job"] / "manifest.json").read_text())
    assert {page["host"] for page in manifest["pages"]} == {"node1", "node2"}


def test_an_icc_profile_travels_to_hosts_with_and_without_a_san(farm: Farm, tmp_path: Path) -> None:
    """Though no host has the path that the user typed, and renderers are in a sandbox."""
    require_sandbox()
    document = pdfs.write(tmp_path / "big.pdf", pdfs.numbered(24, 300.0, 400.0))
    profile = farm.home / "my paper.icc"
    profile.write_bytes(ICC.read_bytes())
    inventory = farm.write_inventory(extra={"node2": NO_SAN})
    farm["node2"].san("gone")
    switch = f"-sOutputICCProfile={profile}"
    words = ["--gs-option", switch, "--size", "200x300px", "--sandbox", "bwrap", *EACH_HAS_THREE]
    code, summary, stderr = _end(_start(farm, document, inventory, *words))
    assert code == 0, stderr
    assert all(host["pages"] for host in summary["hosts"]), summary["hosts"]
    fitted = ("-g200x300", "-dFIXEDMEDIA", "-dPDFFitPage")
    assert _delivered(farm) == _plain(document, farm.root / "plain", switch, *fitted)
    _nothing_left_within(farm, 5)


def _without_san(farm: Farm, **defaults: Any) -> Path:
    inventory = farm.write_inventory(defaults={**NO_SAN, **defaults})
    text = inventory.read_text()
    inventory.write_text(text.replace(f'[san]\npath = "{farm.san_inside}"\n', ""))
    for host in farm.hosts:
        host.san("gone")
    return inventory


def test_no_san_at_all(farm: Farm, big: Path) -> None:
    inventory = _without_san(farm)
    assert "[san]" not in inventory.read_text()
    code, summary, stderr = _end(_start(farm, big, inventory))
    assert code == 0, stderr
    assert Path(summary["job_dir"]).is_relative_to(farm.home)
    assert _delivered(farm) == _plain(big, farm.root / "plain")
    assert list(farm.san.iterdir()) == []
    _nothing_left_within(farm, 5)
    again = _end(_start(farm, big, inventory))
    assert again[0] == 0
    asked = farm.run([*PROGRAM, "status", "--hosts", str(inventory)])
    assert summary["job"] in asked.stdout


def test_a_large_document_goes_there_in_parts(farm: Farm, tmp_path: Path) -> None:
    """And hosts get those parts that they render, not each all of them."""
    document = pdfs.write(tmp_path / "large.pdf", pdfs.heavy(48, 500_000))
    inventory = _without_san(farm)
    code, summary, stderr = _end(_start(farm, document, inventory))
    assert code == 0, stderr
    parts = sorted(path.name for path in (Path(summary["job_dir"]) / "parts").iterdir())
    assert len(parts) >= 5
    shares: dict[str, set[str]] = {}
    for entry in _journal(summary["job_dir"]):
        if entry["type"] == "page_delivered":
            shares.setdefault(parts[(entry["page"] - 1) // 8], set()).add(entry["host"])
    assert sum(len(hosts) for hosts in shares.values()) <= len(shares) + 2
    assert _delivered(farm) == _plain(document, farm.root / "plain")


@pytest.mark.parametrize(
    "breaks",
    [
        Host.crash,
        pytest.param(Host.power_loss, marks=pytest.mark.matrix),
        Host.cut,
        lambda host: [host.exec("kill", "-9", "--", str(pid)) for pid in _runners(host)],
    ],
    ids=["crash", "power loss", "cable", "runner killed"],
)
def test_a_host_that_is_lost_takes_no_page_along(
    farm: Farm, big: Path, breaks: Callable[[Host], object]
) -> None:
    inventory = farm.write_inventory(extra={"node2": NO_SAN})
    open_gate_after(farm.hosts, 0.1, 14, GATE)
    process = _start(farm, big, inventory)
    _await_pages(farm, 10)
    _await_work_of_each(farm)
    breaks(farm["node2"])
    go_on(farm)
    code, summary, stderr = _end(process)
    assert code == 0, stderr
    assert summary["pages"]["done"] == 30
    assert _delivered(farm) == _plain(big, farm.root / "plain")


def _runners(host: Host) -> list[str]:
    found = host.exec("pgrep", "-f", "sshrender-runner").stdout.split()
    assert found
    return found


def _await_pages(farm: Farm, count: int) -> None:
    wait_until(lambda: len(list((farm.root / "out").glob("page-*"))) >= count, 60, f"{count} pages")


def _await_work_of_each(farm: Farm) -> None:
    """Wait until each host was sent a page, however late it is met."""

    def workers() -> set[str]:
        journals = [*farm.san.glob("*/journal.jsonl"), *farm.home.glob(".local/**/journal.jsonl")]
        entries = [entry for path in journals for entry in lines_of(path)]
        return {entry["host"] for entry in entries if entry["type"] == "page_sent"}

    wait_until(lambda: workers() == {host.name for host in farm.hosts}, what=workers)


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_when_the_coordinator_ends_nothing_is_left_on_hosts(farm: Farm, big: Path, signal: str) -> None:
    inventory = _without_san(farm)
    open_gate_after(farm.hosts, 0.24, 10, GATE)
    process = _start(farm, big, inventory)
    _await_pages(farm, 5)
    assert any(_left_on(host) for host in farm.hosts)
    subprocess.run(["kill", f"-{signal}", str(process.pid)], check=True)
    process.communicate(timeout=60)
    _nothing_left_within(farm, 12)
    go_on(farm)
    assert _end(_start(farm, big, inventory))[0] == 0


def test_a_killed_runner_leaves_no_document_behind(farm: Farm, big: Path) -> None:
    inventory = _without_san(farm)
    open_gate_after(farm.hosts, 0.1, 14, GATE)
    process = _start(farm, big, inventory)
    _await_pages(farm, 10)
    _await_work_of_each(farm)
    for host in farm.hosts:
        for pid in _runners(host):
            host.exec("kill", "-9", pid)
    go_on(farm)
    code, _, stderr = _end(process)
    assert code == 0, stderr
    _nothing_left_within(farm, 5)


def test_a_host_without_sftp_is_refused_and_told_of(farm: Farm, big: Path) -> None:
    farm["node2"].sshd_config(Subsystem=None)
    inventory = farm.write_inventory(extra={"node2": NO_SAN})
    open_gate_after([farm["node1"]], 0.05, 4, GATE)
    with gated(farm, node2="refused"):
        code, summary, _ = _end(_start(farm, big, inventory))
    assert code == 0
    (host,) = [host for host in summary["hosts"] if host["name"] == "node2"]
    assert host["state"] == "refused"
    assert "SFTP" in host["reason"]
    asked = farm.run([*PROGRAM, "hosts", "--hosts", str(inventory)])
    assert "offers no SFTP" in asked.stdout


def test_a_host_without_room_is_refused_and_told_of(farm: Farm, tmp_path: Path) -> None:
    document = pdfs.write(tmp_path / "large.pdf", pdfs.heavy(10, 1_000_000))
    farm["node2"].exec("mkdir", "-m", "1777", "/small", check=True)
    farm["node2"].exec("mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "small", "/small", check=True)
    inventory = farm.write_inventory(extra={"node2": {**NO_SAN, "scratch": "/small"}})
    open_gate_after([farm["node1"]], 0.05, 4, GATE)
    with gated(farm, node2="gone"):
        code, summary, stderr = _end(_start(farm, document, inventory))
    assert code == 0, stderr
    (host,) = [host for host in summary["hosts"] if host["name"] == "node2"]
    assert host["state"] in ("refused", "lost")
    assert host["pages"] == 0
    assert summary["pages"]["done"] == 10
