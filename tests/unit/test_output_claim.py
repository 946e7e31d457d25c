"""An output folder holds pages of one document with one set of settings, whoever delivers when."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sshrender.coordinator import pagerestoration
from sshrender.coordinator.workers.verificationresults import OutputGone
from sshrender.coordinator.workers.writeerrorscope import OutputFailed
from sshrender.errors import ExitCode, NeedsUser, UserError
from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.output import outputclaim, outputlocation, outputrecord, outputrecordfiles, publish
from sshrender.job.output.outputclaim import OutputClaim, OutputLost
from sshrender.job.output.outputrecord import Contents, Record
from sshrender.job.output.outputrecordfiles import Stored
from sshrender.job.output.outputrules import Delivery
from sshrender.job.spec import DocumentRecord, JobSpec, RecipeRecord, RenderSettings, job_name
from tests.machine.conversations import Host, run

NOTES = "notes.txt"
RECIPE = RecipeRecord(name="mine", shell="make {output}", extension="png", format="png")


class Desk:
    """A user with a shared folder and an output folder."""

    def __init__(self, folder: Path) -> None:
        self.san, self.output = folder / "san", folder / "report-pages"
        self.san.mkdir()

    def job(self, document: str = "a", san: Path | None = None, **settings: Any) -> Delivery:
        """Return the delivery of a job into the output folder; its pages are published."""
        fields: dict[str, Any] = {"device": "png16m", "dpi": 30.0, "pages": "1-3", **settings}
        spec_settings = RenderSettings(**fields)
        sha256 = hashlib.sha256(document.encode()).hexdigest()
        name = job_name("report", sha256, spec_settings)
        folder = JobFolder((san or self.san) / name)
        about = DocumentRecord(name="report.pdf", bytes=len(document), sha256=sha256, pages=3)
        spec = JobSpec(
            name=name, created="2026-01-31T12:00:00.123Z", document=about, settings=spec_settings
        )
        if not folder.path.exists():
            folder.path.mkdir(parents=True)
            folder.create()
            Attributes().changed(**outputlocation.recorded(self.output, folder.path.parent)).save(folder)
            spec.save(folder)
            names = [f"page-000{n}.{extension}" for n in "123" for extension in EXTENSIONS]
            for page in Contents.of(spec).files_in(names):
                (folder.pages / page).write_text(f"{name} {page}")
        return Delivery(self.output, spec, folder)

    def queue(self, delivery: Delivery, **changes: Any) -> None:
        """Put the job into the queue."""
        found = Attributes().changed(**outputlocation.recorded(self.output, delivery.folder.path.parent))
        found.changed(submitted="2026-01-31T12:00:00.123Z", **changes).save(delivery.folder)

    def pages(self) -> dict[str, str]:
        """Return which job each page file is of."""
        found = [path for path in self.output.iterdir() if outputrecord.is_page(path.name)]
        files = sorted(path for path in found if path.is_file())
        return {path.name: path.read_text().partition(" ")[0] for path in files}

    def names(self) -> set[str]:
        return {path.name for path in self.output.iterdir()}


EXTENSIONS = ("png", "tif")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def deliver(claim: OutputClaim, delivery: Delivery) -> None:
    """Deliver all pages of a job, as its run does."""
    for path in sorted(delivery.folder.pages.iterdir()):
        with path.open("rb") as page:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            claim.deliver(page.fileno(), delivery.output / path.name, sha256)


def fill(delivery: Delivery, *, may_replace: bool = False) -> None:
    """Do what a whole run of the job does."""
    deliver(outputclaim.take(replace(delivery, may_replace=may_replace)), delivery)


def refusal(delivery: Delivery) -> NeedsUser:
    """Return the error of a job that may not have the folder; nothing is changed by it."""
    before = {path: path.read_bytes() for path in delivery.output.iterdir() if path.is_file()}
    found = outputrecord.inspect(delivery.output)
    for claim in (outputclaim.check, outputclaim.take):
        with pytest.raises(NeedsUser) as raised:
            claim(delivery)
    assert {path: path.read_bytes() for path in delivery.output.iterdir() if path.is_file()} == before
    assert outputrecord.inspect(delivery.output) == found
    assert raised.value.code is ExitCode.STORAGE
    return raised.value


OTHERS = [
    {"document": "b"},
    {"dpi": 60.0},
    {"dpi": 60.0, "pages": "1"},
    {"device": "tiffg4"},
    {"options": ("-dTextAlphaBits=4",)},
    {"recipes": (RECIPE,)},
]
"""Jobs whose pages must not lie beside those of the first."""


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_document_or_other_settings_are_refused_or_replace_all(
    desk: Desk, other: dict[str, Any]
) -> None:
    first, second = desk.job(), desk.job(**other)
    fill(first)
    (desk.output / NOTES).write_text("mine")
    error = refusal(second)
    assert first.spec.name in error.what
    assert second.spec.name in error.what
    assert f"-o {desk.output}-2 " in error.hint
    assert "--overwrite" in error.hint
    fill(second, may_replace=True)
    assert set(desk.pages().values()) == {second.spec.name}
    assert desk.names() == {NOTES, *(path.name for path in second.folder.pages.iterdir())}
    assert first.spec.name in refusal(first).what


@pytest.mark.parametrize("same", [{"pages": "1"}, {"split": 2}, {"pages": "2-3", "split": 1}], ids=str)
def test_more_pages_of_the_same_are_welcome_and_damaged_ones_are_put_right(
    desk: Desk, same: dict[str, Any]
) -> None:
    first, second = desk.job(), desk.job(**same)
    fill(second)
    (desk.output / "page-0002.png").unlink(missing_ok=True)
    (desk.output / "page-0002.png").write_text("damaged")
    fill(first)
    assert len(desk.pages()) == 3
    fill(second)
    assert len(desk.pages()) == 3


def test_old_pages_stay_until_the_first_new_one_can_be_delivered(desk: Desk) -> None:
    old, new = desk.job(), desk.job(document="b")
    fill(old)
    claim = outputclaim.take(replace(new, may_replace=True))
    assert set(desk.pages().values()) == {old.spec.name}
    # The new job never delivers, as no host is usable: the folder is the old one's again, unasked.
    (desk.output / "page-0002.png").unlink()
    fill(old)
    assert list(desk.pages().values()) == [old.spec.name] * 3
    with pytest.raises(OutputLost):
        deliver(claim, new)
    assert list(desk.pages().values()) == [old.spec.name] * 3


class Killed(BaseException):
    """The process ends here."""


def _killer(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process end at a step of what changes the folder, before or after it."""
    steps = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*words: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == at:
                raise Killed
            result = real(*words)
            steps += 1
            if steps == at:
                raise Killed
            return result

        return step

    for module, name in (
        (outputrecordfiles, "create"),
        (outputrecordfiles, "remove"),
        (publish, "remove"),
        (publish, "deliver"),
    ):
        monkeypatch.setattr(module, name, wrapped(getattr(module, name)))


def test_a_folder_never_holds_both_wherever_the_run_is_killed(desk: Desk, tmp_path: Path) -> None:
    """Then the next run, which says nothing of replacing, on any machine, completes what was begun."""
    at, is_complete = 0, False
    while not is_complete:
        at += 1
        here = Desk(tmp_path / f"killed-{at}") if (tmp_path / f"killed-{at}").mkdir() is None else desk
        old, new = here.job(device="tiffg4"), here.job(document="b")
        fill(old)
        with pytest.MonkeyPatch.context() as patch:
            _killer(at, patch)
            try:
                fill(new, may_replace=True)
                is_complete = True
            except Killed:
                pass
        assert len(set(here.pages().values())) <= 1
        if not set(here.pages().values()) & {new.spec.name}:
            new = replace(new, may_replace=True)  # it may have been killed before the claim
        fill(new, may_replace=new.may_replace)
        assert list(here.pages().values()) == [new.spec.name] * 3
        assert len(here.names()) == 3
    assert at > 10


def test_a_job_that_loses_its_folder_leaves_no_page_there(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is of another shared folder, so that neither sees that the other runs."""
    first, second = desk.job(), desk.job(document="b", san=tmp_path / "other-san")
    claim = outputclaim.take(first)
    real = publish.deliver

    def stopped(*words: Any) -> bool:
        """As if this process had been stopped between its look and the delivery."""
        monkeypatch.setattr(publish, "deliver", real)
        outputclaim.take(replace(second, may_replace=True)).begin()
        return real(*words)

    monkeypatch.setattr(publish, "deliver", stopped)
    with pytest.raises(OutputLost):
        deliver(claim, first)
    assert desk.pages() == {}
    with pytest.raises(OutputLost):
        deliver(claim, first)
    fill(second)
    assert set(desk.pages().values()) == {second.spec.name}


def test_a_run_ends_once_its_folder_is_another_job_s(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page and no host is charged; the exit code is that of the storage."""
    other = replace(desk.job(), output=tmp_path / "out", may_replace=True)
    real, calls = publish.deliver, itertools.count(1)

    def given_away(*words: Any) -> bool:
        if next(calls) == 2:
            outputclaim.take(other).begin()
        return real(*words)

    monkeypatch.setattr(publish, "deliver", given_away)
    (tmp_path / "run").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "run" / "out").symlink_to(tmp_path / "out")
    ended = run(tmp_path / "run", 3, lambda folder: [Host("honest", folder)])
    assert ended.outcome.code == ExitCode.STORAGE
    assert ended.outcome.reason == OutputGone.REASON
    assert ended.outcome.pages["failed"] == 0
    assert list((tmp_path / "out").glob("page-*")) == []


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_folder_that_is_made_again_gets_the_pages_from_before_and_no_other_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    """The run ended as done, with the first pages in a folder that had been moved away."""
    out, moved = tmp_path / "out", tmp_path / "moved"
    real, calls = publish.deliver, itertools.count(1)

    def taken(*words: Any) -> bool:
        if next(calls) == 4:
            if is_moved:
                out.rename(moved)
            else:
                moved.mkdir()
                for page in out.glob("page-*"):
                    page.rename(moved / page.name)
            out.mkdir(exist_ok=True)
        return real(*words)

    monkeypatch.setattr(publish, "deliver", taken)
    ended = run(tmp_path, 6, lambda folder: [Host("honest", folder)])
    assert ended.outcome.code == ExitCode.OK
    # At least these: another page may be delivered at the same moment.
    assert (gone := len(list(moved.glob("page-*")))) >= 3
    assert len(ended.pages()) == (6 if is_moved else 6 - gone)


def test_a_folder_that_is_made_again_after_the_last_page_gets_all_whatever_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(tmp_path, 3, lambda folder: [Host("honest", folder)])
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()

    def passed(_plan: object) -> None:
        raise UserError(ExitCode.DEADLINE, "the deadline passed", "")

    monkeypatch.setattr(pagerestoration, "require_time", passed)
    pagerestoration.complete_output(ended.plan, lambda: None)
    assert len(ended.pages()) == 3
    # A page that is lost for good is no page of a job that is done.
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (ended.plan.folder.pages / "page-0002.ppm").unlink()
    with pytest.raises(OutputFailed, match="lacks pages: 2"):
        pagerestoration.complete_output(ended.plan, lambda: None)
    assert len(ended.pages()) == 2


def test_of_many_that_want_a_folder_at_once_one_has_it(desk: Desk, tmp_path: Path) -> None:
    jobs = [desk.job(document=each, san=tmp_path / each) for each in "abcdef"]
    start = threading.Barrier(len(jobs))
    ended: list[str] = []

    def run(delivery: Delivery) -> None:
        start.wait(60)
        try:
            fill(delivery, may_replace=True)
        except (OutputLost, UserError) as error:
            ended.append(type(error).__name__)
        else:
            ended.append(delivery.spec.name)

    threads = [threading.Thread(target=run, args=(each,)) for each in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = outputrecord.inspect(desk.output).record
    assert found is not None
    assert found.owner.job in ended
    assert set(desk.pages().values()) <= {found.owner.job}


@pytest.mark.parametrize(
    ("changes", "word"),
    [({}, "queued"), ({"held": "ann@desk"}, "held"), (None, "running")],
    ids=["queued", "held", "running"],
)
def test_a_job_that_will_deliver_keeps_its_folder(
    desk: Desk, changes: dict[str, Any] | None, word: str
) -> None:
    """Also against ``--overwrite``, and before it has delivered anything, until it is cancelled."""
    first, second = desk.job(), replace(desk.job(document="b"), may_replace=True)
    outputclaim.take(first)
    held = lease.take(first.folder.lease) if changes is None else None
    if changes is not None:
        desk.queue(first, **changes)
    error = refusal(second)
    assert f"which is {word}" in error.what
    assert f"sshrender cancel {first.spec.name}" in error.hint
    assert "--overwrite" not in error.hint
    if held is not None:
        held.release()
    else:
        desk.queue(first, over="cancelled")
    fill(replace(second, may_replace=False))
    assert set(desk.pages().values()) == {second.spec.name}


def test_a_folder_without_a_record_is_adopted_where_the_pages_are_ours(desk: Desk) -> None:
    """An earlier version, which kept none, delivered links; or copies with size and time."""
    job, more = desk.job(), desk.job(pages="1")
    desk.output.mkdir()
    os.link(job.folder.pages / "page-0002.png", desk.output / "page-0002.png")
    (desk.output / "page-0001.png").write_bytes((more.folder.pages / "page-0001.png").read_bytes())
    when = (more.folder.pages / "page-0001.png").stat().st_mtime_ns
    os.utime(desk.output / "page-0001.png", ns=(when, when))
    (desk.output / "report.pdf").write_text("all pages, made then")
    fill(replace(job, assemble="pdf"))
    assert list(desk.pages().values()) == [job.spec.name] * 3


@pytest.mark.parametrize("name", ["page-0001.png", "page-0002.tif", "page-00001.jpg", "page-0009.png"])
def test_page_files_of_unknown_origin_are_no_pages_of_ours(desk: Desk, name: str) -> None:
    job = desk.job()
    desk.output.mkdir()
    (desk.output / name).write_text("unknown")
    (desk.output / "page-0003.pcx").mkdir()
    others = {NOTES, "page-1.png", "page-0001.txt", "page-0001.png.bak", "xpage-0001.png"}
    for other in others:
        (desk.output / other).write_text("mine")
    error = refusal(job)
    assert name in error.what
    fill(job, may_replace=True)
    assert list(desk.pages().values()) == [job.spec.name] * 3
    assert desk.names() - desk.pages().keys() == others | {"page-0003.pcx"}


DAMAGED = [
    b"",
    b"garbage",
    b"[" * 2000,
    b'{"schema": 2}',
    b'{"schema": 1, "owner": {"job": "x", "pages": -1}}',
    b'{"schema": 1, "owner": {"job": "x", "assembled": ["../../etc/x.pdf"]}}',
    b'{"schema": 1, "owner": {"job": "x", "assembled": ["notes.txt"]}}',
    b'{"schema": 1, "owner": {"job": "x", "extension": "png/../x"}}',
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("is_file", [False, True], ids=["attribute", "file"])
def test_a_damaged_record_is_refused_and_replaced_on_request(
    desk: Desk, data: bytes, is_file: bool
) -> None:
    job = desk.job()
    fill(job)
    if is_file:
        (desk.output / f"{outputrecordfiles.FILE}00000007").write_bytes(data)
    else:
        os.setxattr(desk.output, f"{outputrecordfiles.ATTRIBUTE}00000007", data)
    assert "damaged" in refusal(job).what
    fill(job, may_replace=True)
    assert desk.names() == desk.pages().keys()
    fill(job)


def test_a_record_that_is_no_plain_file_is_damaged_and_makes_nothing_wait(desk: Desk) -> None:
    job = desk.job()
    fill(job)
    path = desk.output / f"{outputrecordfiles.FILE}00000007"
    os.mkfifo(path)
    assert "damaged" in refusal(job).what
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "damaged" in refusal(job).what
    path.unlink()
    # Numbers with which no next one could be given are none.
    (desk.output / f"{outputrecordfiles.FILE}99999999").write_bytes(b"{}")
    fill(job)


@pytest.mark.parametrize("code", [None, errno.ENOTSUP, errno.ENOSPC], ids=str)
def test_a_number_is_given_once_with_and_without_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    def refuse(*words: Any) -> None:
        assert code is not None
        raise OSError(code, os.strerror(code))

    if code is not None:
        monkeypatch.setattr(os, "setxattr", refuse)
    (tmp_path / NOTES).write_text("mine")
    first = outputrecordfiles.create(tmp_path, 1, b"one")
    assert first == Stored(1, code is not None)
    assert outputrecordfiles.create(tmp_path, 1, b"other") is None
    second = outputrecordfiles.create(tmp_path, 2, b"two")
    assert second is not None
    assert outputrecordfiles.find(tmp_path) == ([first, second], [NOTES])
    assert outputrecordfiles.read(tmp_path, first) == b"one"
    outputrecordfiles.remove(tmp_path, [first, first])
    assert not outputrecordfiles.is_there(tmp_path, first)
    assert outputrecordfiles.is_there(tmp_path, second)
    assert outputrecordfiles.read(tmp_path, first) == b""
    assert outputrecordfiles.find(tmp_path / "none") == ([], [])


def test_a_file_system_without_links_gives_a_number_once_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: Any, **options: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "link", refuse)
    assert outputrecordfiles.create(tmp_path, 1, b"one") == Stored(1, True)
    assert outputrecordfiles.create(tmp_path, 1, b"other") is None
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"one"]


def test_a_setting_that_did_not_exist_when_the_record_was_made_is_the_usual_one(desk: Desk) -> None:
    ours = desk.job().contents
    fewer = ours.model_copy(update={"settings": {"device": "png16m", "dpi": 30.0}})
    assert fewer.is_same(ours)
    more = ours.model_copy(update={"settings": {**ours.settings, "of_a_later_version": 4}})
    assert not more.is_same(ours)
    assert "of_a_later_version 4" in more.in_words()


def test_a_record_shows_nothing_that_a_terminal_obeys(desk: Desk) -> None:
    odd = desk.job().contents.model_copy(update={"document": "\x1b[2J\n.pdf", "job": "\x07"})
    assert odd.in_words().isprintable()


def test_a_folder_that_is_made_anew_during_the_run_is_ours_again(desk: Desk) -> None:
    job = desk.job()
    claim = outputclaim.take(job)
    deliver(claim, job)
    desk.output.rename(desk.output.with_name("moved"))
    with pytest.raises(FileNotFoundError):
        claim.begin()
    desk.output.mkdir()
    deliver(claim, job)
    assert refusal(desk.job(document="b"))


class TestAssembled:
    """The file of all pages, beside them."""

    def test_it_does_not_take_the_place_of_the_document(self, desk: Desk) -> None:
        """``-o .``: the document lies where its pages go."""
        desk.output.mkdir()
        (desk.output / "report.pdf").write_text("a")
        error = refusal(replace(desk.job(), assemble="pdf", may_replace=True))
        assert "is the document" in error.what
        assert f"-o {desk.output / 'report-pages'}" in error.hint

    def test_nor_that_of_any_file_that_no_job_made(self, desk: Desk) -> None:
        desk.output.mkdir()
        (desk.output / "report.zip").write_text("mine")
        error = refusal(replace(desk.job(), assemble="zip", may_replace=True))
        assert error.hint.startswith(
            f"run the same command again after this: mv {desk.output / 'report.zip'} "
        )
        (desk.output / "report.cbz").symlink_to("nothing")
        assert refusal(replace(desk.job(), assemble="cbz"))

    def test_it_is_replaced_with_the_pages(self, desk: Desk) -> None:
        old, new = replace(desk.job(), assemble="pdf"), replace(desk.job(dpi=60.0), may_replace=True)
        claim = outputclaim.take(old)
        deliver(claim, old)
        claim.note_assembled("report.pdf")
        (desk.output / "report.pdf").write_text("all pages")
        deliver(outputclaim.take(old), old)  # the same command again
        deliver(outputclaim.take(new), new)
        assert desk.names() == desk.pages().keys()
        assert set(desk.pages().values()) == {new.spec.name}


def test_the_record_says_no_more_than_is_needed(desk: Desk) -> None:
    """ext4 has 4 KiB for all attributes of a folder, and for a moment two records are there."""
    record = Record(owner=desk.job().contents, replaces=desk.job(document="b").contents)
    assert len(record.encode()) < 1000
