"""The dashboard in a real terminal, over real sshd: neither the job nor its watchers need the other."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.entries import lines_of
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.lab.slow import open_gate_after, pace
from tests.lab.terminal import Terminal
from tests.stretch import wait_until

PROGRAM = [sys.executable, "-m", "sshrender"]
PAGES = 20
GATE = "/mnt/san/go"


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Small pages; those after some wait for ``GATE``, so that a job lasts as long as the test needs."""
    return pdfs.write(tmp_path / "big.pdf", pdfs.numbered(PAGES))


def _render(farm: Farm, document: Path, *words: str) -> list[str]:
    hosts = str(farm.write_inventory())
    return [*PROGRAM, "render", str(document), "--hosts", hosts, "-o", str(farm.root / "out"), *words]


def _delivered(farm: Farm) -> int:
    return len(list((farm.root / "out").glob("page-*.png")))


def _journal(farm: Farm) -> list[dict[str, Any]]:
    (path,) = farm.san.glob("big-*/journal.jsonl")
    return lines_of(path)


def _has_ended(farm: Farm) -> bool:
    return any(entry["type"] == "run_ended" for entry in _journal(farm))


def test_render_at_a_terminal_shows_a_lost_host_and_ends_with_the_job(
    farm_factory: FarmFactory, big: Path
) -> None:
    farm = farm_factory(3)
    open_gate_after(farm.hosts, 0.5, 9, GATE)
    with Terminal(farm, _render(farm, big), width=160, height=50) as terminal:
        terminal.wait_for("running", "node1", "■")
        farm["node2"].crash()
        terminal.wait_for("node2", "○ lost")
        (farm.san / "go").touch()
        assert terminal.status() == 0
        assert f"done, {PAGES} of {PAGES} pages" in terminal.text()
    assert _delivered(farm) == PAGES
    (overview,) = farm.san.glob("big-*/overview.html")
    assert '"state":"done"' in overview.read_text()
    # How many there are depends on what they cost here (runner/rendering/thumbnailbudget.py).
    assert list(overview.parent.glob("thumbs/page-*.png"))


@pytest.mark.parametrize("how", ["q", "the terminal is closed"])
def test_the_job_goes_on_when_its_watcher_leaves(farm: Farm, big: Path, how: str) -> None:
    open_gate_after(farm.hosts, 0.5, 6, GATE)
    with Terminal(farm, _render(farm, big)) as terminal:
        terminal.wait_for("running", "■")
        if how == "q":
            terminal.press("q")
            assert terminal.status() == 0
            assert "sshrender watch big-" in terminal.text()
        else:
            terminal.close()
    assert _delivered(farm) < PAGES
    watch = [*PROGRAM, "watch", "big", "--hosts", str(farm.root / "hosts.toml")]
    with Terminal(farm, watch) as terminal:
        terminal.wait_for("running")
        (farm.san / "go").touch()
        wait_until(lambda: _has_ended(farm), what="the end of the job")
        terminal.wait_for("done", "100 %")
        terminal.press("q")
        assert terminal.status() == 0
    assert _delivered(farm) == PAGES


def test_ctrl_c_stops_the_job_and_leaves_nothing_behind(farm: Farm, big: Path) -> None:
    open_gate_after(farm.hosts, 0.5, 6, GATE)
    with Terminal(farm, _render(farm, big)) as terminal:
        terminal.wait_for("running", "■")
        terminal.press("C-c")
        assert terminal.status() == 130
        assert "partial" in terminal.text()
    wait_until(lambda: not any(host.processes("gs") for host in farm.hosts), 10, "the last renderer")
    before = _delivered(farm)
    assert 0 < before < PAGES
    pace(farm.hosts, 0.0)
    answer = farm.run(_render(farm, big), timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert _delivered(farm) == PAGES


def test_ctrl_c_twice_stops_it_at_once(farm: Farm, big: Path) -> None:
    open_gate_after(farm.hosts, 0.5, 6, GATE)
    with Terminal(farm, _render(farm, big)) as terminal:
        terminal.wait_for("running", "■")
        terminal.press("C-c")
        terminal.press("C-c")
        assert terminal.status() == 130
    wait_until(lambda: not any(host.processes("gs") for host in farm.hosts), 10, "the last renderer")


def test_requests_travel_over_the_san(farm: Farm, tmp_path: Path) -> None:
    """Held, released, a host drained and given back, cancelled: all by another process than the job."""
    pace(farm.hosts, 4.0)
    endless = pdfs.write(
        tmp_path / "big.pdf", pdfs.numbered(40 * PAGES)
    )  # 1600 s, until it is cancelled
    job = farm.popen(_render(farm, endless, "--quiet"))
    wait_until(lambda: _delivered(farm) > 2, what="the first pages")
    watch = [*PROGRAM, "watch", "--hosts", str(farm.root / "hosts.toml")]
    with Terminal(farm, watch) as terminal:
        terminal.wait_for("1 running", "big-", "node1")  # the whole queue
        terminal.press("Enter")
        terminal.wait_for("running", "■")
        terminal.press("h")
        terminal.wait_for("held by")
        held = terminal.wait_for("no page in work")
        assert "held" in held
        terminal.press("h")
        terminal.wait_for("running")
        terminal.press("2")
        terminal.press("Home")
        terminal.press("d")
        terminal.wait_for("drain node1")
        terminal.press("a new disk", "Enter")
        terminal.wait_for("drained", "a new disk")
        wait_until(
            lambda: not farm["node1"].processes("gs") or _is_idle(farm, "node1"), 30, "an idle host"
        )
        terminal.press("u")
        terminal.wait_until(lambda text: "drained" not in text, "node1 back")
        terminal.press("x")
        terminal.wait_for("Cancel the job")
        terminal.press("y")
        terminal.wait_for("cancelled")
    assert job.wait(90) == 3
    asked = [entry["op"] for entry in _journal(farm) if entry["type"] == "requested"]
    assert asked == ["hold", "release", "drain", "undrain", "cancel"]
    status = farm.run([*PROGRAM, "status", "big", "--json", "--hosts", str(farm.root / "hosts.toml")])
    assert json.loads(status.stdout)["state"] == "cancelled"


def _is_idle(farm: Farm, host: str) -> bool:
    """The last thing that became of each page sent there was that it came back or was delivered."""
    held = set()
    for entry in _journal(farm):
        if entry.get("host") == host and entry["type"] == "page_sent":
            held.add(entry["attempt"])
        elif entry["type"] in ("page_returned", "page_delivered", "attempt_failed"):
            held.discard(entry["attempt"])
    return not held


@pytest.mark.parametrize(
    ("env", "size"),
    [
        ({"NO_COLOR": "1"}, (80, 24)),
        ({"TERM": "screen", "COLORTERM": ""}, (50, 20)),
        ({"TERM": "linux", "COLORTERM": ""}, (80, 24)),
    ],
    ids=["NO_COLOR", "screen with 8 colours", "the Linux console"],
)
def test_every_terminal_gets_a_dashboard_that_it_can_show(
    farm: Farm, big: Path, env: dict[str, str], size: tuple[int, int]
) -> None:
    open_gate_after(farm.hosts, 0.2, 6, GATE)
    with Terminal(farm, _render(farm, big), width=size[0], height=size[1], env=env) as terminal:
        done = "#" if env.get("TERM") == "linux" else "■"
        text = terminal.wait_for("running", done)
        if env.get("TERM") == "linux":
            for char in text:  # what the fonts of the console have
                assert char == "…" or ord(char) < 256 or char.encode("cp437")
        colours = terminal.text(with_colours=True)
        if "NO_COLOR" in env:
            assert "\x1b[3" not in colours.replace("\x1b[39m", "").replace("\x1b[3m", "")
        elif env.get("TERM") == "screen":
            assert "\x1b[38;" not in colours
        (farm.san / "go").touch()
        assert terminal.status() == 0


def test_without_a_terminal_there_are_plain_lines_and_one_that_says_why(farm: Farm, big: Path) -> None:
    answer = farm.run(_render(farm, big, "--progress", "tui", "--pages", "1-10"), timeout=120)
    assert answer.returncode == 0
    assert "no dashboard: standard input is not a terminal" in answer.stderr
    assert "\x1b" not in answer.stderr
    words = [*PROGRAM, "watch", "big", "--hosts", str(farm.root / "hosts.toml")]
    answer = farm.run(words)
    assert answer.returncode == 0
    assert answer.stderr.count("\n") == 1
    assert "run ended: done" in answer.stdout


def test_a_document_that_cannot_be_rendered_is_said_without_a_dashboard(farm: Farm) -> None:
    with Terminal(farm, _render(farm, farm.root / "none.pdf")) as terminal:
        assert terminal.status() == 5
        assert "error:" in terminal.text()


def test_json_of_an_attended_run_is_one_object_on_stdout(farm: Farm, big: Path) -> None:
    out = farm.root / "summary.json"
    command = [*_render(farm, big, "--json", "--pages", "1-10")]
    shell = f"exec \"$@\" > '{out}'"
    with Terminal(farm, ["sh", "-c", shell, "sh", *command]) as terminal:
        assert terminal.status() == 0
    assert json.loads(out.read_text())["state"] == "done"


_FAILS = """
import os, sys
end, command = os._exit, os.getpid()
def told(code):
    if os.getpid() == command:
        open(__file__ + ".code", "w").write(str(code))
    end(code)
os._exit = told
from sshrender.views.dashboard.app import Dashboard
tick = Dashboard._update
def fail(self):
    if self._model.changed:
        self._handle_exception(ZeroDivisionError("a defect"))
    tick(self)
Dashboard._update = fail
import sshrender.__main__ as program
sys.argv[0] = "sshrender"
program.main()
"""


@pytest.mark.parametrize("is_stopped", [False, True])
def test_where_the_dashboard_fails_the_job_goes_on_under_plain_lines(
    farm: Farm, big: Path, is_stopped: bool
) -> None:
    open_gate_after(farm.hosts, 0.5, 6, GATE)
    script = farm.root / "failing.py"
    script.write_text(_FAILS)
    words = [sys.executable, str(script), *_render(farm, big)[len(PROGRAM) :]]
    with Terminal(farm, words, width=160) as terminal:
        terminal.wait_for("the dashboard failed")
        if is_stopped:
            terminal.press("C-c")  # at the terminal's shell, too, which cannot tell the exit status then
        else:
            (farm.san / "go").touch()
            assert terminal.status() == 0
            assert f"done, {PAGES} of {PAGES} pages" in terminal.text()
        code = script.with_name(script.name + ".code")
        wait_until(lambda: code.exists() and code.read_text() != "", what="the end of the command")
    assert int(code.read_text()) == (130 if is_stopped else 0)
    assert _has_ended(farm)
    (log,) = farm.home.glob(".local/state/sshrender/**/*.log")
    assert "ZeroDivisionError: a defect" in log.read_text()
