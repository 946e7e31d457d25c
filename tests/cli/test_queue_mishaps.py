"""The queue where something of it is broken, somebody else's, or was interrupted."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sshrender.api import documentarguments, jobchanges, jobs, removal
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.history import PageRecord
from sshrender.job.journal.journal import JournalWriter
from sshrender.job.journal.journalformat import SCHEMA, stamped
from sshrender.job.leasefiles import LeaseFiles
from sshrender.job.output import outputlocation
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.spec import DocumentRecord, JobSpec, RenderSettings
from sshrender.storage import files
from tests import pdfs
from tests.conftest import Run

Made = Callable[..., JobFolder]

OVER = {"submitted": "2026-01-01T00:00:00.000Z", "over": "cancelled"}


@pytest.fixture
def job(san: Path) -> Made:
    """Make a job without a document, whose last event was a page long ago."""

    def make(name: str, at: float = 1e9, **fields: Any) -> JobFolder:
        folder = JobFolder(san / f"{name}-12345678")
        folder.path.mkdir()
        folder.create()
        Attributes().changed(**fields).save(folder)
        writer = JournalWriter(folder.journal)
        page = PageRecord(1, "page-0001.png", 10, "ab", 1, 2, "a", "10.0", 1.0)
        writer.append([stamped(page.as_entry(cpu=1.0), at)])
        writer.close()
        document = DocumentRecord(name=f"{name}.pdf", bytes=1, sha256="0" * 64, pages=3)
        settings = RenderSettings(device="png16m", dpi=36, pages="1-3")
        created = "2026-01-01T00:00:00.000Z"
        JobSpec(name=folder.name, created=created, document=document, settings=settings).save(folder)
        return folder

    return make


def _names(sshrender: Run, *words: str) -> list[str]:
    answer = sshrender("status", "--json", *words)
    assert answer.returncode == 0, answer.stderr
    return [row["job"].partition("-")[0] for row in json.loads(answer.stdout)["jobs"]]


def _pages(sshrender: Run) -> int:
    answer = sshrender("report", "--json")
    assert answer.returncode == 0, answer.stderr
    return sum(account["pages"] for account in json.loads(answer.stdout)["accounts"])


class TestRemoval:
    """A job is gone at once, or it is there."""

    def test_what_is_being_removed_is_no_job(self, sshrender: Run, san: Path, job: Made) -> None:
        job("one", **OVER)
        aside = san / ".removed-two-12345678-abcdef01"
        job("two", **OVER).path.rename(aside)
        assert _names(sshrender) == ["one"]
        assert _pages(sshrender) == 1
        assert sshrender("clean", "--older-than", "0s").returncode == 0
        assert aside.exists(), "somebody may be about to remove it"
        os.utime(aside, (0, 0))
        answer = sshrender("clean", "--older-than", "30d", "--json")
        assert (answer.returncode, json.loads(answer.stdout)["removed"]) == (0, [])
        assert not aside.exists(), "nobody is about to"
        assert list(san.iterdir()) == [san / ".accounting"]

    def test_the_lease_of_a_job_that_is_gone_is_given_back_to_nobody(
        self, job: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody may have made a job of that name anew by then."""
        folder, rename = job("one", **OVER), files.rename
        seen: list[str] = []

        def moved(source: Path, target: Path) -> None:
            rename(source, target)
            if source == folder.path:
                source.mkdir()

        def look(aside: Path) -> bool:
            seen.extend(path.name for path in aside.iterdir())
            return True

        monkeypatch.setattr(files, "rename", moved)
        monkeypatch.setattr(removal, "remove_folder", look)
        assert removal.remove(folder, removal.is_unwanted)
        assert list(folder.path.iterdir()) == []
        assert "lease" in seen
        assert "job.json" not in seen
        assert len(list((folder.path.parent / ".accounting").iterdir())) == 1

    def test_a_job_that_cannot_be_moved_stays_and_is_counted_once(
        self, job: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = job("one", **OVER)

        def fails(source: Path, target: Path) -> None:
            if source == folder.path:
                raise PermissionError(13, "Permission denied", str(source))
            source.rename(target)

        monkeypatch.setattr(files, "rename", fails)
        with pytest.raises(PermissionError):
            removal.remove(folder, removal.is_unwanted)
        assert list((folder.path.parent / ".accounting").iterdir()) == []

    def test_a_job_that_another_process_took_over_gets_its_folder_back(
        self, home: Path, job: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A clean that is stopped just before its rename comes too late."""
        marker = home / "out" / ".sshrender-0123456789abcdef"
        marker.parent.mkdir()
        marker.touch()
        fields = {"output": str(marker.parent), "output_marker": "0123456789abcdef"}
        folder, rename = job("one", **OVER, **fields), files.rename
        leases = LeaseFiles(folder.lease)

        def late(source: Path, target: Path) -> None:
            held = leases.read()
            if source == folder.path and held is not None:
                assert leases.claim(replace(held, epoch=held.epoch + 1, token="f" * 32))
            rename(source, target)

        monkeypatch.setattr(files, "rename", late)
        assert not removal.remove(folder, removal.is_unwanted)
        assert folder.spec.is_file()
        assert [path.name for path in folder.path.parent.iterdir() if path.name[0] != "."] == [
            folder.name
        ]
        assert not list(folder.path.parent.glob(".removed-*"))
        assert list((folder.path.parent / ".accounting").iterdir()) == []
        assert marker.exists(), "its new coordinator may deliver there"

    def test_one_that_cannot_be_removed_does_not_keep_the_others(
        self, sshrender: Run, job: Made
    ) -> None:
        for name in ("one", "two", "three"):
            job(name, **OVER)
        folder = job("bad", **OVER)
        folder.attributes.write_text("{")
        answer = sshrender("clean", "--older-than", "30d", "--json")
        assert answer.returncode == 6
        assert "attributes.json is damaged" in answer.stderr
        assert len(json.loads(answer.stdout)["removed"]) == 3
        assert _names(sshrender) == ["bad"]
        assert not folder.lease.exists(), "it was left as it is"

    def test_a_moment_that_cannot_be_read_is_now(self, sshrender: Run, job: Made) -> None:
        for name, moment in (("one", "soon"), ("two", "0001-01-01T00:00:00")):
            folder = job(name, **OVER)
            line = json.dumps({"schema": SCHEMA, "type": "host_state", "time": moment})
            folder.journal.write_text(line + "\n")
        job("three", **OVER)
        assert sshrender("clean", "--older-than", "1h").returncode == 0
        assert _names(sshrender) == ["one", "two"]

    def test_two_that_clean_at_once_do_not_trip_each_other(
        self, job: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = job("one", **OVER)
        load = jobattributes.load

        def slow(found: JobFolder) -> Attributes:
            wanted = load(found)
            monkeypatch.setattr(jobattributes, "load", load)
            assert removal.remove(folder, removal.is_unwanted)
            return wanted

        monkeypatch.setattr(jobattributes, "load", slow)
        assert not removal.remove(folder, removal.is_unwanted)


class TestUnreadable:
    """One job whose files cannot be read spoils nothing for the others."""

    @pytest.mark.parametrize("which", ["attributes", "lease", "journal", "spec"])
    def test_others_are_told_of_and_it_is_where_it_is_named(
        self, sshrender: Run, job: Made, which: str
    ) -> None:
        job("one", **OVER)
        path: Path = getattr(job("bad", **OVER), which)
        path.unlink(missing_ok=True)
        path.mkdir()
        assert _names(sshrender) == ["one"]
        assert "removed" not in sshrender("status", "--all").stdout
        assert _pages(sshrender) >= 1
        named = sshrender("status", "bad-12345678").returncode
        assert named == (2 if which == "spec" else 6), "a folder job.json makes no job"
        answer = sshrender("clean", "--older-than", "30d")
        assert (answer.returncode, "one-12345678 (cancelled) removed" in answer.stderr) == (0, True)

    def test_jobs_that_come_after_others_do_not_mind(self, san: Path, job: Made) -> None:
        from sshrender.api.dependencies import refuse_circle

        job("one", after=["two-12345678"])
        path = job("bad").attributes
        path.unlink()
        path.mkdir()
        refuse_circle(san, "three-12345678", ["one-12345678"])
        with pytest.raises(UserError, match="none of them would ever start"):
            refuse_circle(san, "two-12345678", ["one-12345678"])

    def test_a_shared_folder_that_fails_is_no_empty_queue(self, san: Path, job: Made) -> None:
        folder = job("one", **OVER)

        def fails() -> None:
            folder.path.parent.rename(san.with_name("gone"))
            raise OSError(116, "Stale file handle", str(folder.attributes))

        with pytest.raises(FileNotFoundError):
            jobs.if_readable(san, fails)

    def test_a_lease_that_cannot_be_read_is_told_apart(self, job: Made) -> None:
        from sshrender.job import lease

        one, bad = job("one").lease, job("bad").lease
        bad.mkdir()
        unreadable: dict[Path, OSError] = {}
        assert lease.holders([one, bad], unreadable=unreadable) == {one: None}
        assert list(unreadable) == [bad]
        with pytest.raises(OSError, match="regular file"):
            lease.holders([one, bad])

    def test_a_pipe_in_the_place_of_a_job_makes_nobody_wait(self, sshrender: Run, san: Path) -> None:
        (san / "evil-12345678").mkdir()
        os.mkfifo(san / "evil-12345678" / "job.json")
        assert sshrender("status").stdout == "no jobs\n"


class TestOthers:
    """A coordinator must be able to read what is written into its jobs."""

    @pytest.mark.parametrize(("user", "name"), [(65534, "nobody"), (54321, "'#54321'")])
    def test_who_is_not_its_owner_is_told_how_to_be(
        self, san: Path, job: Made, monkeypatch: pytest.MonkeyPatch, user: int, name: str
    ) -> None:
        folder = job("one")
        if os.geteuid() == 0:
            os.chown(folder.path, user, -1)
        else:
            monkeypatch.setattr(files, "user_in", lambda folder: 0)
            user, name = os.geteuid(), files.name_of(os.geteuid())
        before = sorted(path.name for path in folder.path.iterdir())
        with pytest.raises(UserError) as caught:
            jobchanges._find(san, "one", Operation.HOLD)
        assert caught.value.code == ExitCode.STORAGE
        assert caught.value.hint == f"sudo -u {name} sshrender hold one-12345678"
        assert sorted(path.name for path in folder.path.iterdir()) == before

    def test_where_we_may_write_nothing_we_are_who_we_are(
        self, san: Path, job: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuses(folder: Path) -> int:
            raise PermissionError(13, "Permission denied")

        job("one")
        monkeypatch.setattr(files, "user_in", refuses)
        assert jobchanges._find(san, "one", Operation.HOLD)[0].name == "one-12345678"

    def test_the_command_says_so(self, sshrender: Run, job: Made) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a job away")
        folder = job("one")
        os.chown(folder.path, 65534, -1)
        for words in (["hold"], ["release"], ["cancel"], ["resubmit"], ["alter", "--priority", "1"]):
            answer = sshrender(words[0], "one", *words[1:])
            assert answer.returncode == 6
            assert f"hint: sudo -u nobody sshrender {words[0]} one-12345678" in answer.stderr
        assert not folder.lease.exists()


class TestText:
    """What a shell passes on need not be UTF-8."""

    def test_a_note_is(self, sshrender: Run, job: Made) -> None:
        folder = job("one")
        answer = sshrender("hold", "one", "--note", "f\udcfcr", env={"LOGNAME": "\udcfc"})
        assert answer.returncode == 0, answer.stderr
        found = jobattributes.load(folder)
        assert (found.held.partition("@")[0], found.why) == ("?", "f?r")


class TestThreads:
    """The main thread never touches a folder that may hang: it takes signals."""

    def test_output_folders(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        where = []

        def seen(*words: object) -> str:
            where.append(threading.current_thread() is threading.main_thread())
            return "0" * 16

        monkeypatch.setattr(outputlocation, "create_marker", seen)
        monkeypatch.setattr(outputlocation, "remove_marker", seen)
        jobchanges._marked(home / "out", home / "san")
        jobs.remove_marker(home / "out", jobs.create_marker(home / "out"))
        assert where == [False] * 3

    def test_documents(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        where = []

        def fails(path: Path) -> list[Path]:
            where.append(threading.current_thread() is threading.main_thread())
            raise TimeoutError(110, "it does not answer", str(path))

        monkeypatch.setattr(documentarguments, "_matching", fails)
        with pytest.raises(UserError, match="it does not answer") as caught:
            documentarguments._documents(Path("papers"))
        assert caught.value.code == ExitCode.DOCUMENT
        assert where == [False]


class TestAgain:
    """What is submitted a second time."""

    @pytest.fixture(autouse=True)
    def _document(self, home: Path, san: Path) -> None:
        pdfs.write(home / "one.pdf", pdfs.numbered(3))

    def test_a_job_that_is_done_is_delivered_where_it_is_wanted_now(
        self, sshrender: Run, home: Path, san: Path
    ) -> None:
        def submit_to(folder: str, *more: str) -> str:
            answer = sshrender("submit", "one.pdf", "-r", "20", "-o", folder, *more, "--json")
            assert answer.returncode == 0, answer.stderr
            return str(json.loads(answer.stdout)["jobs"][0]["state"])

        def made(folder: str) -> list[str]:
            assert sshrender("coordinate", "--once", "--quiet").returncode == 0
            return sorted(path.name for path in (home / folder).iterdir())

        pages = [f"page-000{number}.png" for number in (1, 2, 3)]
        assert submit_to("a") == "queued"
        assert made("a") == pages
        assert submit_to("a") == "done"
        assert submit_to("b") == "queued"
        assert "is queued, not finished" in sshrender("clean", "one").stderr
        assert made("b") == pages
        (home / "b" / pages[1]).unlink()
        assert submit_to("b") == "queued"
        assert made("b") == pages
        assert submit_to("b") == "done"
        assert submit_to("b", "--assemble", "zip") == "queued"
        assert made("b") == ["one.zip", *pages]
        (journal,) = san.glob("one-*/journal.jsonl")
        sent = [line for line in journal.read_text().splitlines() if '"page_sent"' in line]
        assert len(sent) == 3, "each page was drawn once"

    def test_a_new_job_of_an_old_name_closes_no_circle(
        self, sshrender: Run, home: Path, san: Path
    ) -> None:
        pdfs.write(home / "two.pdf", pdfs.numbered(3))
        one = sshrender("submit", "one.pdf", "-r", "20").stdout.strip()
        assert sshrender("submit", "two.pdf", "-r", "20", "--after", "one").returncode == 0
        assert sshrender("cancel", "one").returncode == 0
        assert sshrender("clean", "one").returncode == 0
        answer = sshrender("submit", "one.pdf", "-r", "20", "--after", "two")
        assert (answer.returncode, answer.stdout) == (2, "")
        assert "none of them would ever start" in answer.stderr
        assert not (san / one).exists()
        assert list((home / "one-pages").iterdir()) == []
        assert sshrender("alter", "two", "--after", "").returncode == 0
        assert sshrender("submit", "one.pdf", "-r", "20", "--after", "two").stdout.strip() == one

    def test_variables_alter_nothing(self, sshrender: Run, job: Made) -> None:
        folder = job("one", output="/there", output_host="elsewhere", priority=3)
        env = {"SSHRENDER_OUTPUT": "/tmp/else", "SSHRENDER_PRIORITY": "9", "SSHRENDER_LIMIT": "8"}
        assert sshrender("alter", "one", "--limit", "2", env=env).returncode == 0
        found = jobattributes.load(folder)
        assert (found.output, found.priority, found.limit) == ("/there", 3, 2)
        answer = sshrender("alter", "one", env=env)
        assert (answer.returncode, "no change is given" in answer.stderr) == (2, True)


@pytest.mark.parametrize("name", ["job.json", "attributes.json", "journal.jsonl", "lease"])
def test_a_fifo_among_a_job_s_files_keeps_nobody_waiting(sshrender: Run, job: Made, name: str) -> None:
    job("well", **OVER)
    path = job("broken", **OVER).path / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    answer = sshrender("status", "--json")
    assert answer.returncode == 0
    assert "well-12345678" in [row["job"] for row in json.loads(answer.stdout)["jobs"]]
    assert sshrender("report").returncode == 0


def test_a_setting_that_is_no_text_is_said(sshrender: Run, san: Path, home: Path) -> None:
    pdfs.write(home / "one.pdf", pdfs.numbered(1))
    secret = os.fsdecode(b"f\xfcr")
    (home / secret).write_text("x")
    answer = sshrender("submit", "one.pdf", "--password-file", secret)
    assert answer.returncode == 2, answer.stderr
    assert "is not UTF-8" in answer.stderr
    assert [path.name for path in san.iterdir() if not path.name.startswith(".")] == []
