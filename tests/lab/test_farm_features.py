"""On real hosts: recipes, memory, several documents at once, one file of pages that travelled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.entries import lines_of
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.plugin import FarmFactory
from tests.lab.slow import EACH_HAS_THREE, GATE, gated, go_on, open_gate_after
from tests.stretch import wait_until

PROGRAM = [sys.executable, "-m", "sshrender"]


@pytest.fixture
def thirty(tmp_path: Path) -> Path:
    """Thirty small pages."""
    return pdfs.write(tmp_path / "thirty.pdf", pdfs.numbered(30))


def _start(farm: Farm, *words: object, **inventory: Any) -> subprocess.Popen[str]:
    hosts = farm.write_inventory(**inventory)
    command = [*PROGRAM, "render", *map(str, words), "--hosts", str(hosts), "-r", "40", "--json"]
    pipe = subprocess.PIPE
    return farm.popen([*command, "-o", str(farm.root / "out")], stdout=pipe, stderr=pipe)


def _end(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    stdout, stderr = process.communicate(timeout=150)
    assert "Traceback" not in stderr
    return process.returncode, json.loads(stdout or "{}"), stderr


def _journal(farm: Farm) -> list[dict[str, Any]]:
    return [entry for path in farm.san.glob("*/journal.jsonl") for entry in lines_of(path)]


def _host(summary: dict[str, Any], name: str) -> dict[str, Any]:
    (host,) = [host for host in summary["hosts"] if host["name"] == name]
    return dict(host)


def test_a_host_without_the_recipes_program_is_refused_and_named(farm: Farm, thirty: Path) -> None:
    farm["node2"].remove("/usr/bin/pdftoppm")
    wait = f"until [ -e {GATE} ]; do sleep 0.1; done"
    script = f'#!/bin/sh\n{wait}\nexec /usr/bin/pdftoppm "$@"\n'
    farm["node1"].install("/usr/local/bin/pdftoppm", script)
    with gated(farm, node2="refused"):
        code, summary, stderr = _end(_start(farm, thirty, "--recipe", "pdftoppm"))
    assert code == 0, stderr
    assert _host(summary, "node2")["state"] == "refused"
    assert "recipe pdftoppm needs pdftoppm" in _host(summary, "node2")["reason"]
    assert _host(summary, "node1")["pages"] == 30


@pytest.mark.parametrize("kind", ["san", "key"])
def test_a_host_that_was_repaired_renders_in_the_same_run_after_undrain(
    farm: Farm, thirty: Path, kind: str
) -> None:
    open_gate_after(farm.hosts, 0.05, 4, GATE)
    node2 = farm["node2"]
    keys = node2._config / "authorized_keys"
    before = keys.read_text()
    if kind == "key":
        keys.write_text("")
    else:
        node2.san("gone")
    process = _start(farm, thirty, "--pin", "30=node2")
    _await_state(farm, "refused")
    keys.write_text(before)
    node2.san("back")
    undrain = [*PROGRAM, "undrain", "node2", "--hosts", str(farm.root / "hosts.toml")]
    said = farm.run(undrain)
    assert said.returncode == 0
    assert "1 running job informed" in said.stderr
    _await_state(farm, "idle")
    go_on(farm)
    code, summary, stderr = _end(process)
    assert code == 0, stderr
    assert _host(summary, "node2")["pages"] >= 1


def _await_state(farm: Farm, state: str) -> None:
    """Wait until node2 is in this state."""

    def is_there() -> bool:
        states = [each for each in _journal(farm) if each["type"] == "host_state"]
        return any((each["host"], each["state"]) == ("node2", state) for each in states)

    wait_until(is_there, 60, lambda: _journal(farm))


def test_what_is_fallen_back_to_need_not_be_everywhere(farm: Farm, thirty: Path) -> None:
    farm["node2"].remove("/usr/bin/pdftoppm")
    (farm.root / "sshrender.toml").write_text(
        "[recipes.fussy]\n"
        'shell = \'test $((number % 10)) != 3 && exec mutool draw -q -r "$dpi" -o "$output"'
        ' "$document" "$page"\'\n'
        'extension = "png"\nfallback = ["pdftoppm"]\n'
    )
    config = ["--config", farm.root / "sshrender.toml", "--recipe", "fussy", "--retries", "2"]
    config += ["--pin", "1=node2"]  # or it may be met too late to get a page
    code, summary, stderr = _end(_start(farm, thirty, *config))
    assert code == 0, stderr
    pages = json.loads((Path(farm.san) / summary["job"] / "manifest.json").read_text())["pages"]
    fallen = {page["page"]: page["host"] for page in pages if page["renderer"] == "pdftoppm"}
    assert fallen == {3: "node1", 13: "node1", 23: "node1"}
    assert {page["host"] for page in pages} == {"node1", "node2"}


def test_a_recipe_on_a_host_without_a_san(farm: Farm, thirty: Path) -> None:
    extra = {"node1": {"san": False}, "node2": {"san": False}}
    words = ("--recipe", "mutool", "--assemble", "zip", *EACH_HAS_THREE)
    code, summary, stderr = _end(_start(farm, thirty, *words, extra=extra))
    assert code == 0, stderr
    assert all(host["pages"] for host in summary["hosts"])
    with zipfile.ZipFile(summary["assembled"]) as archive:
        assert len(archive.namelist()) == 30
        assert archive.testzip() is None


def test_the_load_of_a_recipe_is_not_taken_for_the_owners(farm: Farm, thirty: Path) -> None:
    (farm.root / "sshrender.toml").write_text(
        "[recipes.busy]\n"
        'shell = \'timeout 0.5 sh -c "while :; do :; done" || true;'
        ' exec mutool draw -q -r "$dpi" -o "$output" "$document" "$page"\'\n'
        'extension = "png"\n'
    )
    config = ["--config", farm.root / "sshrender.toml", "--recipe", "busy", "--pages", "1-16"]
    code, _, stderr = _end(_start(farm, thirty, *config))
    assert code == 0, stderr
    states = [entry["state"] for entry in _journal(farm) if entry["type"] == "host_state"]
    assert "busy" not in states


MEMINFO = (
    "MemTotal: 8000000 kB\nMemFree: {0} kB\nMemAvailable: {0} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
)


def _memory(host: Host, megabytes: int) -> None:
    """What the host says of its memory from now on."""
    text = MEMINFO.format(megabytes * 1024)
    script = "cat > /run/lab/meminfo; mountpoint -q {0} || mount --bind /run/lab/meminfo {0}"
    script = script.replace("{0}", "/proc/meminfo")
    host.exec("bash", "-c", script, data=text, check=True)


def test_slots_are_as_many_as_there_is_memory_for(farm_factory: FarmFactory, thirty: Path) -> None:
    farm = farm_factory(1, cpus=8)
    _memory(farm["node1"], 800)
    code, _, stderr = _end(_start(farm, thirty, slots=None))
    assert code == 0, stderr
    (greeting,) = [entry for entry in _journal(farm) if entry["type"] == "host_connected"]
    assert (greeting["cores"], greeting["slots"]) == (8, 3)


def test_a_host_that_runs_short_of_memory_draws_fewer_pages_at_once(
    farm_factory: FarmFactory, thirty: Path
) -> None:
    farm = farm_factory(1, cpus=3)
    _memory(farm["node1"], 4000)
    open_gate_after(farm.hosts, 0.1, 3, GATE)
    process = _start(farm, thirty, slots=3)

    def kinds() -> list[str]:
        return [entry["kind"] for entry in _journal(farm) if entry["type"] == "attempt_failed"]

    wait_until(lambda: [entry for entry in _journal(farm) if entry["type"] == "page_delivered"])
    _memory(farm["node1"], 100)
    wait_until(kinds, what="a page that is given up")
    go_on(farm)
    code, summary, stderr = _end(process)
    assert code == 0, stderr
    assert set(kinds()) == {"low_memory"}
    assert summary["pages"]["done"] == 30
    assert _host(summary, "node1")["failures"] == 0


def test_several_documents_share_the_slots_of_real_hosts(farm: Farm, tmp_path: Path) -> None:
    documents = [pdfs.write(tmp_path / f"d{n}.pdf", pdfs.numbered(12)) for n in range(3)]
    open_gate_after(farm.hosts, 0.3, 2, GATE)
    process = _start(farm, *documents)
    most, is_open = 0, False
    while process.poll() is None:
        held = [_slots_held(host) for host in farm.hosts]
        most = max(most, *held)
        if all(held) and not is_open:
            is_open = True
            go_on(farm)
        time.sleep(0.1)
    code, summary, stderr = _end(process)
    assert code == 0, stderr
    assert [job["pages"]["done"] for job in summary["jobs"]] == [12, 12, 12]
    assert most == 1, "one slot a host, for all jobs together"


def _slots_held(host: Host) -> int:
    """Return how many slots are held, as the host's kernel lists them (proc(5), net/unix)."""
    listed = host.exec("cat", "/proc/net/unix").stdout.splitlines()
    return len({line.split()[-1] for line in listed if "@sshrender-" in line and "-slot-" in line})
