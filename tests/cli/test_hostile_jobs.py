"""Jobs of another user that hold anything at all: no command of anybody else's minds, or repeats it."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import sshrender as package
from sshrender.core.snapshot import HostView, Snapshot
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.journal import JournalWriter
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.queue import drains
from sshrender.job.spec import DocumentRecord, JobSpec, RecipeRecord, RenderSettings
from sshrender.storage import processidentity
from sshrender.views import safeprint
from sshrender.views.dashboard.app import Dashboard
from sshrender.views.plain import PlainView
from sshrender.views.progressboard import BoardView
from sshrender.views.text import CONTROL
from tests.conftest import Run
from tests.entries import entry
from tests.tui.journals import FakeJob, Journal, Watcher

EVIL = "e\x1b]0;owned\x07\x9b31m\u202e\u2066\u2028[red]\ufff9\x7f"
PAGE = {"page": 1, "host": EVIL, "attempt": EVIL}
DELIVERED = {"file": EVIL, "bytes": 1, "sha256": EVIL, "width": 1, "height": 1, "ghostscript": EVIL}
HOST = {"host": EVIL, "cores": 1, "slots": 1, "ghostscript": EVIL, "python": EVIL}
ASKED = {"op": EVIL, "by": EVIL, "host": EVIL, "page": 1, "note": EVIL, "is_late": False}
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What Rich itself writes."""

SPARSE = 4 << 40


def _entries() -> list[JournalEntry]:
    told: list[tuple[str, dict[str, Any]]] = [
        ("run_started", {"epoch": 1, "coordinator": EVIL, "output": EVIL, "hosts": [EVIL]}),
        ("host_connected", HOST),
        ("host_state", {"host": EVIL, "state": EVIL, "reason": EVIL}),
        ("page_sent", {**PAGE, "because": EVIL}),
        ("attempt_failed", {**PAGE, "kind": EVIL, "reason": EVIL}),
        ("page_returned", {**PAGE, "reason": EVIL}),
        ("attempt_dropped", {**PAGE, "reason": EVIL, "is_hedged": True}),
        ("page_delivered", {**PAGE, **DELIVERED, "seconds": 1, "attempts": 1, "diagnostics": [EVIL]}),
        ("page_failed", {"page": 2, "kind": EVIL, "reason": EVIL, "attempts": 1, "hosts": [EVIL]}),
        ("page_fell_back", {"page": 2, "to": EVIL, "reason": EVIL}),
        ("document_diagnosed", {"host": EVIL, "diagnostics": [EVIL]}),
        ("fonts_missing", {"fonts": {EVIL: "1"}}),
        ("reference_chosen", {"agreed": 1, "ghostscript": EVIL, "canary": EVIL, "fonts": EVIL}),
        ("storage_failed", {"reason": EVIL}),
        ("split_failed", {"reason": EVIL}),
        ("thumbnails_lost", {"count": 1, "reason": EVIL}),
        ("requested", ASKED),
        ("requested", {**ASKED, "op": "alter", "changes": {EVIL: EVIL}}),
        ("run_ended", {"state": EVIL, "reason": EVIL}),
    ]
    return [entry(kind, 1.8e9, **fields) for kind, fields in told]


def _job(san: Path, name: str) -> JobFolder:
    folder = JobFolder(san / f"{name}-12345678")
    folder.path.mkdir()
    folder.create()
    writer = JournalWriter(folder.journal)
    writer.append(_entries())
    writer.close()
    document = DocumentRecord(name=EVIL, bytes=1, sha256="0" * 64, pages=3)
    recipe = RecipeRecord(name=EVIL, shell=EVIL, extension="png")
    settings = RenderSettings(device="png16m", dpi=36, pages="1-3", recipes=(recipe,))
    created = "2026-01-01T00:00:00.000Z"
    JobSpec(name=folder.name, created=created, document=document, settings=settings).save(folder)
    fields = {"owner": EVIL, "held": EVIL, "why": EVIL, "output": EVIL, "output_host": EVIL}
    Attributes().changed(submitted=created, after=[EVIL], **fields).save(folder)
    # It runs, so that every command shows by whom the job is coordinated.
    where, pid, began = processidentity.ourselves()
    claim = {"counter": 1, "epoch": 1, "host": EVIL, "pid": pid, "boot": where, "started": began}
    folder.lease.write_text(json.dumps({**claim, "token": "0" * 32}))
    return folder


def _assert_harmless(text: str) -> None:
    assert text.isascii() or "�" not in text
    left = CONTROL.findall(text.replace("\n", ""))
    assert left == [], repr(text)


def test_no_command_repeats_a_terminal_escape(sshrender: Run, san: Path) -> None:
    folder = _job(san, "evil")
    _job(san, EVIL)
    drains.drain(san, EVIL, EVIL, EVIL)
    (san / f"{EVIL}-damaged").mkdir()
    (san / f"{EVIL}-damaged" / "job.json").write_text("{")
    laid = _job(san, "laid")  # its owner wrote what no job may hold
    spec = json.loads(laid.spec.read_text())
    document = dict.fromkeys(spec["document"], EVIL)
    settings = dict.fromkeys(spec["settings"], EVIL)
    laid.spec.write_text(json.dumps({**spec, "document": document, "settings": settings, EVIL: EVIL}))
    for words in (
        ["status"],
        ["status", "--json"],
        ["status", "evil"],
        ["why", "evil", "--page", "1"],
        ["why", "evil", "--host", EVIL],
        ["report", "--by", "job,user,host,month"],
        ["drain"],
        ["undrain", EVIL],
        ["watch", "evil"],
    ):
        if words == ["watch", "evil"]:
            folder.lease.unlink()  # else it would go on watching
        answer = sshrender(*words)
        assert answer.returncode in (0, 2), (words, answer.stderr)
        assert "owned" in answer.stdout + answer.stderr
        _assert_harmless(answer.stdout + answer.stderr)


def test_the_board_and_plain_lines_repeat_no_terminal_escape() -> None:
    host = HostView(EVIL, "idle", EVIL, 1, 1, 0.5, 0.5, 1, 0, 1.0)
    snapshot = Snapshot(3, 1, 0, 0, 1, 1, 1, EVIL, EVIL, (host,))
    for make in (
        lambda stream: BoardView(stream, EVIL, "never", 2),
        lambda stream: PlainView(stream, 2),
    ):
        stream = io.StringIO()
        view = make(stream)
        for each in _entries():
            view.entry(each)
        view.snapshot(snapshot, 100.0)
        view.print_line(EVIL)
        view.close()
        _assert_harmless(TERMINAL.sub("", stream.getvalue()).replace("\r", ""))


def test_the_dashboard_repeats_no_terminal_escape() -> None:
    told = Journal(3, ["node1"])
    told.entries += _entries()
    dashboard = Dashboard(Watcher(FakeJob(told, 3, EVIL)), EVIL)

    async def look() -> None:
        async with dashboard.run_test(size=(160, 50)) as pilot:
            for key in ("1", "2", "3", "4"):
                await pilot.press(key)
                dashboard.notify(EVIL)
                await pilot.pause(0.2)
                for strip in dashboard.screen._compositor.render_strips():
                    _assert_harmless("".join(segment.text for segment in strip))

    asyncio.run(look())


def test_a_text_that_a_stream_cannot_hold_ends_no_command() -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        safeprint.line("päge ✕ \ud800 \U0001f600", stream, flush=True)
        safeprint.as_json({"\ud800": ["\ud800", "✕\x7f\x1b"]}, stream)
        assert stream.buffer.getvalue().count(b"\n") == 2


def test_only_one_module_writes_to_a_stream() -> None:
    """Runners and the document's process speak a protocol on stdout."""
    root = Path(package.__file__).parent
    strangers = []
    for path in root.rglob("*.py"):
        place = path.relative_to(root).as_posix()
        if place.startswith("runner/") or place in ("views/safeprint.py", "document/readerworker.py"):
            continue
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        for node in calls:
            called = ast.unparse(node.func)
            if called in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"):
                strangers.append(f"{place}:{node.lineno}: {called}")
    assert strangers == []


def test_a_sparse_file_of_terabytes_in_one_job_ends_no_command(sshrender: Run, san: Path) -> None:
    for which in ("spec", "lease", "attributes", "journal", "requests"):
        path: Path = getattr(_job(san, which), which)
        if path.is_dir():
            path.rmdir()
        with path.open("ab") as file:
            os.ftruncate(file.fileno(), SPARSE)
    _job(san, "good")
    for words in (["report"], ["clean", "--older-than", "30d"], ["undrain", "node1"]):
        answer = sshrender(*words, timeout=120)
        assert answer.returncode == 0, (words, answer.stderr)
    answer = sshrender("status", timeout=120)
    assert answer.returncode == 0, answer.stderr
    damaged = re.findall(r"^(\w+)-12345678  cannot be read: .*larger than", answer.stdout, re.MULTILINE)
    assert damaged == ["attributes", "lease", "spec"]
    listed = json.loads(sshrender("status", "--json").stdout)
    assert {"good-12345678", "journal-12345678"} <= {row["job"] for row in listed["jobs"]}
    assert [row["job"].partition("-")[0] for row in listed["damaged"]] == damaged


def test_a_page_list_that_names_all_pages_again_and_again_holds_up_no_listing(
    sshrender: Run, san: Path
) -> None:
    spec = _job(san, "evil").spec
    fields = json.loads(spec.read_text())
    fields["document"]["pages"] = 1_000_000
    fields["settings"]["pages"] = ",".join(["1-1000000"] * 90_000)
    spec.write_text(json.dumps(fields))
    assert sshrender("status", timeout=60).returncode == 0
    fields["document"]["pages"] = 10**15
    spec.write_text(json.dumps(fields))
    answer = sshrender("status", timeout=60)
    assert (answer.returncode, "evil-12345678  cannot be read: " in answer.stdout) == (0, True)


def test_a_host_that_only_a_failed_page_names_has_a_story(sshrender: Run, san: Path) -> None:
    folder = _job(san, "evil")
    writer = JournalWriter(folder.journal)
    failed = {"page": 3, "kind": "crashed", "reason": "it crashed", "attempts": 1, "hosts": ["node9"]}
    writer.append([entry("page_failed", 1.8e9, **failed)])
    writer.close()
    answer = sshrender("why", "evil", "--host", "node9")
    assert (answer.returncode, "node9: 0 pages" in answer.stdout) == (0, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of another user")
def test_undrain_succeeds_beside_jobs_of_other_users(sshrender: Run, san: Path) -> None:
    """Their requests/ is not ours to write, and their coordinators see the drain go by themselves."""
    folder = _job(san, "theirs")
    san.chmod(0o1777)
    for path in (folder.path, *folder.path.rglob("*")):
        os.chown(path, 65534, 65534)
    shutil.rmtree(folder.requests)
    drains.drain(san, "node1", "me", "")
    answer = sshrender("undrain", "node1")
    assert (answer.returncode, drains.read(san)) == (0, {})
