"""``render`` over real sshd: what it must show when hosts, cables and the coordinator misbehave."""

from __future__ import annotations

import json
import os
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
from tests.lab.plugin import FarmFactory
from tests.lab.slow import EACH_HAS_THREE, FOR_EVER, GATE, gated, go_on, open_gate_after, pace, slow_down
from tests.plain import SMOOTHED, page_content
from tests.stretch import page_timeout, wait_until

PROGRAM = [sys.executable, "-m", "sshrender", "render"]
FULL = (600.0, 800.0)
CRASHES = """#!/bin/sh
[ "$1" = --version ] && exec /usr/bin/gs --version
while IFS= read -r line; do
  case "$line" in *"{ "[3-8]" "*" dopdfpages"*) exit 0;; esac
  printf '%s\\n' "$line"
done | exec /usr/bin/gs "$@"
"""
"""A Ghostscript that ends at each page from the third on."""


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eighty small pages; ``pace`` says how long a job of them takes."""
    return pdfs.write(tmp_path / "big.pdf", pdfs.numbered(40))


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Twenty pages of a usual size."""
    return pdfs.write(tmp_path / "full.pdf", pdfs.numbered(20, *FULL))


def _render(
    farm: Farm, document: Path, *words: str, **inventory: Any
) -> tuple[int, dict[str, Any], str]:
    hosts = farm.write_inventory(**inventory)
    output = farm.root / "out"
    command = [*PROGRAM, str(document), "--hosts", str(hosts), "-o", str(output), "--json", *words]
    answer = farm.run(command, timeout=120)
    assert "Traceback" not in answer.stderr
    return answer.returncode, json.loads(answer.stdout or "{}"), answer.stderr


def _start(farm: Farm, document: Path, *words: str, **inventory: Any) -> subprocess.Popen[str]:
    hosts = farm.write_inventory(**inventory)
    command = [
        *PROGRAM,
        str(document),
        "--hosts",
        str(hosts),
        "-o",
        str(farm.root / "out"),
        "--json",
        *words,
    ]
    process: subprocess.Popen[str] = farm.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return process


def _await_pages(farm: Farm, count: int) -> None:
    wait_until(lambda: len(list((farm.root / "out").glob("page-*"))) >= count, 60, f"{count} pages")


def _written(farm: Farm) -> list[dict[str, Any]]:
    """The whole lines of the only job's journal, while it runs."""
    return [entry for path in farm.san.glob("*/journal.jsonl") for entry in lines_of(path)]


def _states(farm: Farm, host: str) -> list[str]:
    """The states that a host has had so far."""
    return [e["state"] for e in _written(farm) if e["type"] == "host_state" and e["host"] == host]


def _on_record(farm: Farm) -> list[int]:
    """The pages that the journal says are delivered."""
    return [entry["page"] for entry in _written(farm) if entry["type"] == "page_delivered"]


def _await_work_on_node1(farm: Farm) -> None:
    """Wait until it has a page that waits for ``GATE``: it may be met late."""

    def is_there() -> bool:
        done = _on_record(farm)
        sent = [e["page"] for e in _written(farm) if e["type"] == "page_sent" and e["host"] == "node1"]
        return any(page > 10 and page not in done for page in sent)

    wait_until(is_there, what="a page on node1")


def _finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, json.loads(stdout or "{}"), stderr


def _delivered(farm: Farm) -> list[str]:
    return sorted(path.name for path in (farm.root / "out").iterdir())


def _renderers(farm: Farm) -> dict[str, list[int]]:
    return {
        host.name: host.processes("gs") for host in farm.hosts if host.is_on() and host.processes("gs")
    }


def _no_renderers_within(farm: Farm, seconds: float) -> None:
    wait_until(lambda: not _renderers(farm), seconds, lambda: _renderers(farm))


def _journal(summary: dict[str, Any], farm: Farm) -> list[dict[str, Any]]:
    path = farm.san / summary["job"] / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def _each_page_once(summary: dict[str, Any], farm: Farm) -> None:
    pages = [e["page"] for e in _journal(summary, farm) if e["type"] == "page_delivered"]
    assert sorted(pages) == sorted(set(pages))


def _names(count: int) -> list[str]:
    return [f"page-{number:04d}.png" for number in range(1, count + 1)]


def test_two_hosts_share_the_pages_and_draw_what_ghostscript_draws(farm: Farm, full: Path) -> None:
    open_gate_after(farm.hosts, 0.25, 4, GATE)
    with gated(farm, node1="sent", node2="sent"):
        code, summary, stderr = _render(farm, full, *EACH_HAS_THREE)
    assert code == 0, stderr
    assert summary["pages"]["done"] == 20
    assert all(host["pages"] > 2 for host in summary["hosts"])
    plain = farm.root / "plain"
    plain.mkdir()
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r150", *SMOOTHED]
        + [f"-sOutputFile={plain}/page-%04d.png", str(full)],
        check=True,
    )
    for name in _names(20):
        assert page_content(farm.root / "out" / name) == page_content(plain / name), name
    assert list((farm.san / summary["job"] / "work").iterdir()) == []
    _no_renderers_within(farm, 3)


def test_of_four_hosts_the_good_one_does_it_and_the_others_are_explained(
    farm_factory: FarmFactory, tmp_path: Path
) -> None:
    farm = farm_factory(4)
    document = pdfs.write(tmp_path / "ten.pdf", pdfs.numbered(10))
    farm["node1"].load(7.5)
    farm["node2"].cut()
    farm["node3"].new_host_key()
    open_gate_after([farm["node4"]], 0.05, 4, GATE)
    with gated(farm, node1="busy", node2="lost", node3="refused"):
        code, summary, stderr = _render(farm, document)
    assert code == 0, stderr
    hosts = {host["name"]: host for host in summary["hosts"]}
    assert hosts["node4"]["pages"] == 10
    assert hosts["node1"]["state"] == "busy"
    assert "load" in hosts["node1"]["reason"]
    assert hosts["node3"]["state"] == "refused"
    assert "host key has changed" in hosts["node3"]["reason"]
    assert hosts["node2"]["state"] == "lost"
    # The kernel may give up before ssh where nobody answers for the address (connect(2)).
    assert any(words in hosts["node2"]["reason"] for words in ("no answer", "No route to host"))
    assert "node2 lost" in stderr
    assert "node3 refused" in stderr
    assert "node1 busy" in stderr


def test_an_unreachable_host_is_lost_in_words(farm_factory: FarmFactory, big: Path) -> None:
    farm = farm_factory(2)
    open_gate_after(farm.hosts, 0.0, 4, GATE)
    farm["node2"].crash()
    with gated(farm, node2="lost"):
        code, summary, _ = _render(farm, big)
    assert code == 0
    (lost,) = [host for host in summary["hosts"] if host["name"] == "node2"]
    assert lost["state"] == "lost"
    assert "node2" in lost["name"]
    assert lost["reason"]


def test_a_killed_host_loses_nothing(farm: Farm, big: Path) -> None:
    open_gate_after(farm.hosts, 0.1, 10, GATE)
    process = _start(farm, big)
    _await_pages(farm, 5)
    _await_work_on_node1(farm)
    farm["node1"].crash()
    go_on(farm)
    code, summary, stderr = _finish(process)
    assert code == 0, stderr
    assert _delivered(farm) == _names(40)
    _each_page_once(summary, farm)


def test_a_cut_cable_loses_nothing_and_leaves_nothing_running(farm: Farm, big: Path) -> None:
    open_gate_after(farm.hosts, 0.1, 10, GATE)
    process = _start(farm, big)
    _await_pages(farm, 5)
    _await_work_on_node1(farm)
    wait_until(lambda: farm["node1"].processes("gs"))
    farm["node1"].cut()
    wait_until(lambda: not farm["node1"].processes("gs"))
    wait_until(lambda: "lost" in _states(farm, "node1"))
    go_on(farm)
    code, summary, stderr = _finish(process)
    assert code == 0, stderr
    assert _delivered(farm) == _names(40)
    _each_page_once(summary, farm)
    states = [e for e in _journal(summary, farm) if e["type"] == "host_state" and e["host"] == "node1"]
    assert states[-1]["state"] == "lost"


def test_a_cable_put_back_brings_the_host_back(farm: Farm, tmp_path: Path) -> None:
    document = pdfs.write(tmp_path / "long.pdf", pdfs.numbered(80))
    open_gate_after(farm.hosts, 0.1, 10, GATE)
    process = _start(farm, document)
    _await_pages(farm, 5)
    _await_work_on_node1(farm)

    def greetings() -> int:
        types = [entry["type"] for entry in _written(farm) if entry.get("host") == "node1"]
        return types.count("host_connected")

    before = greetings()
    farm["node1"].cut()
    wait_until(lambda: "lost" in _states(farm, "node1"))
    farm["node1"].heal()
    wait_until(lambda: greetings() > before)
    go_on(farm)
    code, summary, stderr = _finish(process)
    assert code == 0, stderr
    _each_page_once(summary, farm)


def test_a_killed_coordinator_loses_nothing(farm: Farm, big: Path) -> None:
    open_gate_after(farm.hosts, 0.1, 14, GATE)
    process = _start(farm, big)
    wait_until(lambda: len(_on_record(farm)) >= 10, what="10 pages")
    process.kill()
    process.wait()
    _no_renderers_within(farm, 10)
    go_on(farm)
    before = _on_record(farm)
    assert set(_delivered(farm)) <= set(_names(40))
    code, summary, stderr = _render(farm, big)
    assert code == 0, stderr
    assert _delivered(farm) == _names(40)
    assert sum(host["pages"] for host in summary["hosts"]) <= 40 - len(before)
    _each_page_once(summary, farm)


def test_a_page_that_hangs_fails_on_three_hosts_and_the_rest_is_delivered(
    farm_factory: FarmFactory, tmp_path: Path
) -> None:
    farm = farm_factory(3)
    for host in farm.hosts:
        slow_down(host, 0.01, {5: FOR_EVER})
    document = pdfs.write(tmp_path / "hang.pdf", pdfs.numbered(12))
    code, summary, stderr = _render(farm, document, "--page-timeout", page_timeout(2))
    assert code == 3
    (failed,) = summary["failed_pages"]
    assert (failed["page"], failed["kind"]) == (5, "timeout")
    assert sorted(failed["hosts"]) == ["node1", "node2", "node3"]
    assert "page 5 failed (timeout)" in stderr
    assert len(_delivered(farm)) == 11
    _no_renderers_within(farm, 3)


def test_a_host_without_the_san_is_refused_with_the_reason(farm: Farm, big: Path) -> None:
    farm["node1"].san("gone")
    open_gate_after([farm["node2"]], 0.0, 2, GATE)
    with gated(farm, node1="refused"):
        code, summary, _ = _render(farm, big, "--pages", "1-5")
    assert code == 0
    (refused,) = [host for host in summary["hosts"] if host["name"] == "node1"]
    assert refused["state"] == "refused"
    assert "does not see the shared folder" in refused["reason"]


def test_no_host_that_sees_the_san(farm: Farm, big: Path) -> None:
    for host in farm.hosts:
        host.san("gone")
    code, _, stderr = _render(farm, big)
    assert code == 6
    assert "does not see the shared folder" in stderr


def test_a_read_only_san_on_one_host(farm: Farm, big: Path) -> None:
    farm["node1"].san("ro")
    open_gate_after([farm["node2"]], 0.0, 2, GATE)
    with gated(farm, node1="refused"):
        code, summary, _ = _render(farm, big, "--pages", "1-5")
    assert code == 0
    (refused,) = [host for host in summary["hosts"] if host["name"] == "node1"]
    assert "cannot write to the shared folder" in refused["reason"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (lambda host: host.remove("/usr/bin/gs"), 7, "Ghostscript is not installed"),
        (lambda host: host.remove("/usr/bin/python3"), 7, "python3 not found on node"),
        (lambda host: host.new_host_key(), 8, "host key has changed"),
        (lambda host: host.install("/usr/local/bin/gs", "#!/bin/sh\necho 9.27\n"), 7, "9.27 is too old"),
        (lambda host: host.load(9.0), 4, "load"),
        (lambda host: host.crash(), 4, "refused"),
    ],
)
def test_what_is_wrong_with_every_host_is_the_exit_code(
    farm: Farm,
    big: Path,
    fault: Callable[[Host], object],
    code: int,
    words: str,
) -> None:
    for host in farm.hosts:
        fault(host)
    found, summary, stderr = _render(farm, big, "--wait", "3s")
    assert found == code, stderr
    assert words in stderr
    assert summary["pages"]["missing"] == 40


def test_a_busy_host_is_left_alone_and_used_when_its_owner_leaves(farm: Farm, tmp_path: Path) -> None:
    document = pdfs.write(tmp_path / "long.pdf", pdfs.numbered(60))
    open_gate_after(farm.hosts, 0.1, 10, GATE)
    process = _start(farm, document)
    _await_pages(farm, 5)
    _await_work_on_node1(farm)
    farm["node1"].load(8.0)
    wait_until(lambda: "busy" in _states(farm, "node1"))
    busy_at = len(_written(farm))

    def later(kind: str, host: str) -> list[dict[str, Any]]:
        return [e for e in _written(farm)[busy_at:] if e["type"] == kind and e["host"] == host]

    go_on(farm, 40)
    wait_until(lambda: len(later("page_delivered", "node2")) > 5)
    assert later("page_sent", "node1") == [], "node1 still gets pages although its owner is back"
    farm["node1"].load(0.0)
    wait_until(lambda: _states(farm, "node1")[-1] == "idle")
    go_on(farm)
    code, summary, stderr = _finish(process)
    assert code == 0, stderr
    states = [
        e["state"] for e in _journal(summary, farm) if e["type"] == "host_state" and e["host"] == "node1"
    ]
    assert states == ["idle", "busy", "idle"]
    assert not summary["failed_pages"]
    _each_page_once(summary, farm)


def test_hosts_may_log_in_as_another_user_than_the_coordinator(farm: Farm, big: Path) -> None:
    code, summary, stderr = _render(farm, big, "--pages", "1-3")
    assert code == 0, stderr
    owners = {path.stat().st_uid for path in (farm.san / summary["job"] / "pages").iterdir()}
    assert owners == {os.geteuid()}  # copied: who owns a page could write to it after its verification


def test_a_password_never_reaches_the_san_or_a_command_line(farm: Farm, tmp_path: Path) -> None:
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(40))
    locked = pdfs.protect(plain, tmp_path / "locked.pdf", "s3cretword")
    (tmp_path / "password").write_text("s3cretword\n")
    pace(farm.hosts, 0.12)
    process = _start(farm, locked, "--password-file", str(tmp_path / "password"))
    _await_pages(farm, 5)
    listed = farm.run(["ps", "-ww", "-eo", "args"]).stdout
    code, summary, stderr = _finish(process)
    assert code == 0, stderr
    assert "s3cretword" not in listed + stderr
    for path in (farm.san / summary["job"]).rglob("*"):
        assert not path.is_file() or b"s3cretword" not in path.read_bytes()


def test_a_full_san_pauses_the_job_and_loses_nothing(farm: Farm, full: Path) -> None:
    """A SAN of three megabytes, filled by the first pages, then grown."""
    san = farm.root / "small"
    san.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "small", str(san)]
    assert farm.run(mount).returncode == 0
    command = [
        *PROGRAM,
        str(full),
        "--san",
        str(san),
        "-o",
        str(san / "out"),
        "--json",
        "--device",
        "ppmraw",
    ]
    told = farm.root / "stderr"
    with told.open("w") as log:
        process = farm.popen([*command, "-r", "72"], stdout=subprocess.PIPE, stderr=log)
    wait_until(lambda: "storage failed" in told.read_text())
    assert process.poll() is None
    assert farm.run(["mount", "-o", "remount,size=400m", str(san)]).returncode == 0
    code, summary, _ = _finish(process)
    stderr = told.read_text()
    assert code == 0, stderr
    assert "storage failed" in stderr
    assert "storage works again" in stderr
    assert summary["pages"] == {"total": 20, "done": 20, "suspect": 0, "failed": 0, "missing": 0}


def test_the_story_of_a_page_tells_why_it_moved(farm: Farm, big: Path) -> None:
    """Lost with its host, it waited again, and another drew it."""
    open_gate_after(farm.hosts, 0.1, 10, GATE)
    process = _start(farm, big)
    _await_pages(farm, 5)
    _await_work_on_node1(farm)
    farm["node1"].crash()
    go_on(farm)
    assert _finish(process)[0] == 0
    (journal,) = farm.san.glob("*/journal.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    page = next(entry["page"] for entry in entries if entry["type"] == "page_returned")
    words = ["why", str(journal.parent), "--page", str(page), "--hosts", str(farm.root / "hosts.toml")]
    told = farm.run([*PROGRAM[:-1], *words]).stdout
    assert f"page {page} taken back from node1: the host was disconnected" in told
    assert f"page {page} delivered from node2" in told


def _from_cron(
    farm: Farm, document: Path, *words: str, slots: int = 1
) -> subprocess.CompletedProcess[str]:
    """With the environment that cron(8) gives, and no terminal."""
    hosts = farm.write_inventory(slots=slots)
    bare = {"HOME": str(farm.home), "LOGNAME": "root", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    taken = {name: None for name in os.environ if name not in bare}
    command = [*PROGRAM, str(document), "--hosts", str(hosts), "-o", str(farm.root / "out"), "--quiet"]
    return farm.run([*command, *words], env={**taken, **bare})


def test_cron_is_silent_when_all_is_well(farm: Farm, big: Path) -> None:
    answer = _from_cron(farm, big)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert len(_delivered(farm)) == 40


def test_cron_mails_ten_useful_lines_when_it_is_not(farm_factory: FarmFactory, tmp_path: Path) -> None:
    """Many hosts that cannot be used, and many pages that cannot be drawn."""
    farm = farm_factory(4)
    for name in ("node2", "node3", "node4"):
        farm[name].crash()
    farm["node1"].install("/usr/local/bin/gs", CRASHES)
    document = pdfs.write(tmp_path / "bad.pdf", pdfs.numbered(8))
    answer = _from_cron(farm, document, "--retries", "1", slots=3)
    assert answer.returncode == 3
    lines = answer.stderr.splitlines()
    assert len(lines) <= 10
    assert "partial, 2 of 8 pages" in lines[0]
    assert sum("failed (crashed)" in line for line in lines) == 3
    assert "and 3 more failed pages" in answer.stderr
    assert "and 1 more host that could not be used" in answer.stderr
    assert lines[-1].startswith("hint: sshrender why bad-")
