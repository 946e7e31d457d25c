"""What the process that reads a document may say, and for how long: the parent bounds all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sshrender.api.runcontext import RunContext
from sshrender.api.runevents import SilentListener
from sshrender.coordinator import documentevents
from sshrender.coordinator.hosts import documentparts
from sshrender.coordinator.workers import partsplitter
from sshrender.core import events as ev
from sshrender.document import facts, readerprocess, reading
from sshrender.document.reading import Reading
from sshrender.storage import hangguard
from sshrender.transports.interface import FilesFailed
from sshrender.transports.local import LocalFiles
from sshrender.transports.sftp import SftpFiles
from tests import pdfs
from tests.stretch import stretched

GREET = "say(facts=[200000, False, 0])\n"
COUNTED = "say(facts=[200000, False, 0])\nsay(counted=True)\nsay(end=True)\nsys.stdin.readline()\n"

SCRIPT = """
import json, sys, time
op = json.loads(sys.stdin.readline())["op"]
def raw(text): sys.stdout.write(text); sys.stdout.flush()
def say(warnings=0, **fields): raw(json.dumps({**fields, "warnings": warnings}) + "\\n")
"""

ENDLESS = {
    "boxes without end": COUNTED + "while True: say(boxes=[[9, 9]] * 64)",
    "a line without end": COUNTED + "while True: raw('x' * 65536)",
    "lists in lists": COUNTED + "raw('[' * 100_000 + '\\n')",
    "no object": COUNTED + "raw('7\\n')",
    "no JSON": COUNTED + "raw('{\\n')",
    "sizes that are none": COUNTED + "say(boxes=[['x', None]])",
    "a size without end": COUNTED + "say(boxes=[[1e999, 9]])",
    "warnings that are none": COUNTED + "say(warnings=[1], boxes=[[9, 9]])",
    "more pages than there may be": "say(facts=[10 ** 9, False, 0])",
    "facts that are none": "say(facts=7)",
}


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set what the next processes do instead of reading a document."""
    monkeypatch.setattr(readerprocess, "_spare", [])

    def set_script(script: str) -> None:
        monkeypatch.setattr(readerprocess, "COMMAND", [sys.executable, "-c", SCRIPT + script])

    return set_script


@pytest.mark.parametrize("script", ENDLESS.values(), ids=list(ENDLESS))
def test_what_a_reading_process_says_is_bounded_and_checked(
    child: Callable[[str], None], tmp_path: Path, script: str
) -> None:
    """It is stopped, and what it said is no reason to trust the document's own count."""
    child(script + "\ntime.sleep(600)")
    found = Reading()
    found.begin(pdfs.write(tmp_path / "a.pdf", pdfs.numbered(1)), None)
    found.read_pages(range(1, 200_001))
    assert found.box(200_000) in (None, (9, 9))
    assert found._worker._process.wait(stretched(30)) is not None
    assert not found.is_sound()
    assert not found.counts_right()
    assert len(found.boxes_from(0)) <= 200_000


def test_news_now_and_then_does_not_keep_a_reading_alive(
    child: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a bound on all of it, and not only on the time without news."""
    monkeypatch.setattr(reading, "BOXES_TIMEOUT", 2.0)
    child(COUNTED + "while True: say(boxes=[[9, 9]]); time.sleep(.05)")
    found = Reading()
    found.begin(pdfs.write(tmp_path / "a.pdf", pdfs.numbered(1)), None)
    found.read_pages(range(1, 200_001))
    assert found.box(200_000) is None
    assert not found.is_sound()
    assert found._worker._process.wait(stretched(30)) is not None


def test_a_count_that_takes_long_is_asked_of_ghostscript_while_the_reading_goes_on(
    child: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "COUNT_TIMEOUT", 0.5)
    child(GREET + "time.sleep(600)")
    found = Reading()
    found.begin(pdfs.write(tmp_path / "a.pdf", pdfs.numbered(1)), None)
    assert not found.counts_right()
    assert found._worker._process.poll() is None
    found.close()


@pytest.mark.parametrize(
    "script",
    [
        "while True: say(fonts=[['x']]); time.sleep(.05)",
        "while True: say(fonts=[['x' * 127] * 50] * 64)",
        "say(fonts=[['x'], ['x' * 128]])",
        "say(fonts=[['x'], 'x'])",
        "say(fonts=[['x'] * 51])",
        "n = iter(range(10 ** 9))\nwhile True: say(fonts=[[str(next(n)) for _ in range(50)]])",
    ],
)
def test_fonts_are_unknown_from_where_a_process_takes_or_says_too_much(
    child: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(reading, "FONTS_TIMEOUT", 3.0)
    child(f"{COUNTED}exec({script!r})\ntime.sleep(600)\n")
    found = Reading()
    found.begin(pdfs.write(tmp_path / "a.pdf", pdfs.numbered(1)), None)
    assert found.facts().pages == 200_000
    found.want_fonts(range(1, 200_001))
    found.await_fonts(stretched(60))
    fonts = found.missing_fonts()
    assert fonts is not None
    assert len(fonts) < 200_000
    assert sum(map(len, fonts.values())) <= 1_000_100
    found.close()


def _plan(folder: Path) -> Any:
    """As much of a plan as what splits and cuts asks for."""
    pdfs.write(folder / "source.pdf", pdfs.numbered(4))
    return SimpleNamespace(
        pages=[1, 2, 3, 4],
        request=SimpleNamespace(password=None),
        history=SimpleNamespace(pages={}),
        folder=SimpleNamespace(path=folder, source=folder / "source.pdf"),
        spec=SimpleNamespace(
            settings=SimpleNamespace(split=2), document=SimpleNamespace(bytes=1, pages=4)
        ),
        reading=SimpleNamespace(is_sound=lambda: True),
    )


@pytest.mark.parametrize(
    "script", ["time.sleep(600)", "say(ready=[7])", "say(ready='x')", "say(error='x')", "raw('x\\n')"]
)
def test_a_part_that_does_not_come_is_given_up(
    child: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Then pages are rendered from the whole document; a page that was not asked for is none."""
    monkeypatch.setattr(partsplitter, "PART_TIMEOUT", 1.0)
    monkeypatch.setattr(documentparts, "CUT_TIMEOUT", 1.0)
    child(script + "\ntime.sleep(600)")
    posted: list[ev.PagesReady | partsplitter.PartsFailed] = []
    splitter = partsplitter.PartSplitter(_plan(tmp_path), posted.append)
    splitter.start()
    splitter.join(stretched(60))
    assert [type(each) for each in posted] == [partsplitter.PartsFailed]


def test_a_cut_that_does_not_come_is_given_up(
    child: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documentparts, "CUT_TIMEOUT", 1.0)
    child("time.sleep(600)")
    with pytest.raises(documentparts.DocumentPartsFailed, match="took too long"):
        documentparts.DocumentParts(_plan(tmp_path)).fetch(1)


def test_parts_that_grow_beyond_the_document_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sshrender.document import splitting

    monkeypatch.setattr(splitting, "MORE_BYTES", 0)
    monkeypatch.setattr(splitting, "MAX_GROWTH", 0)
    pdfs.write(tmp_path / "a.pdf", pdfs.numbered(4))
    (tmp_path / "parts").mkdir()
    with (
        splitting.Splitter(tmp_path / "a.pdf", None, tmp_path, 1) as splitter,
        pytest.raises(splitting.PartsTooLarge),
    ):
        list(splitting.split(splitter, [1, 2]))
    assert list((tmp_path / "parts").iterdir()) == []


def test_work_on_the_san_is_left_behind_at_the_deadline(tmp_path: Path) -> None:
    go_on = threading.Event()
    with pytest.raises(hangguard.DeadlinePassed):
        hangguard.guarded_call(tmp_path, go_on.wait, time.monotonic() + 0.3)
    with pytest.raises(hangguard.DeadlinePassed):
        hangguard.guarded_call(tmp_path, lambda: None, time.monotonic())
    go_on.set()


def test_a_list_of_pages_is_written_down_in_a_bounded_length() -> None:
    document = SimpleNamespace(
        boxes_from=lambda first: [],
        missing_fonts=lambda: {n + 1: ["x"] * (n % 2) for n in range(100_000)},
    )
    told = documentevents.DocumentEvents(document, range(1, 100_001))
    told.new()
    assert len(told.fonts["x"]) <= documentevents.MAX_PAGE_LIST + 2
    assert told.fonts["x"].startswith("2,4,6,")


def test_a_password_file_is_read_to_a_bounded_length(tmp_path: Path) -> None:
    assert len(facts.read_password(Path("/dev/zero"))) <= facts.MAX_PASSWORD_BYTES


def test_a_part_that_an_earlier_run_or_a_host_left_is_cut_anew(tmp_path: Path) -> None:
    """Nothing tells what is in it; and a link in its place may lead to any file of the owner's."""
    from sshrender.document import splitting

    plan = _plan(tmp_path)
    folder = tmp_path / "parts"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "part-00001.pdf").write_bytes(b"other pages")
    (folder / "part-00002.pdf").symlink_to(secret)
    (folder / "of2-00001.pdf").write_bytes(b"other pages")
    (folder / "of2-00002.pdf").symlink_to(secret)
    with splitting.Splitter(plan.folder.source, None, tmp_path, 2) as splitter:
        list(splitting.split(splitter, [1, 3]))
    store = documentparts.DocumentParts(plan)
    try:
        fed = [store.fetch(1)[0], store.fetch(3)[0]]
        fed[0].unlink()
        fed[0].symlink_to(secret)
        store.fetch(1)
    finally:
        store.close()
    for part in folder.iterdir():
        assert not part.is_symlink()
        assert part.read_bytes().startswith(b"%PDF")
    assert secret.read_text() == "secret"
    assert len(fed) == 2


def test_a_host_that_waited_while_the_parts_were_given_up_gets_the_whole_document(
    tmp_path: Path,
) -> None:
    """Not the name of a part that nobody has cut."""
    plan = _plan(tmp_path)
    store = documentparts.DocumentParts(plan)

    class GivenUpMeanwhile:
        def __enter__(self) -> None:
            store.give_up_parts()

        def __exit__(self, *_: object) -> None:
            pass

    store._lock = GivenUpMeanwhile()  # type: ignore[assignment]
    path, place = store.fetch(3)
    assert path == plan.folder.source
    assert (place.file, place.index) == (path.name, 3)


def test_no_link_is_followed_to_a_file_that_a_host_is_sent(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "source.pdf").symlink_to(secret)
    sftp = SftpFiles.__new__(SftpFiles)  # no connection is needed: nothing is sent
    for files in (LocalFiles(), sftp):
        with pytest.raises((OSError, FilesFailed)):
            files.put(tmp_path / "source.pdf", str(tmp_path / "sent"))
    assert not (tmp_path / "sent").exists()


@pytest.mark.parametrize(
    ("mode", "settings", "warns"),
    [
        (0o600, {}, False),
        (0o400, {}, False),
        (0o644, {}, True),
        (0o640, {}, True),
        (0o622, {}, False),
        (0o644, {"quiet": True}, False),
    ],
)
def test_a_password_file_that_others_can_read_is_named_with_the_command_that_helps(
    home: Path, mode: int, settings: dict[str, bool], warns: bool
) -> None:
    file = home / "the password"
    file.write_text("open sesame\n")
    file.chmod(mode)
    said: list[str] = []

    class Listener(SilentListener):
        def print_line(self, line: str) -> None:
            said.append(line)

    RunContext.start({"password_file": file, **settings}, None, lambda _found: Listener())
    assert len(said) == warns
    for line in said:
        warning, _, command = line.partition("; hint: ")
        assert warning == f"warning: other users can read the password in {file}"
        subprocess.run(["sh", "-c", command], check=True)
        assert not facts.others_may_read(file)


def test_a_password_from_a_pipe_or_nowhere_is_not_warned_of(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    assert not facts.others_may_read(tmp_path / "pipe")
    assert not facts.others_may_read(tmp_path / "nothing")
