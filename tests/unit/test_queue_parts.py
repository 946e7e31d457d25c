"""What the queue is made of: attributes, where pages are delivered, accounts, notices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.cli import reportersetup
from sshrender.config.settings import job_settings, resolve
from sshrender.coordinator import notification
from sshrender.errors import UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.output import outputlocation
from sshrender.job.status import accounting
from sshrender.job.status.accounting import Account
from tests.entries import entry, fields_of, parsed


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """A job's folder on a SAN."""
    (tmp_path / "san").mkdir()
    made = JobFolder(tmp_path / "san" / "job-12345678")
    made.path.mkdir()
    made.create()
    return made


class TestAttributes:
    """The file beside job.json."""

    def test_they_come_back_as_they_were_written(self, folder: JobFolder) -> None:
        wanted = Attributes(
            owner="ann@desk", priority=-3, limit=2, after=("x-1",), wishes={"retries": 5, "pin": ["1=a"]}
        )
        wanted.save(folder)
        assert jobattributes.load(folder) == wanted
        assert json.loads(folder.attributes.read_text())["schema"] == 1

    def test_a_job_without_any_is_nobodys_and_not_queued(self, folder: JobFolder) -> None:
        assert jobattributes.load(folder) == Attributes()
        assert not Attributes().is_queued

    @given(st.binary(max_size=100) | st.just(b"{}") | st.just(b'{"schema": 1, "limit": 0}'))
    def test_whatever_stands_there_is_understood_or_said_to_be_damaged(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes
    ) -> None:
        made = JobFolder(tmp_path_factory.mktemp("job"))
        made.attributes.write_bytes(data)
        with pytest.raises(UserError, match=r"attributes\.json is damaged"):
            jobattributes.load(made)

    def test_job_settings_are_those_not_default_and_only_options_replace_them(self, home: Path) -> None:
        resolved = resolve(
            {"retries": "5", "password_file": "secret"}, environ={"SSHRENDER_STRICT": "1"}
        )
        found = job_settings(resolved)
        assert found == {"retries": 5, "strict": True, "password_file": str(home / "secret")}
        (home / "sshrender.toml").write_text("retries = 9\nwait = '1m'\n")
        again = resolve({"strict": "false"}, job=found).settings
        assert (again.retries, again.strict, again.wait) == (5, False, 60.0)


class TestDelivery:
    """Whose path is whose."""

    def test_a_folder_on_the_san_is_the_same_wherever_that_is_mounted(self, folder: JobFolder) -> None:
        san = folder.path.parent
        wanted = Attributes().changed(**outputlocation.recorded(san / "out" / "a", san))
        elsewhere = JobFolder(Path("/mnt/other") / folder.name)
        assert outputlocation.place(wanted, elsewhere) == Path("/mnt/other/out/a")

    def test_a_folder_of_this_machine_is_used_here_and_nowhere_else(
        self, folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = tmp_path / "out"
        wanted = Attributes().changed(**outputlocation.recorded(output, folder.path.parent))
        assert outputlocation.place(wanted, folder) == output
        monkeypatch.setattr("socket.gethostname", lambda: "another")
        assert outputlocation.place(wanted, folder) is None

    def test_a_marked_folder_is_known_on_any_machine(
        self, folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = tmp_path / "out"
        word = outputlocation.create_marker(output)
        wanted = Attributes().changed(**outputlocation.recorded(output, folder.path.parent, word))
        monkeypatch.setattr("socket.gethostname", lambda: "another")
        assert outputlocation.place(wanted, folder) == output
        outputlocation.remove_marker(output, word)
        assert outputlocation.place(wanted, folder) is None
        assert list(output.iterdir()) == []

    @pytest.mark.parametrize("word", ["", "../x", "a/b", "0" * 15, "G" * 16])
    def test_a_word_that_is_none_marks_nothing(
        self, folder: JobFolder, word: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = Attributes.model_construct(output="/tmp", output_host="elsewhere", output_marker=word)
        assert outputlocation.place(wanted, folder) is None


DELIVERED: dict[str, Any] = {
    "file": "page-0001.png",
    "bytes": 1,
    "sha256": "0" * 64,
    "width": 1,
    "height": 1,
    "ghostscript": "10.00.0",
    "attempts": 1,
    "diagnostics": [],
}
FAILED = {"attempt": "1.1", "kind": "crashed", "reason": "x"}


def _read(kind: str, host: str, month: str = "2026-01", **fields: Any) -> JournalEntry | None:
    more = DELIVERED if kind == "page_delivered" else FAILED
    moment = {"time": f"{month}-15T00:00:00.000Z", "host": host}
    return parsed({**fields_of(kind, 0.0, **{**more, **fields}), **moment})


def _entry(kind: str, host: str, month: str = "2026-01", **fields: Any) -> JournalEntry:
    found = _read(kind, host, month, **fields)
    assert found is not None
    return found


class TestAccounts:
    """Who used what."""

    JOURNAL = (
        _entry("page_delivered", "a", cpu=1.5, seconds=2.0, page=1),
        _entry("page_delivered", "a", cpu=0.5, seconds=1.0, page=2),
        _entry("page_delivered", "b", "2026-02", cpu=1.0, seconds=1.0, page=3),
        _entry("attempt_failed", "b", "2026-02", page=3),
        _entry("page_delivered", "", cpu=0.0, seconds=0.0, page=4),
        entry("run_ended", 1.8e9, state="done", reason=""),
    )

    def test_they_are_summed_by_host_and_month(self) -> None:
        assert accounting.of("j", "ann", self.JOURNAL) == [
            Account("j", "ann", "a", "2026-01", 2, 2.0, 3.0, 0),
            Account("j", "ann", "b", "2026-02", 1, 1.0, 1.0, 1),
        ]

    def test_they_are_summed_by_what_one_asks_for(self) -> None:
        found = [*accounting.of("j", "ann", self.JOURNAL), *accounting.of("k", "bob", self.JOURNAL)]
        by_user = accounting.summed(found, ["user"])
        assert [(each.user, each.pages, each.failures) for each in by_user] == [
            ("ann", 3, 1),
            ("bob", 3, 1),
        ]
        assert sum(each.cpu_seconds for each in accounting.summed(found, ["host", "month"])) == 6.0

    def test_they_stay_when_the_job_goes(self, folder: JobFolder) -> None:
        accounts = accounting.of("j", "ann", self.JOURNAL)
        accounting.keep(folder, accounts)
        (folder.path.parent / ".accounting" / "evil.json").write_text('{"accounts": [{"job": 1}]}')
        assert accounting.kept(folder.path.parent) == accounts

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("pages", "1e999"),
            ("pages", "-1"),
            ("pages", "true"),
            ("cpu_seconds", "NaN"),
            ("seconds", "Infinity"),
            pytest.param("seconds", "1" + "0" * 400, id="seconds-large"),
            pytest.param("failures", "1" + "0" * 400, id="failures-large"),
        ],
    )
    def test_what_is_no_amount_counts_nothing(self, folder: JobFolder, key: str, value: str) -> None:
        accounts = accounting.of("j", "ann", self.JOURNAL)
        path = accounting.keep(folder, accounts)
        whole = json.dumps({**accounts[0].as_json(), "job": "evil"})[:-1]
        (path.parent / "evil.json").write_text(f'{{"accounts": [{whole}, "{key}": {value}}}]}}')
        assert accounting.kept(folder.path.parent) == accounts

    @pytest.mark.timeout(20)
    def test_what_others_lay_there_stops_nobody(self, folder: JobFolder) -> None:
        accounts = accounting.of("j", "ann", self.JOURNAL)
        place = accounting.keep(folder, accounts).parent
        (place / "a.json").mkdir()
        os.mkfifo(place / "b.json")
        (place / "c.json").symlink_to("c.json")
        (place / "d.json").symlink_to("/dev/zero")
        (place / "e.json").write_text("[" * 100_000)
        (place / "f.json").write_bytes(b"\xff")
        (place / "g.json").write_text('{"accounts": 1e999}')
        assert accounting.kept(folder.path.parent) == accounts

    def test_a_file_of_somebody_who_lets_nobody_read_it_counts_nothing(
        self, folder: JobFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accounts = accounting.of("j", "ann", self.JOURNAL)
        path = accounting.keep(folder, accounts)

        def refuses(*words: Any) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "open", refuses)
        monkeypatch.setattr(Path, "open", refuses)
        assert accounting.kept(folder.path.parent) == []

    def test_its_texts_can_be_written(self, folder: JobFolder) -> None:
        path = accounting.keep(folder, accounting.of("j", "\udcfc", self.JOURNAL))
        assert "\\udcfc" in path.read_text()
        assert {account.user for account in accounting.kept(folder.path.parent)} == {"?"}

    @pytest.mark.parametrize(
        "seconds",
        [10**400, float("inf"), float("nan"), -1.0, "2"],
        ids=["large", "infinite", "none", "negative", "text"],
    )
    def test_an_entry_of_no_time_at_all_counts_nothing(self, seconds: Any) -> None:
        assert _read("page_delivered", "a", cpu=1.0, seconds=seconds, page=5) is None
        evil = _entry("page_delivered", "a", cpu=seconds, seconds=1.0, page=5)
        (account,) = accounting.of("j", "ann", [evil])
        assert (account.cpu_seconds, account.seconds) == (0.0, 1.0)


_NO_ADDRESS = ("a@[", "a@", "@b", "a@b@c", "a..b@c", "änn@example.org", "a,,b", "a@b-", "x" * 1000)
SUMMARY = {
    "job": "j",
    "job_dir": "/san/j",
    "state": "partial",
    "output": "/out",
    "exit_code": 3,
}


class TestNotices:
    """Somebody is told."""

    def test_a_command_gets_the_summary_and_its_main_facts(self, tmp_path: Path) -> None:
        script = tmp_path / "told"
        script.write_text(
            f'#!/bin/sh\ncat > {tmp_path}/json; echo "$SSHRENDER_JOB $SSHRENDER_STATE'
            f' $SSHRENDER_EXIT_CODE $1" > {tmp_path}/facts\n'
        )
        script.chmod(0o755)
        said: list[str] = []
        notification.run([str(script), "a b; c"], SUMMARY, said.append)
        assert said == []
        assert (tmp_path / "facts").read_text() == "j partial 3 a b; c\n"
        assert json.loads((tmp_path / "json").read_text()) == SUMMARY

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (["/nowhere/at/all"], "No such file"),
            (["sh", "-c", "echo broken >&2; exit 7"], "exit code 7: broken"),
        ],
    )
    def test_one_that_fails_is_said(self, command: list[str], words: str) -> None:
        said: list[str] = []
        notification.run(command, SUMMARY, said.append)
        assert words in said[0]

    def test_mail_goes_through_sendmail(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "sendmail"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words; cat > {tmp_path}/mail\n')
        program.chmod(0o755)
        monkeypatch.setattr(notification, "_SENDMAIL", f"{tmp_path}{os.pathsep}/usr/bin")
        said: list[str] = []
        notification.mail("ann@example.org", SUMMARY, ["it went so", "and so"], said.append)
        assert said == []
        assert (tmp_path / "words").read_text() == "-i -t\n"
        mail = (tmp_path / "mail").read_text()
        assert "To: ann@example.org\nSubject: sshrender: j partial\n" in mail
        assert mail.endswith("it went so\nand so\n")

    def test_without_a_sendmail_that_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notification, "_SENDMAIL", "/nowhere")
        said: list[str] = []
        notification.mail("ann@example.org", SUMMARY, [], said.append)
        assert said == ["no mail to ann@example.org: there is no sendmail here"]

    @pytest.mark.parametrize("address", ["ann@example.org\nBcc: x@y", "a b", "<x>", "", *_NO_ADDRESS])
    def test_an_address_is_one(self, address: str) -> None:
        with pytest.raises(UserError):
            resolve({"mail_to": address}, environ={})

    def test_text_that_is_no_utf8_is_told_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A host's reason may hold half a surrogate pair, and a file's name any bytes."""
        program = tmp_path / "sendmail"
        program.write_text(
            f"#!/bin/sh\ncat > {tmp_path}/mail; printf '%s' \"$SSHRENDER_JOB\" > {tmp_path}/job\n"
        )
        program.chmod(0o755)
        monkeypatch.setattr(notification, "_SENDMAIL", f"{tmp_path}{os.pathsep}/usr/bin")
        odd = {**SUMMARY, "job": "j\ud800\n", "output": "/o\udcff\0"}
        said: list[str] = []
        notification.mail("ann@example.org", odd, ["page 1 failed: \ud800"], said.append)
        notification.run([str(program)], odd, said.append)
        assert said == []
        assert (tmp_path / "job").read_text() == "j?\n"

    @pytest.mark.parametrize("address", ["ann", "ann@example.org", "a.b+c@x, root", "a@[192.0.2.1]"])
    def test_an_address_may_be_local_or_several(self, address: str) -> None:
        assert resolve({"mail_to": address}, environ={}).settings.mail_to == address

    @pytest.mark.parametrize(
        ("address", "sent"),
        [("ann@my_host", "ann@my_host"), ("ann@exämple.org,bob@x", "ann@xn--exmple-cua.org, bob@x")],
    )
    def test_an_address_of_any_domain_is_sent_as_mail_has_it(self, address: str, sent: str) -> None:
        assert resolve({"mail_to": address}, environ={}).settings.mail_to == sent

    def test_whom_a_job_does_not_tell_is_said(
        self, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reportersetup.start({}, None, job={"mail_to": "a@["})
        assert "no mail to a@[: this is not a mail address" in capsys.readouterr().err

    def test_a_job_that_names_no_address_is_run_all_the_same(self) -> None:
        assert resolve({}, environ={}, job={"mail_to": "a@["}).settings.mail_to is None
