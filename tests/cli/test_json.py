"""``--json``: exactly one object on stdout for every command and every end, as its schema says."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sshrender import program
from sshrender.cli import jsonresult, statusline, streams
from sshrender.errors import ExitCode, UserError
from sshrender.process.signalexceptions import Ended
from sshrender.views import resultschema
from tests import jsonschema, pdfs
from tests.commandtree import TREE
from tests.conftest import Run

SCHEMA = resultschema.load()
COMMANDS = [
    *((name,) for name in sorted(set(TREE.commands) - {"config", "key"})),
    *((group, name) for group in ("config", "key") for name in sorted(TREE.commands[group].commands)),
]
Command = Callable[..., "Answer"]


class Answer:
    """What a command did: its exit code, and its two streams."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    def object_of(self, form: str) -> dict[str, Any]:
        """Return the object on stdout, valid for this form."""
        assert self.stdout.startswith("{"), (self.code, self.stderr)
        found: dict[str, Any] = json.loads(self.stdout)
        assert jsonschema.faults(found, SCHEMA["$defs"][form], SCHEMA) == []
        assert found["exit_code"] == self.code
        assert bool(self.code) == ("error" in found) == ("hint" in found)
        return found


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, as ``main`` does."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sshrender", *map(str, words)])
        monkeypatch.setattr(jsonresult._Process, "is_printed", False)
        monkeypatch.setattr(jsonresult._Process, "known", {})
        monkeypatch.setattr(jsonresult._Process, "progress", "")
        code = program.until_signal(program.run)
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def job(home: Path, san: Path, command: Command) -> str:
    """A queued job of two pages that is held."""
    pdfs.write(home / "two.pdf", pdfs.numbered(2))
    pdfs.write(home / "one.pdf", pdfs.numbered(1))
    found = command("submit", "two.pdf", "-r", "20", "--hold", "--json").object_of("submit")
    assert found["pages"] == {"total": 2, "done": 0, "suspect": 0, "failed": 0, "missing": 2}
    name: str = found["jobs"][0]["job"]
    return name


def test_every_command_takes_json_and_has_a_form() -> None:
    for path in COMMANDS:
        found = TREE
        for name in path:
            found = found.commands[name]
        assert any("--json" in each.opts for each in found.params), path
        assert "-".join(path) in SCHEMA["$defs"], path
    listed = {each["$ref"].removeprefix("#/$defs/") for each in SCHEMA["anyOf"]}
    assert listed == {"-".join(path) for path in COMMANDS} | {"version"}


SUCCEED = [
    "hosts",
    "status",
    "status JOB",
    "hold JOB",
    "release JOB",
    "alter JOB --priority 3",
    "cancel JOB",
    "resubmit JOB",
    "watch JOB",
    "clean --older-than 300d",
    "report",
    "overview JOB",
    "drain here",
    "drain",
    "undrain here",
    "init --host node[1-2] --san /san --hosts new.toml",
    "man render",
    "config show",
    "config path",
    "config validate",
    "config values",
    "config values device recipe",
    "config schema hosts",
    "config schema settings",
    "config schema results",
    "key show",
    "key path",
    "render two.pdf -r 20 --dry-run",
    "render two.pdf one.pdf -r 20 --dry-run",
]


def test_what_succeeds_prints_its_form(command: Command, job: str) -> None:
    for line in SUCCEED:
        words = [job if word == "JOB" else word for word in line.split()]
        answer = command(*words, "--json")
        form = "-".join(words[:2] if words[0] in ("config", "key") else words[:1])
        assert answer.code == 0, (line, answer.stderr)
        answer.object_of(form)


SILENT = ("hold", "release", "alter", "cancel", "resubmit", "drain here", "undrain", "clean")
"""Commands that print no data here: they only say on stderr what they have done."""


def test_a_full_stream_is_an_error_of_no_command_but_of_its_data(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with ``> /dev/full`` and ``2> /dev/full``: data that is lost is an error, narration is not."""
    for line in SUCCEED:
        words = [job if word == "JOB" else word for word in line.split()]
        monkeypatch.setattr(sys, "argv", ["sshrender", *words, *["--force"] * (words[0] == "init")])
        with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams._Output(full, "utf-8"))
            patch.setattr(streams, "discard", lambda: None)
            assert program.flushed(program.run()) == (0 if line.startswith(SILENT) else 6), line
            with contextlib.suppress(OSError):
                sys.stdout.close()
        said = capsys.readouterr().err
        assert line.startswith(SILENT) or "standard output cannot be written: No space" in said, line
        assert "bug" not in said
        if line.startswith((*SILENT, "status")):
            with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
                patch.setattr(sys, "stderr", full)
                assert program.flushed(program.run()) == 0, line
                with contextlib.suppress(OSError):
                    full.close()


def test_an_unknown_option_is_an_object_of_every_command(command: Command, san: Path) -> None:
    for path in COMMANDS:
        answer = command(*path, "--json", "--no-such-option")
        assert (answer.code, answer.object_of("error")["error"][:14]) == (2, "No such option")
        assert answer.stderr.startswith("sshrender: error: ")


FAIL = {
    "render": 2,
    "render none.pdf": 5,
    "render two.pdf --dpi 0": 2,
    "render two.pdf --dpi 0 --progress jsonl": 2,
    "render two.pdf --san /nowhere": 6,
    "render two.pdf --on node1": 2,
    "resume no-such-job": 2,
    "submit none.pdf": 5,
    "hosts --watch": 2,
    "hold no-such-job": 2,
    "hold JOB no-such-job": 2,
    "clean": 2,
    "drain [": 2,
    "move JOB 1 here": 2,
    "why JOB --page 9": 2,
    "man nothing": 2,
    "config schema nothing": 2,
    "config validate none.toml": 2,
    "key import none": 2,
    "init --yes": 2,
}


def test_each_error_is_one_object(command: Command, job: str) -> None:
    for line, code in FAIL.items():
        answer = command(*(job if word == "JOB" else word for word in line.split()), "--json")
        assert answer.code == code, (line, answer.stderr)
        found = answer.object_of("error")
        if "jsonl" in line:
            events = [json.loads(each) for each in answer.stderr.splitlines()]
            assert [each["type"] for each in events] == ["error"]
            assert jsonschema.faults(events[0], SCHEMA["$defs"]["event"], SCHEMA) == []
            assert events[0]["error"] == found["error"]


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Ended(signal.SIGTERM), 143),
        (UserError(ExitCode.DEADLINE, "the deadline has passed", "sshrender resume"), 10),
        (UserError(ExitCode.LEASE, "it runs elsewhere", "sshrender status"), 9),
        (RuntimeError("a defect"), 1),
        (MemoryError(), 2),
    ],
    ids=lambda each: str(each) if isinstance(each, int) else type(each).__name__,
)
def test_whatever_ends_a_command_prints_one_object(
    command: Command, san: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("sshrender.api.statusreports.job_reports", fail)
    answer = command("status", "--json")
    assert answer.code == code
    answer.object_of("error")
    monkeypatch.setattr("sys.argv", ["sshrender", "status"])
    assert command("status").stdout == ""


def test_an_error_says_which_jobs_had_changed_before(
    command: Command, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sshrender.api import jobchanges

    original = jobchanges._change

    def then_fail(*words: Any) -> Any:
        original(*words)
        raise UserError(ExitCode.STORAGE, "the disk is full", "df -h")

    monkeypatch.setattr(jobchanges, "_change", then_fail)
    found = command("release", job, "--json").object_of("error")
    assert found["jobs"] == [{"job": job, "changed": True, "result": "released"}]


def test_several_documents_have_one_object_with_a_total(sshrender: Run, home: Path) -> None:
    """The second is no PDF, so its process has only an error to report."""
    pdfs.write(home / "a.pdf", pdfs.numbered(2))
    (home / "b.pdf").write_bytes(b"%PDF-1.4 nothing more")
    words = ("a.pdf", "b.pdf", "-r", "20", "--no-overview", "--json", "--progress", "jsonl")
    ended = sshrender("render", *words)
    found = Answer(ended.returncode, ended.stdout, ended.stderr).object_of("render")
    assert (found["exit_code"], found["state"]) == (5, "partial")
    assert found["documents"] == {"total": 2, "done": 1, "failed": 1}
    assert found["pages"] == {"total": 2, "done": 2, "suspect": 0, "failed": 0, "missing": 0}
    assert found["error"].startswith("b.pdf: ")
    lines = ended.stderr.splitlines()
    assert [line for line in lines if not line.startswith("{")] == []
    events = [json.loads(line) for line in lines]
    for event in events:
        assert jsonschema.faults(event, SCHEMA["$defs"]["event"], SCHEMA) == []
    assert events[-1]["type"] == "total"
    assert {each["job"] for each in events if each["type"] == "page_delivered"} == {
        found["jobs"][0]["job"]
    }
    (last,) = [each for each in events if each["type"] == "status"][-1:]
    assert (last["percent"], last["pages"]["done"], last["hosts_rendering"]) == (100.0, 2, 0)


def test_the_option_may_stand_before_the_command(
    command: Command, san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHRENDER_JSON", "")  # put back after the test: the option sets it
    assert command("--version", "--json").object_of("version")["version"]
    assert command("--json", "--version").object_of("version")["version"]
    assert command("--json", "status").object_of("status")["exit_code"] == 0
    monkeypatch.setenv("SSHRENDER_JSON", "")
    assert command("--json", "nonsense").object_of("error")["exit_code"] == ExitCode.USAGE


def test_every_file_is_validated_whatever_is_wrong_with_the_others(command: Command, home: Path) -> None:
    (home / "a.toml").write_text("dpy = 3\n")
    (home / "b.toml").write_text("dpi = 72\n")
    (home / "c.toml").write_text("[[hosts]\n")
    found = command("config", "validate", "a.toml", "b.toml", "c.toml", "--json").object_of("error")
    assert [("error" in each) for each in found["files"]] == [True, False, True]
    assert "a.toml" in found["error"]
    assert "c.toml" in found["error"]


def test_init_checks_what_it_was_told(command: Command, home: Path) -> None:
    words = ("--host", "here", "--san", str(home / "nowhere"), "--hosts", "new.toml", "--json")
    found = command("init", *words).object_of("init")
    assert found["exit_code"] == 0, "the inventory is written whatever the check finds"
    assert ("problem" in found) or found["hosts"][0]["state"] in ("lost", "refused")
    assert "hosts" not in command("init", *words, "--force", "--no-check").object_of("init")


def test_a_name_that_is_empty_is_no_prefix_of_an_only_job(command: Command, job: str) -> None:
    """As in ``sshrender cancel "$JOB"``, where the variable is not set."""
    for words in (("cancel", ""), ("clean", ""), ("status", ""), ("drain", ""), ("undrain", ",")):
        answer = command(*words, "--json")
        assert (answer.code, "hint: " in answer.stderr) == (2, True), words
    assert command("status", job, "--json").object_of("status")["state"] == "held"


def test_values_that_typer_reads_are_refused_in_our_words(
    command: Command, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        command("why", job, "--page", "x")
        .stderr.splitlines()[0]
        .endswith("--page: must be a whole number")
    )
    assert "must be at least 1" in command("coordinate", "--jobs", "0").stderr
    monkeypatch.setenv("SSHRENDER_STRICT", "maybe")
    assert "SSHRENDER_STRICT: must be true or false" in command("render", "two.pdf").stderr


def test_an_option_counts_more_than_the_variable_in_the_form_of_errors(
    command: Command, san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHRENDER_PROGRESS", "jsonl")
    for words in (("--progress", "plain"), ("--progress=jsonl", "--progress=plain")):
        assert command("render", "--zzz", *words).stderr.startswith("sshrender: error: "), words
    assert json.loads(command("render", "--zzz").stderr)["type"] == "error"


def test_a_dry_run_can_be_set_by_a_variable(
    command: Command, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHRENDER_DRY_RUN", "1")
    assert command("cancel", job).code == 0
    assert command("clean", job, "--json").object_of("clean")["dry_run"]
    assert command("render", "one.pdf", "-r", "20").stdout.count("(--dry-run)") == 1


def test_hosts_that_cannot_be_used_are_an_error_beside_the_table(command: Command, job: str) -> None:
    assert "no inventory" not in command("drain", "localhost").stderr
    assert (
        "there is no inventory here that says whether node9 is a host"
        in command("drain", "node9").stderr
    )
    answer = command("hosts")
    assert (answer.code, "localhost" in answer.stdout) == (4, True)
    error = ["sshrender: error: no host is usable", "hint: sshrender hosts -v"]
    assert answer.stderr.splitlines() == error
    answer = command("hosts", "--json")
    assert answer.object_of("hosts")["error"] == "no host is usable"
    assert answer.stderr.splitlines() == error
    assert "hint: do what stands below one of the hosts" in command("hosts", "-v").stderr


@pytest.mark.parametrize("form", ["plain", "jsonl"])
def test_usr1_is_answered_before_there_is_a_run(
    command: Command, san: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """And by commands that have none."""
    before = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setenv("SSHRENDER_PROGRESS", form)
    monkeypatch.setattr(
        "sshrender.api.statusreports.job_reports", lambda *_: signal.raise_signal(signal.SIGUSR1)
    )
    try:
        statusline.answer(lambda: "sshrender status: running")
        said = command("status", "--json").stderr.splitlines()[0]
    finally:
        signal.signal(signal.SIGUSR1, before)
    if form == "jsonl":
        event = json.loads(said)
        assert jsonschema.faults(event, SCHEMA["$defs"]["event"], SCHEMA) == []
        said = event["text"]
    assert said == "sshrender status: running"
