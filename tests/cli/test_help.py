"""``--help`` and the declared settings: options, variables, help texts and the manual agree."""

from __future__ import annotations

import os
import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import ValidationError

from sshrender.cli.app import app
from sshrender.config.declaration import SETTINGS
from sshrender.config.declarationtypes import FOREGROUND, NEW_JOBS, Declared, Panel
from sshrender.config.settings import resolve, validated
from sshrender.errors import UserError
from tests.commandtree import TREE

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "man/sshrender-render.1").read_text()
WITH_OPTION = [each for each in SETTINGS.values() if each.commands]
FILE_ONLY = [each for each in SETTINGS.values() if not each.commands]
COMMANDS = [[], *([name] for name in sorted(TREE.commands))] + [
    [group, name] for group in ("config", "key") for name in sorted(TREE.commands[group].commands)
]


def _name(declared: Declared) -> str:
    return declared.name


@cache
def _parameters(command: str) -> dict[str, Any]:
    # Not of TREE: a command whose help was printed has its defaults in the texts.
    fresh: Any = typer.main.get_command(app)
    return {each.name: each for each in fresh.commands[command].params}


@pytest.mark.parametrize("declared", WITH_OPTION, ids=_name)
def test_option_variable_and_help_come_from_the_declaration(declared: Declared) -> None:
    for command in ("render", "submit", "resume"):
        found = _parameters(command).get(declared.name)
        assert (found is not None) == (command in declared.commands), command
        if found is None:
            continue
        assert found.opts[0] == declared.option
        assert found.opts[1:] == ([declared.short] if declared.short else [])
        assert found.envvar == declared.variable
        assert found.help.replace("\\[", "[") == declared.help_text(command)
        assert found.rich_help_panel == declared.panel


def test_every_option_of_render_has_a_variable() -> None:
    for name, found in _parameters("render").items():
        if name not in ("help", "pdf", "documents") and found.param_type_name == "option":
            assert found.envvar == f"SSHRENDER_{found.opts[0].strip('-').replace('-', '_').upper()}"


@pytest.mark.parametrize("declared", WITH_OPTION, ids=_name)
def test_every_setting_has_a_default_in_its_help_and_a_paragraph_in_the_manual(
    declared: Declared,
) -> None:
    assert declared.is_counted or re.search(r"\[default: (?!None|\(\))[^\]]+\]$", declared.help_text())
    assert f"\n{declared.manual_marker}\n" in MANUAL


@pytest.mark.parametrize("declared", FILE_ONLY, ids=_name)
def test_a_setting_without_an_option_is_in_the_manual(declared: Declared) -> None:
    pages = "".join(path.read_text() for path in (ROOT / "man").iterdir())
    assert re.search(rf"\b{declared.name}\b", pages)


@pytest.mark.parametrize("declared", SETTINGS.values(), ids=_name)
def test_a_default_that_is_shown_is_the_default(declared: Declared) -> None:
    if declared.parse is not None and declared.default:
        assert declared.parse(declared.show(declared.default)) == declared.default
    assert getattr(resolve({}, environ={"XDG_CONFIG_HOME": "/none"}).settings, declared.name) == (
        declared.default
    )


@pytest.mark.parametrize("declared", WITH_OPTION, ids=_name)
def test_a_variable_sets_what_the_option_sets(declared: Declared) -> None:
    values = {
        "bool": "0" if declared.default is True else "1",
        "choice": declared.choices[-1] if declared.choices else "",
        "pin": "1-3=node1",
        "device": "jpeg",
        "page_memory": "77M",
        "size": "77x77mm",
        "gs_options": "-dNOCACHE",
    }
    kind = "bool" if declared.is_flag else "choice" if declared.choices else declared.name
    text = values.get(kind, "77")
    site = {"XDG_CONFIG_HOME": "/none"}
    by_option = resolve({declared.name: text}, environ=site)
    by_variable = resolve({}, environ={**site, declared.variable: text})
    assert by_option.settings == by_variable.settings
    assert getattr(by_option.settings, declared.name) != declared.default
    assert by_option.origins[declared.name] == declared.option
    assert by_variable.origins[declared.name] == declared.variable


def test_what_a_job_is_made_of_cannot_be_changed_when_it_is_resumed() -> None:
    for declared in SETTINGS.values():
        assert not (declared.goes_with_job and declared.commands == NEW_JOBS), declared.name
        assert not (declared.goes_with_job and declared.commands == FOREGROUND), declared.name


def test_a_mistake_names_the_option_as_it_is_declared() -> None:
    for key, value in (("dpi", "0"), ("limit", "0"), ("page_memory", "1M"), ("retries", "101")):
        with pytest.raises(UserError, match=SETTINGS[key].option):
            resolve({key: value})


@pytest.mark.parametrize("command", ["render", "submit", "resume"])
def test_options_are_in_panels_the_most_used_first(command: str) -> None:
    text = _help(command)
    titles = re.findall(r"^╭─ (.+?) ─", text, re.MULTILINE)
    assert titles == ["Arguments", *(panel.value for panel in Panel if panel is not Panel.FILE_ONLY)]
    flat = re.sub(r"[│\s]+", " ", text)
    shown = [each for each in WITH_OPTION if command in each.commands]
    assert [each.name for each in shown if each.help_text(command) not in flat] == []
    where = [text.index(word) for word in ("--output", "--hosts", "--retries", "--priority", "--help")]
    assert where == sorted(where)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_at_most_100_columns_wide(command: list[str]) -> None:
    text = _help(*command)
    assert max(map(len, text.splitlines())) <= 100
    # Python's types, as <list[Path]>, say nothing to a user.
    assert not re.search(r"<(str|int|float|bool|list|Path)\b", text)
    assert "<bool>" not in text
    assert "\\" not in text
    assert "`" not in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_a_default_for_every_option(command: list[str]) -> None:
    """Brackets are markup to the library that prints the help: only what it has printed counts."""
    found: Any = TREE
    for name in command:
        found = found.commands[name]
    options = [each for each in found.params if each.param_type_name == "option" and not each.is_eager]
    assert len(re.findall(r"\[default:", _help(*command))) >= len(options)
    for each in options:
        assert "default: " in each.help or each.default is not None


def _help(*command: str) -> str:
    """Return the help as a terminal of 200 columns shows it."""
    with redirect_stdout(StringIO()) as output, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        TREE.main([*command, "--help"], prog_name="sshrender", standalone_mode=False)
    return output.getvalue()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", ["--san", "/dead/san"]),
        ("render", ["-o", "/dead/out", "--san", "/dead/san", "/dead/a.pdf"]),
    ],
)
def test_no_folder_of_the_command_line_is_looked_at_while_options_are_read(
    monkeypatch: pytest.MonkeyPatch, command: str, words: list[str]
) -> None:
    """On a file server that is gone the look would never end; the program's own looks do."""
    looked_at, stat = [], os.stat

    def noted(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        looked_at.append(str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", noted)
    context = TREE.commands[command].make_context(command, words)
    assert context.params["san"] == Path("/dead/san")
    assert not [path for path in looked_at if path.startswith("/dead")]


def _takes_value(param: Any) -> bool:
    return not (getattr(param, "is_flag", False) or getattr(param, "count", False))


@pytest.mark.parametrize("command", COMMANDS[1:], ids=" ".join)
def test_an_empty_value_is_refused_with_the_name_of_its_option(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``--output "$OUT"`` is where the variable is not set: the current folder would be meant."""
    monkeypatch.setattr(os, "environ", {})
    found: Any = TREE
    for word in command:
        found = found.commands[word]
    taken = set()
    for param in found.params:
        is_option = param.param_type_name == "option"
        # The api refuses an empty JOB, with a hint of its own.
        if not _takes_value(param) or (param.metavar == "JOB" and not is_option):
            continue
        try:
            words = [param.opts[-1], ""] if is_option else [""] * len(found.params)
            found.make_context(command[-1], words)
            what = ""
        except typer.TyperException as error:
            what = str(error)
        if "is empty" not in what:
            taken.add(param.name)
    expected = {"alter": {"after", "not_before"}, "hold": {"note"}, "drain": {"note"}}
    assert taken == expected.get(command[-1], set())


@pytest.mark.parametrize("declared", SETTINGS.values(), ids=_name)
def test_an_empty_variable_is_none_and_an_empty_key_is_a_mistake(declared: Declared) -> None:
    if declared.has_variable:
        assert (
            resolve({}, None, {declared.variable: "", "HOME": "/nowhere"}).origins[declared.name]
            == "default"
        )
    if declared.is_list:
        assert getattr(validated({declared.name: ""}), declared.name) == ()
    else:
        with pytest.raises(ValidationError, match="must not be empty"):
            validated({declared.name: ""})
