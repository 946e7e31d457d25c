"""Each hint of the source is a command that can be typed as it stands, or words without one.

Which test types a command in the situation that prints it is written down here. A new hint belongs into
TYPED with its test, into STARTS if it starts or changes so much that only its form is checked, or into
WORDS.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from sshrender.cli import hintcommands
from tests.commandtree import TREE
from tests.house.hints import Hint, command_of, hints
from tests.house.source import ROOT

SITUATIONS = "tests/cli/test_hints.py"

TYPED = {
    "{command} --help": SITUATIONS,
    "check the free space: df -h": SITUATIONS,
    "sshrender alter {shlex.quote(circle[1])} --after ''": SITUATIONS,
    "ls {_place(named)}": SITUATIONS,
    "ls -ld {path_word(document)}": SITUATIONS,
    "sshrender hosts": SITUATIONS,
    "sshrender hosts -v": "tests/cli/test_json.py",
    "type more of the name; to list the jobs: sshrender status": SITUATIONS,
    "sshrender status": SITUATIONS,
    "sshrender cancel {shlex.quote(report.name)}": SITUATIONS,
    "rm {shlex.quote(str(folder.path))}": SITUATIONS,
    "sshrender config show": SITUATIONS,
    "sshrender config values": SITUATIONS,
    "sshrender config values assemble": SITUATIONS,
    "sshrender config values recipe": SITUATIONS,
    "sshrender config values {near}": SITUATIONS,
    "sshrender init": SITUATIONS,
    "sshrender report --by user,month": SITUATIONS,
    "sshrender report --month 2026-01": SITUATIONS,
    "sshrender clean --older-than 30d": SITUATIONS,
    "sshrender config schema hosts": SITUATIONS,
    "sshrender config schema settings": SITUATIONS,
    "sshrender config schema {near}": SITUATIONS,
    "sshrender report": "tests/cli/test_job_lists.py",
    "sshrender status --json": "tests/cli/test_job_lists.py",
    "sshrender status --state {near[0] if near else STATES[0]}": "tests/cli/test_job_lists.py",
    "its pages are {spec.settings.pages}: sshrender status {shlex.quote(spec.name)}": (
        "tests/unit/test_statements.py"
    ),
    "sshrender status {shlex.quote(self.job)}": "tests/cli/test_job_lists.py",
    "sshrender alter --help": SITUATIONS,
    "sshrender man sshrender": "tests/cli/test_manual.py",
    "ls -l {shlex.quote(str(place))}": "tests/unit/test_signature.py",
    "chmod 600 {shlex.quote(str(place))}": SITUATIONS,
    "ls -ld {shlex.quote(str(path.absolute().parent))}": SITUATIONS,
    "ls -l {path_word(path)}": SITUATIONS,
    "sed -n {line[1]}p {path_word(path)}": SITUATIONS,
    "tail -n 3 {path_word(path)}": SITUATIONS,
    "findmnt -T {quoted}": SITUATIONS,
    "see whether its file server answers; what is mounted here: findmnt": (
        "tests/unit/test_name_errors.py"
    ),
    "it cannot be replaced; perhaps it is immutable or another user's: lsattr {here}": (
        "tests/unit/test_name_errors.py"
    ),
    "run the same command again after this: mv {here} {aside}": "tests/unit/test_name_errors.py",
    "see which file system it is: findmnt -T {shlex.quote(str(san))}": "tests/unit/test_filesystems.py",
    "run the same command again when there is space: df -h {quoted}": SITUATIONS,
    "run the same command again when your quota allows it: df -h {quoted}": SITUATIONS,
    "see whether the shared folder is mounted: ls -ld {quoted}": SITUATIONS,
    "this user must be able to write there: ls -ld {shlex.quote(str(san))}": SITUATIONS,
    "only its owner, user {name}, may do that: ls -ld {shlex.quote(str(folder))}": (
        "tests/unit/test_name_errors.py"
    ),
    "mount it, or name another folder with --san DIR; if it is new: mkdir -p"
    " {shlex.quote(target)}": SITUATIONS,
    "mkdir -p {shlex.quote(link.target)}": "tests/unit/test_name_errors.py",
    "ls -ld {shlex.quote(str(folder.path))}": "tests/lab/test_trust.py",
    "sshrender release {shlex.quote(name)}": SITUATIONS,
    "rm -r {folder}": "tests/unit/test_entries.py",
    "try again when this stays the same: ls -l --full-time {path_word(path)}": SITUATIONS,
    "file {quoted}": SITUATIONS,
    "check the name: ls -l {path_word(path.parent)}": SITUATIONS,
    "ls -ld {path_word(path)}": SITUATIONS,
    "this is a file, and has to be a folder: ls -ld {shlex.quote(str(file))}": (
        "tests/cli/test_environment.py"
    ),
    "raise the limit, and run the same command again; the limits: ulimit -a": SITUATIONS,
    "mv {shlex.quote(str(here))} {shlex.quote(str(aside))}": "tests/cli/test_identity.py",
    "mv {name} {aside}": "tests/cli/test_job_folders.py",
    "mv {shlex.quote(str(folder.path))} {shlex.quote(str(aside))}": "tests/cli/test_key.py",
    "set the clock, or type the command on another machine; the clock: date": SITUATIONS,
    "on the machine that has the key: sshrender key show": SITUATIONS,
    "if {shlex.quote(named.text)} is a name: {command}": "tests/cli/test_command_line.py",
    "--san takes the folder where this machine mounts it; what is mounted here: findmnt": (
        "tests/cli/test_command_line.py"
    ),
    "--password-file takes a file whose first line is the password: ls -l {path_word(path)}": SITUATIONS,
}
"""Commands that a test types in the situation that prints them."""

STARTS = {
    "sshrender hosts --json",
    "sshrender status --watch --interval 5s",
    "sshrender why {shlex.quote(job)} --page {page}",
    (
        "save it without protection in a program that opens it; to see more: qpdf --check"
        " {path_word(path)}"
    ),
    (
        "mkdir {folder} && pdfdetach -saveall -o {folder} {path_word(path)}"
        " && sshrender render {folder}/*.pdf"
    ),
    "make a PDF of it, then render that: ps2pdf {quoted} {target}",
    "unpack it, then render that: gunzip < {quoted} > {target}",
    "make a PDF of it, then render that: img2pdf -o {target} {quoted}",
    "fetch it, then render that: curl -fLo {target} {address}",
    "cut them off, then render that: tail -c +{start + 1} {source} > {target}",
    "convert it, and name the new file: iconv -f ISO-8859-1 -t UTF-8 -o {target} {quoted}",
    "sshrender resume {shlex.quote(plan.spec.name)}",
    "sshrender resume {shlex.quote(spec.name)} --pin {shlex.quote(f'{pages}={host}')}",
    "sudo -u {shlex.quote(other.user)} sshrender undrain {shlex.quote(host)}",
    "sudo -u {shlex.quote(name)} sshrender {op} {shlex.quote(folder.name)}",
    "sshrender resubmit {shlex.quote(spec.name)}",
    (
        "check the shared folder on the machine that this shows: sshrender status"
        " {shlex.quote(folder.name)}"
    ),
    "sshrender move {shlex.quote(job)} {shlex.quote(pages)} {shlex.quote(names[0])}",
    "man sshrender",
    "install man-db, or read the source of the page: cat {shlex.quote(str(file))}",
    "name this user's home: export HOME=/var/lib/sshrender",
    (
        "jobs that the old key signed cannot be run here any more if you replace it:"
        " sshrender key import --force"
    ),
    "sshrender watch {shlex.quote(plan.spec.name)}",
    "sshrender status {shlex.quote(name)}",
    "end that process and try again; to see it: sshrender status {shlex.quote(spec.name)}",
    "install Ghostscript here, or see what the hosts need: sshrender hosts",
    "Ghostscript looks for them in: sshrender render {path_word(path)}",
    "copy it again from its origin; to see what is wrong: qpdf --check {path_word(path)}",
    "copy a part of it: qpdf {path_word(path)} --pages . 1-1000 -- part.pdf",
    "mount -t proc proc /proc",
    "ulimit -S -{option} hard",
    "ulimit -{option} {_USUAL.get(option, 'unlimited')}",
    (
        "in a batch job, request more; elsewhere the administrator sets the hard limit"
        " (/etc/security/limits.conf): ulimit -H -{option}"
    ),
    "ssh MACHINE sshrender key show | sshrender key import",
    "{shlex.quote(sys.executable)} -m pip install 'sshrender[web]'",
    "htpasswd -B -c {shlex.quote(str(file))} NAME",
    "correct the names in it: cat {path_word(path)}",
    "htpasswd -B {shlex.quote(str(file))} NAME",
}
"""Commands that start work, need another user or machine, or a program that may not be there."""

WORDS = {
    "--hosts takes a file, the inventory; to use only some hosts of it: --on {path_word(path)}",
    "{name} takes names; to read an inventory: --hosts {path_word(value)}",
    "here the option is {name}",
    "here the option is {name}, as in {name} {example(context.command.name, option)}",
    "{name} takes {option.metavar}, as in {name} {example(context.command.name, option)}",
    (
        "{name} takes {option.metavar}, as in {name} {example(context.command.name, option)};"
        " if {word.text} is meant to be its value: {name}={word.text}"
    ),
    "do what stands below one of the hosts, and check it again",
    "--assemble zip takes any page",
    "fetch the document again: servers send such a page if it is not there, or if a login is needed",
    "name another job with --after",
    "--not-before 22:30, --not-before '2026-01-31 22:30' or --not-before 2h",
    "give each of them its own -o DIR, one command for each",
    "one command for each, with -o {path_word(own)} for {path_word(source)}",
    "add --device jpeg, or omit --jpeg-quality",
    "choose another --size, or a lower --dpi",
    "name another profile, or choose another --device",
    "omit {option}; or omit the recipe, as Ghostscript can do that",
    "render or submit the document again with the same --gs-option, which copies it again",
    "run it again alone",
    "go to a folder that exists, and run the same command again",
    "omit that --gs-option, or give it another value",
    "write its output into a file, and name that file: COMMAND > document.pdf",
    "run the same command again",
    "name another file with --hosts FILE",
    "the job has the pages {settings.pages}; the document has {total}",
    "the hosts of this job: {names}",
    "a node set is written as 'node[01-04],big'",
    "a node set is written as 'node[01-16],big'",
    (
        'put san.path = "/san/sshrender" at the top of {file}; or, if they share no folder,'
        " san = false into [defaults]"
    ),
    "name another folder with --san DIR",
    "render or submit the document again: finished pages are kept",
    "--older-than takes a time such as 30d or 12h",
    "edit it, or add --force",
    "add --san DIR, or --no-san if the hosts share none",
    "add --host 'node[01-16]'",
    "name a file that has the key, or nothing to read it from standard input",
    "read the file; if you trust it, add {option} {shlex.quote(str(place))}",
    "run the same command again with a longer --deadline",
    "choose another folder with -o DIR",
    "update the program on this machine",
    "add --password-file FILE",
    "omit --recipe, as Ghostscript gets the password unseen; or add the field to the recipe",
    "copy it again from where it came from",
    "write the password to a file that only you can read, and add --password-file FILE",
    "check the first line of the --password-file",
    "--pages takes a list such as 1-10,15,20- or odd or ^3",
    "choose a lower resolution, or fewer pages",
    "choose a lower resolution, or leave out that page",
    "--max-upload takes a size, as in 2G",
    "choose another port, as in --bind 127.0.0.1:8471",
    "--auth takes link, htpasswd:FILE or proxy",
    "add --auth htpasswd:FILE, or --auth proxy with --trusted-proxy ADDRESS",
    "add --trusted-proxy ADDRESS, as in --trusted-proxy 127.0.0.1",
    "--base-path takes a path, as in /render",
    "--bind takes ADDRESS:PORT, as in 127.0.0.1:8470",
    "--trusted-proxy takes an address or a network, as in 10.0.0.5 or 10.0.0.0/24",
}
"""Hints without a command."""

FROM_ELSEWHERE = {
    "api/assembly.py::make",
    "api/jobworker.py::run",
    "api/renderoptions.py::_require",
    "api/web/webjobs.py::_without_path",
    "cli/usagehints.py::_error",
    "cli/config.py::validate",
    "config/settings.py::resolve",
    "config/validation.py::invalid",
    "document/facts.py::_error",
    "job/iccprofiles.py::_read",
    "job/signature.py::require",
}
"""Functions that pass on a hint that is found where it is made."""

FIELDS = {
    "{shlex.quote(f'{pages}={host}')}": "7=node1",
    "{shlex.quote(pages)}": "7",
    "{op}": "hold",
    "{page}": "7",
    "{near[0] if near else STATES[0]}": "running",
}
"""What stands in the place of fields when a command is parsed; a job's name for all others."""


def test_every_hint_is_known() -> None:
    known = TYPED.keys() | STARTS | WORDS
    found = {hint.text for hint in hints() if hint.text is not None}
    assert sorted(found - known) == [], "type it in a test, and add it here (see the docstring)"
    assert sorted(known - found) == [], "no hint any more"
    assert {hint.place for hint in hints() if hint.text is None} == FROM_ELSEWHERE


@pytest.mark.parametrize("path", sorted(set(TYPED.values())))
def test_the_tests_that_type_them_are_there(path: str) -> None:
    assert "hint" in (ROOT / path).read_text()


def test_a_command_stands_at_the_end_and_can_be_typed_in_any_shell() -> None:
    """zsh takes ``# a remark`` at its prompt for arguments; back quotes would run something."""
    wrong = [hint for hint in hints() if hint.text is not None and _objection(hint)]
    assert wrong == [], [_objection(hint) for hint in wrong]


def _objection(hint: Hint) -> str:
    text = hint.text or ""
    command = command_of(text)
    if " #" in text or "`" in text:
        return f"{text}: a comment or a back quote"
    if (command is None) != (text in WORDS):
        return f"{text}: words with a command, or a command that is none"
    before = text if command is None else text.removesuffix(command)
    if re.search(r"\bsshrender [a-z]", before):
        return f"{text}: a command in the middle"
    return "" if command is None else _parsed(command)


def _parsed(command: str) -> str:
    """Return why a command of ours is not one; empty where it is, or is another program's."""
    for field, word in FIELDS.items():
        command = command.replace(field, word)
    command = re.sub(r"\{(?:[^{}]|\{[^{}]*\})*\}", "big-12345678", command)
    for part in command.split("|"):
        _, found, words = part.partition("sshrender ")
        if found and not part.strip().startswith(("man ", "export ")):
            try:
                _parse(TREE, shlex.split(words))
            except typer.TyperException as error:
                return f"{command}: {error}"
    return ""


def _parse(group: Any, words: list[str]) -> None:
    name, *rest = words
    command = group.commands.get(name)
    if command is None:
        raise typer.TyperException(f"there is no command {name}")
    if getattr(command, "commands", None):
        _parse(command, rest)
    elif "--help" not in rest:
        command.make_context(name, rest)


def test_a_wrong_hint_is_noticed() -> None:
    assert _parsed("sshrender status lists them")
    assert _parsed("sshrender alter {x} --aftre ''")
    assert _parsed("sshrender hold")
    assert not _parsed("sshrender hold {folder.name} --note 'a b'")


@pytest.mark.parametrize("name", sorted(TREE.commands))
def test_options_that_a_command_does_not_take_are_not_repeated(name: str) -> None:
    given = [word for option in hintcommands.REPEATED for word in (option, "x")]
    added = hintcommands.complete(f"sshrender {name}", given).split()[2:]
    known = {option for each in TREE.commands[name].params for option in each.opts}
    assert {word for word in added if word.startswith("--")} == known & set(hintcommands.REPEATED)


@pytest.mark.parametrize("page", ["README.md", "man/sshrender-queue.7"])
def test_a_crontab_has_the_path_that_cron_has_not(page: str) -> None:
    """cron(8) looks in /usr/bin and /bin alone: the documentation sets PATH, and says to what."""
    lines = [line.removeprefix(".Dl ").strip() for line in (ROOT / page).read_text().splitlines()]
    at = next(number for number, line in enumerate(lines) if re.match(r"(\S+ +){5}sshrender ", line))
    name, _, value = lines[at - 1].partition("=")
    assert name == "PATH"
    assert value.startswith("/home/me/.local/bin:")
    assert "command -v sshrender" in "\n".join(lines[at - 12 : at])


def test_a_program_that_is_not_on_the_path_is_named_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/sshrender", "render", "x.pdf", "--san=a b"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hintcommands.complete("see it: sshrender status") == (
        "see it: .venv/bin/sshrender status --san 'a b'"
    )
    assert hintcommands.complete("the inventory of sshrender") == "the inventory of sshrender"
    program = tmp_path / "sshrender"
    program.touch(mode=0o755)
    assert hintcommands.complete("sshrender hosts --help") == "sshrender hosts --help"
