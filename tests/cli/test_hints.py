"""Hints are typed, word for word, in the situations that print them: they help, or they explain.

In this process, as a command line costs half a second: Typer's own runner calls the commands, and a
shell is given all that is no command of ours. tests/house/test_hints.py knows every hint of the source.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sshrender.cli import hintcommands, jsonresult
from sshrender.cli.app import app
from sshrender.config import keyfile
from sshrender.coordinator.storageerrors import storage_error
from sshrender.document.facts import changed_meanwhile
from sshrender.errors import UserError, limit_reached
from sshrender.program import _usage
from sshrender.views import summary
from sshrender.views.reporter import Reporter
from tests import pdfs
from tests.conftest import Run
from tests.house.hints import command_of
from tests.house.test_hints import _parsed


@dataclass
class Said:
    """How a command ended. ``hint``: with the options that the terminal would show."""

    code: int
    text: str
    error: str = ""
    hint: str = ""


def run(*words: object) -> Said:
    """Run a command of the program."""
    line = [str(word) for word in words]
    result = CliRunner().invoke(app, line, standalone_mode=False)
    error = result.exception
    if isinstance(error, typer.TyperException):
        error = _usage(error)
    if isinstance(error, UserError):
        hint = hintcommands.complete(error.hint, line)
        return Said(int(error.code), result.output, error.what, hint)
    assert error is None or isinstance(error, SystemExit), repr(error)
    code = result.return_value if isinstance(result.return_value, int) else result.exit_code
    errors = re.findall(r"^sshrender: error: (.*)", result.output, re.MULTILINE)
    hints = re.findall(r"^hint: (.*)", result.output, re.MULTILINE)
    hint = hintcommands.complete(hints[-1], line) if hints else ""
    return Said(code, result.output, "\n".join(errors), hint)


def type_(hint: str) -> Said:
    """Type the command of a hint, which must have one."""
    command = command_of(hint)
    assert command is not None, hint
    if command.startswith("sshrender "):
        return run(*shlex.split(command)[1:])
    answer = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    return Said(answer.returncode, answer.stdout + answer.stderr)


@pytest.fixture
def desk(home: Path) -> Path:
    """Files, and a folder of jobs that only ``--san`` names, as a name with a space."""
    (home / "a san").mkdir()
    (home / "in").mkdir()
    pdfs.write(home / "one.pdf", pdfs.numbered(1))
    (home / "no pdf.pdf").write_text("hello")
    (home / "wrong.toml").write_text('devce = "png16m"\n')
    (home / "value.toml").write_text("page_memory = 5\n")
    (home / "my hosts.toml").write_text('[[hosts]]\nnam = "a"\n')
    (home / "cut.toml").write_text('on = "a"\nsan = "b\n')
    (home / "grey.toml").write_text('[recipes.grey]\nshell = "exit 1"\nextension = "tif"\n')
    (home / "folder.toml").mkdir()
    return home


EXPLAINED = {
    "device": (["submit", "one.pdf", "--device", "tifg4"], "did you mean tiffg4?", "tiffg4 "),
    "a word": (["submit", "one.pdf", "--assemble", "tif"], "did you mean tiff?", "tiff"),
    "a number": (["submit", "one.pdf", "--retries", "many"], "must be a whole number", "whole number"),
    "two values": (
        ["submit", "one.pdf", "--page-timeout", "soon", "--sandbox", "bwrop"],
        "a time is written as 90, 45s",
        "--page-timeout:",
    ),
    "recipe": (["submit", "one.pdf", "--recipe", "mutol"], "did you mean mutool?", "mutool"),
    "what it cannot hold": (
        ["submit", "one.pdf", "--assemble", "tiff", "--device", "psdrgb"],
        "cannot hold",
        "zip",
    ),
    "kinds": (
        ["submit", "one.pdf", "--config", "grey.toml", "--recipe", "grey", "--fallback", "mutool"],
        "different kinds",
        "device ",
    ),
    "a setting": (["config", "values", "devise"], "did you mean device?", "tiffg4 "),
    "no setting": (["config", "values", "xyz"], "no setting", "page_timeout "),
    "a key": (["config", "validate", "wrong.toml"], "did you mean device?", '"device"'),
    "a value": (["config", "validate", "value.toml"], "at least 64M", "at least 64M"),
    "a key of hosts": (["config", "validate", "my hosts.toml"], "did you mean name?", '"name"'),
    "a schema": (["config", "schema", "setting"], "no schema", '"page_timeout"'),
    "no TOML": (["config", "validate", "cut.toml"], "not TOML", 'san = "b'),
    "no file": (["config", "validate", "in/none.toml"], "no such file", "in"),
    "a folder": (["config", "validate", "folder.toml"], "Is a directory", "total 0"),
    "no document": (["submit", "in/none.pdf"], "no such file", "total 0"),
    "no PDF": (["submit", "no pdf.pdf"], "not a PDF", "ASCII text"),
    "no PDF in it": (["submit", "in"], "no PDF is there", ""),
    "a pattern": (["submit", "in/*.pdf"], "no PDF is there", ""),
    "a link to itself": (["submit", "in/loop/x.pdf"], "symbolic links", "symbolic links"),
    "a password file": (
        ["submit", "one.pdf", "--password-file", "folder.toml"],
        "password file",
        "total",
    ),
    "no job": (["status", "none", "--san", "a san"], "no job none", "no jobs"),
    "no job's folder": (["status", "in/", "--san", "a san"], "not the folder of a job", "no jobs"),
    "by whom": (["report", "--by", "who", "--san", "a san"], "who", ""),
    "which month": (["report", "--month", "May", "--san", "a san"], "not a month", ""),
    "which jobs": (["clean", "--san", "a san"], "name the jobs", ""),
    "which change": (["alter", "x", "--san", "a san"], "no change is given", "--priority"),
    "an option": (["submit", "--dvice", "x", "one.pdf"], "No such option", "--device"),
    "a command": (["hots"], "No such command", "hosts "),
    "no inventory": (["submit", "one.pdf", "--on", "node1"], "no inventory to select from", None),
    "no key": (["key", "import", "no pdf.pdf"], "a key is 64", ""),
}
"""A command line; what its error says; what the command of its hint prints (None: it explains, too)."""


@pytest.mark.parametrize("case", EXPLAINED)
def test_what_a_hint_names_shows_what_would_be_right(desk: Path, case: str) -> None:
    (desk / "in" / "loop").symlink_to("loop")
    words, says, shown = EXPLAINED[case]
    said = run(*words)
    assert says in said.error
    assert says not in said.hint
    answer = type_(said.hint)
    if shown is None:
        assert (answer.error, bool(answer.hint)) == ("the shared folder is not known", True)
    else:
        assert shown in answer.text
        assert answer.error == ""


def test_every_setting_has_a_form_and_its_wrong_values_say_it(desk: Path) -> None:
    """Also the value in the variable; all of them at once, and the hint lists them."""
    said = run("submit", "one.pdf", "--dpi", "0", "--priority", "x", "--color", "rad", "--split", "x")
    assert "No such option: --color" in said.error
    os.environ["SSHRENDER_MAIL_WHEN"] = "alwaysx"
    try:
        said = run("submit", "one.pdf", "--dpi", "0", "--priority", "1.5", "--limit", "0")
    finally:
        del os.environ["SSHRENDER_MAIL_WHEN"]
    assert said.error.splitlines() == [
        "--dpi 0: must be a number, or two such as 204x98, more than 0 and at most 14400",
        "--priority 1.5: must be a whole number, at least -1024 and at most 1023",
        "--limit 0: must be a whole number, at least 1",
        "SSHRENDER_MAIL_WHEN alwaysx: must be always or failure (did you mean always?)",
    ]
    assert said.hint == "sshrender config values dpi priority limit mail_when"


def _submitted(name: str, *words: object) -> str:
    pdfs.write(Path(f"{name}.pdf"), pdfs.numbered(1))
    said = run("submit", f"{name}.pdf", "-r", "20", "-o", f"{name}-out", "--san", "a san", *words)
    assert said.code == 0, said
    return said.text.split()[0]


def _circle() -> list[str]:
    one = _submitted("one")
    two = _submitted("two")
    assert run("alter", one, "--after", two, "--san", "a san").error == ""
    return ["alter", two, "--after", one, "--san", "a san"]


def _queued() -> list[str]:
    return ["clean", _submitted("one"), "--san", "a san"]


def _linked() -> list[str]:
    job = Path("a san", _submitted("one"))
    assert run("cancel", job.name, "--san", "a san").error == ""
    job.rename(job.name)
    job.symlink_to(Path(job.name).absolute())
    return ["clean", job.name, "--san", "a san"]


def _readable_key() -> list[str]:
    keyfile.load_or_make()
    keyfile.path().chmod(0o644)
    return ["key", "show"]


def _no_san() -> list[str]:
    return ["submit", "one.pdf", "--san", "a/new san"]


HELPS: dict[str, Callable[[], list[str]]] = {
    "a circle": _circle,
    "a queued job": _queued,
    "a key that others can read": _readable_key,
    "no shared folder yet": _no_san,
}


@pytest.mark.parametrize("case", HELPS)
def test_after_what_a_hint_names_the_same_command_works(desk: Path, case: str) -> None:
    words = HELPS[case]()
    said = run(*words)
    assert said.error
    answer = type_(said.hint)
    assert (answer.code, answer.error) == (0, "")
    again = run(*words)
    assert (again.code, again.error) == (0, "")


def test_a_link_alone_is_removed(desk: Path) -> None:
    words = _linked()
    said = run(*words)
    assert "symbolic link" in said.error, said
    assert type_(said.hint).code == 0
    assert not (desk / "a san" / words[1]).exists()
    assert (desk / words[1] / "job.json").is_file()


def test_a_job_cannot_wait_for_itself(desk: Path) -> None:
    """There is no dependency that a hint could remove."""
    job = _submitted("one")
    said = run("alter", job, "--after", job, "--san", "a san")
    assert "cannot wait for itself" in said.error
    assert command_of(said.hint) is None


def test_a_held_job_is_released(desk: Path) -> None:
    job = _submitted("one")
    assert run("hold", job, "--san", "a san").error == ""
    said = run("resume", job, "--san", "a san", "--progress", "plain")
    assert said.hint == f"sshrender release {job} --san 'a san'"
    assert type_(said.hint).error == ""
    assert "queued" in run("status", job, "--san", "a san").text


def test_jobs_are_listed_where_the_name_fits_several_or_none_is_said(desk: Path) -> None:
    jobs = [_submitted("one"), _submitted("only")]
    for words in (["status", "on"], ["why", "on"]):
        said = run(*words, "--san", "a san")
        assert said.error
        assert jobs[0] in type_(said.hint).text


def test_hosts_are_listed_where_a_name_is_none_of_them(desk: Path) -> None:
    (desk / "my hosts.toml").write_text(
        '[san]\npath = "/tmp"\n[[hosts]]\nname = "near"\naddress = "127.0.0.1"\nport = 1\n'
    )
    for words in (["drain", "far"], ["submit", "one.pdf", "--on", "far"]):
        said = run(*words, "--hosts", "my hosts.toml", "--san", "a san")
        assert "not in the inventory" in said.error
        assert said.hint == "sshrender hosts --hosts 'my hosts.toml' --san 'a san'"
    assert "near" in type_(said.hint).text


def test_the_storage_is_shown(desk: Path) -> None:
    """By commands that work for a folder with a space in its name."""
    san = desk / "a san"
    numbers = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO]
    hints = [storage_error(OSError(number, "x"), san).hint for number in numbers]
    for hint in dict.fromkeys(hints):
        answer = type_(hint)
        assert answer.code == 0, (hint, answer)
        assert answer.text.count("\n") >= 1


def test_other_commands_show_what_they_are_named_for(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = limit_reached(MemoryError())
    assert limit is not None
    assert "max user processes" in type_(limit.hint).text
    assert "no pdf.pdf" in type_(changed_meanwhile(desk / "no pdf.pdf").hint).text
    assert type_("set the clock, or type the command on another machine; the clock: date").code == 0
    jsonresult.narrate(jsonresult.unwritable("No space left on device"))
    hint = capsys.readouterr().err.splitlines()[-1].removeprefix("hint: ")
    assert "Filesystem" in type_(hint).text


def test_settings_that_are_no_text_are_shown(desk: Path) -> None:
    said = run("submit", "one.pdf", "--san", "a san", "--mail-to", "ann@example.org")
    assert said.error == ""
    assert "mail_to" in run("config", "show").text


SUMMARY = {
    "job": "a b-12345678",
    "state": "partial",
    "output": "/out",
    "pages": {"total": 9, "done": 5, "suspect": 0, "failed": 0, "missing": 4},
    "failed_pages": [],
    "suspect_pages": [],
    "notes": [],
    "fonts_missing": [],
    "seconds": 1.0,
    "hosts": [],
    "exit_code": 10,
}
FAILED = {"page": 7, "kind": "timeout", "reason": "x", "attempts": 1, "hosts": ["n"]}
REFUSED = {"name": "n", "state": "refused", "reason": "x", "pages": 0, "failures": 0}

DRAINED = {**REFUSED, "state": "drained"}
COMPLETE = {"pages": {"total": 9, "done": 9, "suspect": 0, "failed": 0, "missing": 0}}


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, "sshrender resume 'a b-12345678'"),
        ({"exit_code": 130}, "sshrender resume 'a b-12345678'"),
        ({"exit_code": 3, "failed_pages": [FAILED]}, "sshrender why 'a b-12345678' --page 7"),
        ({"exit_code": 4}, "sshrender hosts"),
        ({"exit_code": 4, "hosts": [DRAINED]}, "sshrender undrain n"),
        ({"exit_code": 4, "hosts": [DRAINED, REFUSED]}, "sshrender hosts"),
        ({"exit_code": 6, "hosts": [REFUSED]}, "sshrender hosts"),
        ({"exit_code": 6}, "sshrender resume 'a b-12345678'"),
        ({"exit_code": 9}, "sshrender status 'a b-12345678'"),
        ({"exit_code": 9, "reason": "held by ann"}, "sshrender release 'a b-12345678'"),
        ({"exit_code": 0}, ""),
        ({"exit_code": 0, "hosts": [REFUSED]}, "sshrender hosts"),
        ({"exit_code": 3, **COMPLETE, "assembled": None}, ""),
        ({"exit_code": 6, **COMPLETE, "hosts": [REFUSED]}, "sshrender resume 'a b-12345678'"),
        ({"exit_code": 9, **COMPLETE}, "sshrender status 'a b-12345678'"),
    ],
)
def test_a_failed_run_ends_with_the_next_step(changes: dict[str, object], step: str) -> None:
    if step:  # for a mail from cron, too
        assert list(summary.brief({**SUMMARY, **changes}))[-1] == f"hint: {step}"
    lines = list(summary.lines({**SUMMARY, **changes}))
    # A signal is no error of the run.
    code = int(str({**SUMMARY, **changes}["exit_code"]))
    is_error = bool(step) and 0 < code < 128
    assert sum(line.startswith("sshrender: error: ") for line in lines) == is_error
    assert [line for line in lines if line.startswith("hint: ")] == ([f"hint: {step}"] if step else [])
    assert not step or _parsed(step) == ""


@pytest.mark.parametrize(
    ("result", "what"),
    [
        ({**SUMMARY, "reason": "the deadline passed"}, "the deadline passed"),
        ({"exit_code": 143}, "ended by signal 15 (SIGTERM)"),
        ({"exit_code": 4}, "ended with exit code 4"),
        (
            {"exit_code": 3, "jobs": [{"job": "a-1", "exit_code": 0}, {**SUMMARY, "exit_code": 3}]},
            "a b-",
        ),
    ],
)
def test_every_failure_is_said_in_words(result: dict[str, object], what: str) -> None:
    assert summary.failure(result)[0].startswith(what)


def test_the_summary_for_programs_has_the_error_and_a_hint_that_works_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["sshrender", "render", "a.pdf", "--san", "/b"])
    stream = io.StringIO()
    Reporter(stream, progress="jsonl", complete=hintcommands.complete).summary(SUMMARY, 10)
    event = json.loads(stream.getvalue())
    assert event["error"] == "4 pages missing"
    assert event["hint"] == "sshrender resume 'a b-12345678' --san /b"


def test_a_hint_of_a_job_s_own_process_gets_the_options_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["sshrender", "coordinate", "--san", "/b"])
    line = "a-1: hint: sshrender why a-1 --page 7"
    assert hintcommands.in_line_of_job(line) == f"{line} --san /b"
    for other in ("a-1: sshrender status", "a-1: page 7 failed: no hint: sshrender status"):
        assert hintcommands.in_line_of_job(other) == other


def test_a_render_that_fails_prints_the_next_step_and_that_shows_the_cause(
    sshrender: Run, desk: Path
) -> None:
    (desk / "my hosts.toml").write_text(
        '[[hosts]]\nname = "near"\naddress = "127.0.0.1"\nport = 1\nsan = false\n'
    )
    options = ["--hosts", "my hosts.toml", "--san", "a san"]
    answer = sshrender("render", "one.pdf", "--wait", "1s", *options)
    assert answer.returncode == 4, answer.stderr
    hint = answer.stderr.splitlines()[-1].removeprefix("hint: ")
    shown = type_(hint)
    assert shown.code == 4
    assert "127.0.0.1 port 1: Connection refused" in shown.text
    assert "try: ssh -o HostName=127.0.0.1 -p 1 near true" in shown.text


HOST = '[[hosts]]\nname = "a"\n'
REFUSED_BY_HOSTS = {
    "no san.path": (HOST, "san.path is missing"),
    "no hosts": ('[san]\npath = "/x"\n', "hosts is missing"),
    "an empty list": ('hosts = []\n[san]\npath = "/x"\n', "hosts: must not be empty"),
    "nothing": ("", "hosts is missing"),
    "a relative san.path": (f'[san]\npath = "x"\n{HOST}', "x does not begin with /"),
    "a relative san": (f'{HOST}san = "x"\n', "hosts[1].san: must be an absolute path"),
    "a number for a path": (f"[san]\npath = 5\n{HOST}", "san.path: must be a path"),
    "a number for a name": (f"{HOST}san = 5\n", "san: must be text, in quotes, or false"),
    "a word": (f'{HOST}host_key = "acept-new"\n', "did you mean accept-new?"),
}


@pytest.mark.parametrize("case", REFUSED_BY_HOSTS)
def test_validate_finds_what_hosts_refuses_in_the_same_words(desk: Path, case: str) -> None:
    text, says = REFUSED_BY_HOSTS[case]
    (desk / "hosts.toml").write_text(text)
    answers = [run("config", "validate", *words) for words in ([], ["hosts.toml"])]
    answers.append(run("hosts"))
    for said in answers:
        assert says in said.error, said
        assert "<class" not in said.error
        assert "config validate" not in said.hint
    assert len({said.error for said in answers}) == 1


def test_validate_takes_an_inventory_whose_folder_an_option_names(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "hosts.toml").write_text(HOST)
    monkeypatch.setenv("SSHRENDER_SAN", str(desk))
    assert "inventory of 1 host, well formed" in run("config", "validate").text


def test_a_setting_of_a_wrong_type_says_its_form_and_no_class(desk: Path) -> None:
    (desk / "sshrender.toml").write_text('san = 5\nmixed = "maybe"\n')
    said = run("config", "validate")
    assert said.error.splitlines() == [
        "sshrender.toml: mixed: must be true or false",
        "sshrender.toml: san: must be a path",
    ]
    assert "san:\n  a path" in type_(said.hint).text
