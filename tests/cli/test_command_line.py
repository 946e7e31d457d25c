"""Mistakes of a command line: the hint says what to type, for every option and argument."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshrender.cli import commandwords
from sshrender.config.declaration import SETTINGS
from sshrender.config.settings import resolve
from sshrender.errors import ExitCode, UserError
from tests import pdfs
from tests.cli.test_hints import run, type_
from tests.commandtree import TREE


def commands(group: Any = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words, as in ``config show``."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def options(command: Any) -> list[Any]:
    return [
        each
        for each in command.params
        if each.param_type_name == "option" and commandwords.takes_value(each)
    ]


def arguments(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]


OPTIONS = [
    pytest.param(path, name, id=" ".join([*path, name]))
    for path, command in commands()
    for option in options(command)
    for name in option.opts
]

NAMED = [
    pytest.param(path, command, id=" ".join(path)) for path, command in commands() if arguments(command)
]


@pytest.mark.parametrize(("path", "name"), OPTIONS)
def test_an_option_without_its_value_shows_one_that_it_takes(path: tuple[str, ...], name: str) -> None:
    said = run(*path, name)
    assert (said.code, said.error) == (ExitCode.USAGE, f"{name} needs a value")
    found = re.fullmatch(r"(\S+) takes (\S+), as in (\S+) (.+)", said.hint)
    assert found is not None, said.hint
    assert found[1] == found[3] == name
    (value,) = shlex.split(found[4])
    declared = next((each for each in SETTINGS.values() if each.option == name), None)
    if declared is not None and path != ("overview",):
        given: object = [value] if declared.is_list else value
        assert resolve({declared.name: given}, environ={}).origins[declared.name] == declared.option


@pytest.mark.parametrize(("path", "name"), OPTIONS)
def test_another_option_in_the_place_of_a_value_is_refused(
    path: tuple[str, ...], name: str, home: Path
) -> None:
    before = sorted(home.iterdir())
    said = run(*path, name, "--help")
    assert said.code == ExitCode.USAGE
    assert "has no value: --help is an option" in said.error
    assert "as in" in said.hint
    assert said.hint.endswith("=--help")
    assert sorted(home.iterdir()) == before


def _parsed(words: list[str]) -> dict[str, Any]:
    command: Any = TREE
    while getattr(command, "commands", None):
        command, words = command.commands[words[0]], words[1:]
    values: dict[str, Any] = command.make_context(command.name, words).params
    return values


@pytest.mark.parametrize(("path", "command"), NAMED)
def test_a_name_that_begins_with_a_hyphen_can_be_typed_as_the_hint_says(
    path: tuple[str, ...], command: Any
) -> None:
    """Other arguments, and options before and after it, stay what they were."""
    first, *others = arguments(command)
    words = [*path, "-xyz.pdf", *(f"other{at}" for at, _ in enumerate(others))]
    if any("--config" in option.opts for option in options(command)):
        words += ["--config", "a b.toml"]
    said = run(*words)
    assert (said.code, said.error) == (ExitCode.USAGE, "No such option: -xyz.pdf")
    lead, _, line = said.hint.partition(": ")
    assert lead == "if -xyz.pdf is a name"
    if path == ("config", "schema"):  # its argument is one of three words
        assert line.endswith("-- -xyz.pdf")
        return
    values = _parsed(shlex.split(line)[1:])
    found = values[first.name]
    texts = [str(each) for each in (found if isinstance(found, list | tuple) else [found])]
    assert texts == ["-xyz.pdf"]
    assert [values[each.name] for each in others] == [f"other{at}" for at, _ in enumerate(others)]
    if "--config" in words:
        assert str(values["config"]) == "a b.toml"


def test_such_a_document_is_found_as_the_hint_says(home: Path) -> None:
    pdfs.write(home / "-report.pdf", pdfs.numbered(1))
    pdfs.write(home / "--all.pdf", pdfs.numbered(2))
    # "-r" is an option with a value, so the parser alone would take "eport.pdf" for a resolution.
    said = run("submit", "-report.pdf", "--all.pdf", "--san", home)
    assert said.error == "No such option: -report.pdf"
    done = type_(said.hint)
    assert done.code == 0
    assert "report-" in done.text
    assert "all-" in done.text


def test_a_document_behind_two_hyphens_stays_a_document_in_the_hint(home: Path) -> None:
    said = run("submit", "-xyz.pdf", "--san", home, "--", "-two.pdf")
    words = shlex.split(said.hint)
    assert words[-5:] == ["submit", "./-xyz.pdf", "--san", str(home), "./-two.pdf"]


def test_commands_of_hints_take_such_a_document_for_a_file(home: Path) -> None:
    (home / "-bad.pdf").write_text("hello")
    said = run("submit", "./-bad.pdf", "--san", home)
    assert said.hint == "file ./-bad.pdf"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--format", "png"], "here the option is --device, as in --device png16m"),
        (["--host=node1"], "here the option is --on, as in --on node1,node2"),
        (["--force"], "here the option is --overwrite"),
        (["-dpi", "300"], "here the option is --dpi, as in --dpi 150"),
        (["-output", "pages"], "here the option is --output, as in --output pages"),
        (["-retries=3"], "here the option is --retries, as in --retries 3"),
        (["--pags", "3"], "sshrender render --help"),
        (["-p", "3"], "sshrender render --help"),
    ],
)
def test_an_option_of_another_program_is_answered_with_ours(words: list[str], hint: str) -> None:
    said = run("render", "x.pdf", *words)
    assert (said.code, said.hint) == (ExitCode.USAGE, hint)


CONFUSED = {
    "hosts for an inventory": (["--hosts", "node1,node2"], "--on node1,node2"),
    "many hosts for an inventory": (["--hosts", ",".join(["node1"] * 99)], "--on node1,node1"),
    "an inventory for hosts": (["--on", "my.toml"], "--hosts my.toml"),
    "a server for a folder": (["--san", "server:/san"], "what is mounted here: findmnt"),
    "a format for a device": (["--device", "png"], "did you mean png16m?"),
    "a unit of a resolution": (["--dpi", "300dpi"], "must be a number"),
    "a unit of a time": (["--page-timeout", "5minutes"], "a time is written as"),
    "a file for a page list": (["--pages", "pages.txt"], "no page, range, odd or even"),
    "a password for a file": (["--password-file", "secret"], "whose first line is the password"),
}


@pytest.mark.parametrize("name", CONFUSED)
def test_an_option_that_is_taken_for_another_is_explained(name: str, home: Path) -> None:
    words, expected = CONFUSED[name]
    pdfs.write(home / "one.pdf", pdfs.numbered(1))
    said = run("submit", "one.pdf", *words)
    assert said.code in (ExitCode.USAGE, ExitCode.STORAGE)
    assert expected in f"{said.error}\n{said.hint}"
    if said.hint.endswith("findmnt"):
        assert "TARGET" in type_(said.hint).text


@pytest.mark.parametrize("key", ["dpi", "size", "gs_options", "pages", "on", "page_timeout"])
def test_the_form_of_a_value_has_an_example(key: str) -> None:
    assert "such as" in run("config", "values", key).text


def test_a_completion_may_end_in_an_option() -> None:
    command = TREE.commands["render"]
    command.make_context("render", ["x.pdf", "--output"], resilient_parsing=True)
    with pytest.raises(UserError):
        command.make_context("render", ["x.pdf", "--output"])
