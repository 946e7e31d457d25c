"""What the owner signed and nothing else is run; what is read of a job is checked for its form."""

from __future__ import annotations

import json
import os
import queue
import shlex
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender.api import removal
from sshrender.api.renderoptions import require_allowed
from sshrender.config import keyfile
from sshrender.config.settings import Settings, resolve, validated
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.queuedispatcher import JobActions, QueueDispatcher
from sshrender.coordinator.workers.requestpoller import RequestPoller, RequestReceived, RequestsRefused
from sshrender.document import facts
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes, signature, spec
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import MAX_HANDLED, Attributes
from sshrender.job.queue import queueoperations, requests
from sshrender.job.queue.queuescanner import QueueScanner
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request
from sshrender.job.signature import Purpose, Unsigned
from sshrender.job.spec import DocumentRecord, JobSpec, RecipeRecord, RenderSettings
from sshrender.views import joblist
from tests import signed
from tests.entries import lines_of

DOCUMENT = DocumentRecord(name="one.pdf", bytes=1, sha256="0" * 64, pages=3)
SETTINGS = RenderSettings(device="png16m", dpi=36, pages="1-3")
NAME = spec.job_name("one", DOCUMENT.sha256, SETTINGS)
CREATED = "2026-01-01T00:00:00.000Z"
QUEUED = {"submitted": CREATED, "handled_before": requests.floor(0.0)}


@pytest.fixture
def folder(home: Path) -> JobFolder:
    """A job that waits, alone on its SAN."""
    made = JobFolder(home / "san" / NAME)
    made.path.mkdir(parents=True)
    made.create()
    Attributes().changed(**QUEUED).save(made)
    JobSpec(name=NAME, created=CREATED, document=DOCUMENT, settings=SETTINGS).save(made)
    return made


class TestKey:
    """It is this user's alone, and made once."""

    def test_processes_that_begin_at_once_make_one_key(self, home: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda _: keyfile.load_or_make(), range(8)))
        assert len(keys) == 1
        place = home / ".config" / "sshrender" / "key"
        assert keyfile.path() == place
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert [path.name for path in place.parent.iterdir()] == ["key"]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
    def test_a_key_that_others_can_read_or_write_is_refused(self, home: Path, mode: int) -> None:
        keyfile.load_or_make()
        keyfile.path().chmod(mode)
        with pytest.raises(UserError, match="other users") as caught:
            keyfile.load()
        assert (caught.value.code, caught.value.hint[:10]) == (ExitCode.USAGE, "chmod 600 ")

    def test_a_key_of_another_user_is_refused(self, home: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        keyfile.load_or_make()
        os.chown(keyfile.path(), 12345, -1)
        with pytest.raises(UserError, match="another user"):
            keyfile.load()

    @pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
    def test_what_is_no_key_is_refused(self, home: Path, text: str) -> None:
        keyfile.load_or_make()
        keyfile.path().write_text(text)
        with pytest.raises(UserError, match="no key"):
            keyfile.load()

    def test_a_user_without_a_home_is_told_what_to_set(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(user: int) -> Any:
            raise KeyError(user)

        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", unknown)
        with pytest.raises(UserError, match="home of this user is unknown") as caught:
            keyfile.load_or_make()
        assert "export HOME=" in caught.value.hint


def test_a_machine_whose_clock_is_far_behind_is_told_that_its_request_is_refused(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id would be taken for that of a request which was done before."""
    Attributes().changed(**{**QUEUED, "handled_before": requests.floor(time.time() - 86400)}).save(
        folder
    )
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    long_ago = time.time_ns() - 2 * 86400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: long_ago)
    with pytest.raises(UserError, match="clock of this machine is behind"):
        requests.ask(folder, Request(Operation.RELEASE, "ann@desk"))
    assert len(list(folder.requests.iterdir())) == 1


class TestFiles:
    """A file is believed in its own place only, as the owner wrote it."""

    def test_what_the_owner_wrote_is_run(self, folder: JobFolder) -> None:
        assert spec.load_signed_spec(folder) == spec.load_spec(folder)
        assert jobattributes.load_signed(folder).submitted == CREATED

    @pytest.mark.parametrize("which", ["spec", "attributes"])
    @pytest.mark.parametrize("damage", ["changed", "unsigned", "elsewhere", "no key", "other key"])
    def test_what_a_host_wrote_is_not_run_and_can_still_be_read(
        self, folder: JobFolder, which: str, damage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path: Path = getattr(folder, which)
        fields = json.loads(path.read_text())
        if damage == "changed":
            fields["created" if which == "spec" else "submitted"] = "2026-02-02T00:00:00.000Z"
        elif damage == "unsigned":
            del fields["mac"]
        elif damage == "elsewhere":
            other = JobFolder(folder.path.with_name("two-12345678"))
            purpose = Purpose.JOB if which == "spec" else Purpose.ATTRIBUTES
            fields = signature.signed(other, purpose, fields)
        else:
            keyfile.path().unlink()
            if damage == "other key":
                keyfile.load_or_make()
        path.write_text(json.dumps(fields))
        with pytest.raises(Unsigned) as caught:
            spec.load_signed_spec(folder) if which == "spec" else jobattributes.load_signed(folder)
        assert caught.value.code == ExitCode.STORAGE
        wanted = "sshrender key import" if "key" in damage else f"mv {shlex.quote(str(folder.path))} "
        assert wanted in caught.value.hint
        assert spec.load_spec(folder) is not None
        assert jobattributes.load(folder).is_queued

    def test_one_kind_of_file_is_worth_nothing_as_another(self, folder: JobFolder) -> None:
        fields = json.loads(folder.attributes.read_text())
        assert signature.is_signed(folder, Purpose.ATTRIBUTES, fields)
        assert not signature.is_signed(folder, Purpose.JOB, fields)
        assert not signature.is_signed(folder, Purpose.REQUEST, fields)

    def test_a_folder_of_another_name_than_its_job_s_is_refused(self, folder: JobFolder) -> None:
        other = JobFolder(folder.path.with_name("one-12345678"))
        folder.path.rename(other.path)
        found = JobSpec(name=other.name, created=CREATED, document=DOCUMENT, settings=SETTINGS)
        found.save(other)  # signed for this folder: the name of the job is still another
        with pytest.raises(UserError, match="another job than its name"):
            spec.load_signed_spec(other)

    @pytest.mark.parametrize("name", ["two-12345678", "two", "a;reboot -12345678", "$(id)-12345678"])
    def test_no_reader_shows_a_job_under_the_name_of_another(self, folder: JobFolder, name: str) -> None:
        laid = JobFolder(folder.path.with_name(name))
        laid.path.mkdir()
        laid.spec.write_bytes(folder.spec.read_bytes())
        with pytest.raises(UserError, match="another job than its name") as caught:
            spec.load_spec(laid)
        words = shlex.split(caught.value.hint, comments=True)
        assert (words[:2], len(words)) == (["mv", str(laid.path)], 3), "the hint is one command"
        if name != "two-12345678":
            fields = json.loads(folder.spec.read_text())
            laid.spec.write_text(json.dumps({**fields, "name": name}))
            with pytest.raises(UserError, match="another job than its name"):
                spec.load_spec(laid)

    def test_a_hint_has_no_command_of_the_one_who_named_the_folder(self, tmp_path: Path) -> None:
        job = JobFolder(tmp_path / "a; touch x #-12345678")
        job.path.mkdir()
        job.attributes.write_text("{")
        path = tmp_path / "$(id).pdf"
        path.write_text("no PDF")
        reports = {"job": job.name, "submitted": CREATED}
        commands = {"mv": str(job.path), "file": str(path), "sshrender": "resubmit"}
        hints = [joblist.again(reports)]
        for work in (lambda: jobattributes.load(job), lambda: facts.check_file(path)):
            with pytest.raises(UserError) as caught:
                work()
            hints.append(caught.value.hint)
        words = [shlex.split(hint, comments=True) for hint in hints]
        assert {command: first for command, first, *_ in words} == commands
        assert words[0] == ["sshrender", "resubmit", job.name]

    def test_a_job_without_the_owner_s_signature_takes_no_lease_and_no_request(
        self, folder: JobFolder
    ) -> None:
        folder.attributes.write_text(json.dumps({"schema": 1, "submitted": CREATED}))
        before = folder.attributes.read_text()
        with pytest.raises(Unsigned):
            queueoperations.change(folder, Request(Operation.HOLD, "ann@desk"))
        with pytest.raises(Unsigned):
            requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
        assert folder.attributes.read_text() == before
        assert list(folder.requests.iterdir()) == []

    def test_a_job_without_attributes_is_not_run_and_gets_none(self, folder: JobFolder) -> None:
        """A host that removes them would have the job run without its owner's wishes."""
        folder.attributes.unlink()
        with pytest.raises(Unsigned, match="is missing") as caught:
            queueoperations.change(folder, Request(Operation.ALTER, "ann@desk", changes={"priority": 1}))
        assert (caught.value.code, caught.value.hint[:3]) == (ExitCode.STORAGE, "mv ")
        for work in (jobattributes.load_signed, queueoperations.handle_requests):
            with pytest.raises(Unsigned):
                work(folder)
        assert QueueScanner(folder.path.parent).scan().unsigned.keys() == {NAME}
        assert not jobattributes.is_there(folder)


class TestForms:
    """Everything that is acted on is checked at the door, signed or not."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"output_marker": "x/../../home"},
            {"output_marker": "0" * 15},
            {"output_host": "the SAN", "output": "../home"},
            {"output_host": "the SAN", "output": "/home"},
            {"output": "/a\0b"},
            {"after": ["../other"]},
            {"after": [".hidden"]},
            {"over": "elsewhere"},
            {"submitted": "yesterday"},
            {"not_before": "2026-01-01"},
            {"held": "\ud800"},
            {"why": 7},
            {"schema": 0},
            {"priority": 10**6},
        ],
        ids=lambda changes: json.dumps(changes),
    )
    def test_attributes_of_another_form_are_damaged(
        self, folder: JobFolder, changes: dict[str, Any]
    ) -> None:
        fields = {**json.loads(folder.attributes.read_text()), **changes}
        fields = signature.signed(folder, Purpose.ATTRIBUTES, fields)
        folder.attributes.write_text(json.dumps(fields))
        with pytest.raises(UserError, match=r"attributes\.json is damaged"):
            jobattributes.load(folder)

    @pytest.mark.parametrize(
        ("part", "changes"),
        [
            ("document", {"name": "../one.pdf"}),
            ("document", {"name": ""}),
            ("document", {"sha256": "0" * 63}),
            ("document", {"sha256": "../" + "0" * 61}),
            ("document", {"pages": 0}),
            ("document", {"bytes": -1}),
            ("settings", {"device": "pdfwrite"}),
            ("settings", {"device": "../x"}),
            ("settings", {"dpi": 0}),
            ("settings", {"dpi": 1e9}),
            ("settings", {"dpi": float("nan")}),
            ("settings", {"pages": "4"}),
            ("settings", {"pages": "x"}),
            ("settings", {"pages": "1-3,1-3"}),
            ("settings", {"pages": "2,1"}),
            ("settings", {"split": -1}),
            ("settings", {"options": ["-dNOSAFER"]}),
            ("settings", {"options": ["-sOutputFile=/etc/passwd"]}),
            ("settings", {"options": ["/home/a.ps"]}),
            ("settings", {"recipes": [{"name": "x", "extension": "png/../../x"}]}),
            ("settings", {"recipes": [{"name": "x", "steps": [["{home}"]], "extension": "png"}]}),
            ("settings", {"recipes": [{"name": "x", "format": "exe", "extension": "png"}]}),
            ("", {"name": "../one"}),
            ("", {"created": "soon"}),
            ("", {"schema": 0}),
        ],
        ids=json.dumps,
    )
    def test_a_job_of_another_form_is_damaged(
        self, folder: JobFolder, part: str, changes: dict[str, Any]
    ) -> None:
        fields = json.loads(folder.spec.read_text())
        (fields[part] if part else fields).update(changes)
        signed.spec(folder, **fields)
        with pytest.raises(UserError, match=r"job\.json is damaged"):
            spec.load_spec(folder)

    def test_clean_removes_nothing_outside_of_the_job(self, folder: JobFolder, home: Path) -> None:
        """What stands in the attributes of a host becomes part of no path."""
        treasure = home / "treasure"
        treasure.write_text("precious")
        output = home / "out"
        (output / ".sshrender-x").mkdir(parents=True)
        fields = {"schema": 1, "submitted": CREATED, "over": "done", "output": str(output)}
        fields |= {"output_host": os.uname().nodename, "output_marker": "x/../../treasure"}
        folder.attributes.write_text(json.dumps(fields))
        with pytest.raises(UserError, match="damaged"):
            removal.remove(folder, removal.is_unwanted)
        assert treasure.exists()
        (output / ".sshrender-0123456789abcdef").touch()
        folder.attributes.write_text(json.dumps({**fields, "output_marker": "0123456789abcdef"}))
        assert removal.remove(folder, removal.is_unwanted)
        assert (output / ".sshrender-0123456789abcdef").exists(), "the owner did not say so"
        assert treasure.exists()

    def test_clean_follows_no_link_in_the_place_of_a_job(self, folder: JobFolder) -> None:
        link = folder.path.with_name("two-12345678")
        link.symlink_to(folder.path)
        jobattributes.load(folder).changed(over="done").save(folder)
        with pytest.raises(UserError, match="symbolic link"):
            removal.remove(JobFolder(link), removal.is_unwanted)
        assert folder.spec.exists()


def _request_poller(folder: JobFolder, posted: queue.SimpleQueue[Any]) -> RequestPoller:
    plan = SimpleNamespace(folder=folder, attributes=jobattributes.load(folder))
    return RequestPoller(cast("JobPlan", plan), posted.put, lambda: None, {})


class TestRequests:
    """They are obeyed once, and where the owner asked."""

    def test_a_copy_of_a_request_asks_for_nothing(self, folder: JobFolder) -> None:
        path = requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
        data = path.read_bytes()
        assert queueoperations.handle_requests(folder).held == "ann@desk"
        queueoperations.change(folder, Request(Operation.RELEASE, "ann@desk"))
        path.write_bytes(data)
        assert queueoperations.handle_requests(folder).held == ""
        assert list(folder.requests.iterdir()) == []
        operations = [entry["op"] for entry in lines_of(folder.journal)]
        assert operations == ["hold", "release"]

    def test_a_copy_asks_for_nothing_of_a_running_coordinator(self, folder: JobFolder) -> None:
        posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        request_poller = _request_poller(folder, posted)
        path = requests.ask(folder, Request(Operation.DRAIN, "ann@desk", host="node1"))
        data = path.read_bytes()
        request_poller.start()
        try:
            assert posted.get(timeout=60) == RequestReceived(
                Request(Operation.DRAIN, "ann@desk", host="node1")
            )
            path.write_bytes(data)
            requests.ask(folder, Request(Operation.RELEASE, "ann@desk"))
            assert posted.get(timeout=60).request.op == "release"
            assert not path.exists()
        finally:
            request_poller.stop()

    def test_a_request_of_a_host_is_removed_told_once_and_not_obeyed(self, folder: JobFolder) -> None:
        fields = {"schema": 1, "op": "cancel", "by": "ann@desk", "host": "", "page": 0, "note": ""}
        for number in range(50):
            name = f"{number:020d}-{number:016x}"
            text = json.dumps({**fields, "id": name, "changes": {}, "mac": "hmac-sha256:0:0"})
            (folder.requests / f"{name}.json").write_text(text)
        assert queueoperations.handle_requests(folder).over == ""
        assert list(folder.requests.iterdir()) == []
        told = [(entry["type"], entry["count"]) for entry in lines_of(folder.journal)]
        assert told == [("requests_refused", 50)]

    def test_a_coordinator_tells_of_refused_requests_once(self, folder: JobFolder) -> None:
        posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        request_poller = _request_poller(folder, posted)
        request_poller._refuse(requests.take(folder, request_poller._carry_out))
        for _ in range(3):
            (folder.requests / "0-evil.json").write_text("{}")
            request_poller._refuse(requests.take(folder, request_poller._carry_out))
        assert (posted.get_nowait(), posted.empty()) == (RequestsRefused(1), True)

    def test_a_request_under_another_name_is_none(self, folder: JobFolder) -> None:
        path = requests.ask(folder, Request(Operation.CANCEL, "ann@desk"))
        path.rename(path.with_name("99999999999999999999-0000000000000000.json"))
        assert queueoperations.handle_requests(folder).over == ""

    def test_what_was_signed_for_a_job_is_worth_nothing_for_its_successor(
        self, folder: JobFolder
    ) -> None:
        """The clock of the machine where it was asked may be ahead."""

        def make(number: int) -> None:
            Attributes(job=f"{number:032x}").save(folder)
            made = JobSpec(name=NAME, created=CREATED, document=DOCUMENT, settings=SETTINGS)
            made.model_copy(update={"id": f"{number:032x}"}).save(folder)

        make(1)
        path = requests.ask(folder, Request(Operation.CANCEL, "ann@desk"))
        laid, old = path.read_bytes(), folder.attributes.read_bytes()
        assert queueoperations.handle_requests(folder).over == "cancelled"
        make(2)
        path.write_bytes(laid)
        assert queueoperations.handle_requests(folder).over == ""
        assert not path.exists()
        folder.attributes.write_bytes(old)
        with pytest.raises(Unsigned, match="another job of this name"):
            jobattributes.load_signed(folder)
        assert QueueScanner(folder.path.parent).scan().unsigned.keys() == {NAME}

    def test_a_long_note_holds_a_job(self, folder: JobFolder) -> None:
        queueoperations.change(folder, Request(Operation.HOLD, "ann@desk", note="x" * 10_000))
        assert jobattributes.load(folder).why == "x" * requests.MAX_CHARS

    def test_a_request_of_an_earlier_job_of_the_name_is_none(self, folder: JobFolder) -> None:
        requests.ask(folder, Request(Operation.CANCEL, "ann@desk"))
        before = requests.floor(time.time() + 1)
        jobattributes.load(folder).changed(handled_before=before).save(folder)
        assert queueoperations.handle_requests(folder).over == ""

    def test_ids_are_remembered_within_bounds_and_none_is_obeyed_again(self) -> None:
        found = Attributes()
        ids = [f"{number:020d}-{number:016x}" for number in range(MAX_HANDLED + 50)]
        for each in ids:
            assert not found.has_handled(each)
            found = found.handling(each)
        assert all(found.has_handled(each) for each in ids)
        assert len(found.handled) == MAX_HANDLED

    def test_a_link_in_the_place_of_requests_loses_no_file_elsewhere(
        self, folder: JobFolder, home: Path
    ) -> None:
        elsewhere = home / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "mine.json").write_text("{}")
        folder.requests.rmdir()
        folder.requests.symlink_to(elsewhere)
        with pytest.raises(OSError, match=r"."):
            requests.take(folder, lambda request: None)
        assert (elsewhere / "mine.json").exists()


class TestPolicy:
    """What the site says outranks a job."""

    @pytest.mark.parametrize(
        ("site", "job", "found"),
        [
            ("bwrap", "none", "bwrap"),
            ("bwrap", None, "bwrap"),
            ("none", "bwrap", "bwrap"),
            (None, "bwrap", "bwrap"),
            (None, "none", "none"),
        ],
    )
    def test_a_job_may_raise_the_sandbox_and_not_lower_it(
        self, home: Path, site: str | None, job: str | None, found: str
    ) -> None:
        if site is not None:
            (home / "sshrender.toml").write_text(f'sandbox = "{site}"\n')
        wishes = {"retries": 5, **({"sandbox": job} if job else {})}
        settings = resolve({}, environ={}, job=wishes).settings
        assert (settings.sandbox, settings.retries) == (found, 5)
        assert resolve({"sandbox": "none"}, environ={}, job=wishes).settings.sandbox == "none"

    def test_a_site_may_run_configured_recipes_only(self) -> None:
        own = {"mine": {"shell": "true", "extension": "png"}}
        settings = validated({"recipes": own, "recipes_allowed": "configured"})
        mine = RecipeRecord.of(settings.recipes["mine"].as_sent("mine"))
        require_allowed(settings, "job", (mine, RecipeRecord(name="ghostscript")))
        for recipe in (
            mine.model_copy(update={"shell": "false"}),
            RecipeRecord(name="x", extension="png"),
        ):
            with pytest.raises(UserError, match="not in the configuration"):
                require_allowed(settings, "job", (recipe,))
            require_allowed(Settings(), "job", (recipe,))


class TestQueue:
    """What is not the owner's stays where it is."""

    def test_jobs_without_the_owner_s_signature_are_told_of_in_one_line_and_not_run(
        self, folder: JobFolder
    ) -> None:
        san = folder.path.parent
        for number in range(20):
            made = JobFolder(san / f"evil\x1b[2J-{number:08d}")
            made.path.mkdir()
            made.create()
            text = json.dumps({"schema": 1, "submitted": CREATED, "wishes": {"password_file": "/x"}})
            made.attributes.write_text(text)
            made.spec.write_text(folder.spec.read_text())
        found = QueueScanner(san).scan()
        assert [entry.name for entry in found.entries] == [NAME]
        assert (len(found.unsigned), found.damaged) == (20, {})
        jobattributes.load(folder).changed(over="done").save(folder)
        said: list[str] = []
        started: list[str] = []

        def start(entry: Any) -> Any:
            started.append(entry.name)
            raise OSError

        actions = JobActions(start, lambda *_: None, lambda *_: None, said.append)
        dispatcher = QueueDispatcher(san, actions, at_once=4, is_once=True)
        assert dispatcher.run() is None
        assert (started, len(said)) == ([], 1)
        assert said[0].startswith("not run: evil?[2J-00000000, and 19 more: ")
        assert "\x1b" not in said[0]
        assert all(not (san / name / "lease").exists() for name in found.unsigned)

    def test_a_job_that_is_changed_later_is_not_run(self, folder: JobFolder) -> None:
        queue_scanner = QueueScanner(folder.path.parent)
        assert len(queue_scanner.scan().entries) == 1
        fields = json.loads(folder.spec.read_text())
        fields["settings"]["dpi"] = 72
        folder.spec.write_text(json.dumps(fields))
        assert list(queue_scanner.scan().unsigned) == [NAME]

    def test_a_key_that_cannot_be_used_ends_the_command_with_the_reason(self, folder: JobFolder) -> None:
        keyfile.path().chmod(0o644)
        with pytest.raises(UserError, match="other users"):
            QueueScanner(folder.path.parent).scan()
