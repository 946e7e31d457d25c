"""Refuses mistakes of a command line of which the parser cannot say what to type instead."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

from sshrender.cli import commandwords
from sshrender.cli.commandwords import Kind, Word
from sshrender.config.declaration import SETTINGS
from sshrender.errors import ExitCode, UserError

EXAMPLES = {
    "--after": "big-3fa9c1d2",
    "--auth": "link",
    "--base-path": "/render",
    "--bind": "127.0.0.1:8470",
    "--by": "user,month",
    "--config": "sshrender.toml",
    "--host": "node1",
    "--interval": "5s",
    "--jobs": "2",
    "--max-upload": "2G",
    "--month": "2026-01",
    "--not-before": "22:30",
    "--note": "'wait for paper'",
    "--older-than": "30d",
    "--operator": "ann",
    "--page": "7",
    "--state": "running",
    "--trusted-proxy": "127.0.0.1",
    "--user": "ann",
    "--user-header": "X-Remote-User",
    "--viewer": "ann",
    "overview --output": "overview.html",
}
"""Values of options that are not settings; with a command's name, where its option differs."""

OTHER_NAMES = {
    "--exclude": "--avoid",
    "--force": "--overwrite",
    "--format": "--device",
    "--host": "--on",
    "--inventory": "--hosts",
    "--jobs": "--limit",
    "--node": "--on",
    "--nodes": "--on",
    "--outdir": "--output",
    "--resolution": "--dpi",
    "--threads": "--limit",
}
"""Options of similar programs, with those of this one. One hyphen instead of two is known, too."""


def refuse_mistakes(context: Any, args: Sequence[str]) -> None:
    """Raise UserError for an option without a value, or a name that is read as an option."""
    params = context.command.get_params(context)
    words = list(commandwords.read(params, args))
    known = commandwords.by_name(params)
    for word in words:
        if word.lacks_value:
            name = _name(word)
            raise _error(f"{name} needs a value", _form(context, word.option, name))
        if word.kind is Kind.VALUE and word.text in known:
            raise _swallowed(context, word)
        typed = word.text.partition("=")[0]
        other = OTHER_NAMES.get(typed, f"-{typed}")
        # For the parser, -output is the short option -o with its value.
        is_wrong = word.kind is Kind.UNKNOWN or (word.kind is Kind.ATTACHED and len(typed) > len("-on"))
        if is_wrong and other in known:
            raise _error(f"No such option: {typed}", _other_option(context, known[other], other))
        if _is_name(word) and _arguments(params):
            raise _error(f"No such option: {word.text}", _as_name(context, params, words, word))


def _error(what: str, hint: str) -> UserError:
    return UserError(ExitCode.USAGE, what, hint)


def _name(word: Word) -> str:
    """Return the option that a word names, as it was typed: the last of several short ones."""
    return word.text if word.text.startswith("--") else f"-{word.text[-1]}"


def _form(context: Any, option: Any, name: str) -> str:
    """Return the form of an option's value, with an example."""
    return f"{name} takes {option.metavar}, as in {name} {example(context.command.name, option)}"


def example(command: str, option: Any) -> str:
    """Return a value that an option of this command takes, as a shell takes it."""
    name = max(option.opts, key=len)
    found = EXAMPLES.get(f"{command} {name}") or EXAMPLES.get(name)
    return found or next(each.example_value for each in SETTINGS.values() if each.option == name)


def _swallowed(context: Any, word: Word) -> UserError:
    """Return the error for an option that stands where the value of another one is missing."""
    name = max(word.option.opts, key=len)
    form = _form(context, word.option, name)
    # The form with "=" is the only one that tells such a value from an option.
    hint = f"{form}; if {word.text} is meant to be its value: {name}={word.text}"
    return _error(f"{name} has no value: {word.text} is an option", hint)


def _other_option(context: Any, option: Any, name: str) -> str:
    if not commandwords.takes_value(option):
        return f"here the option is {name}"
    return f"here the option is {name}, as in {name} {example(context.command.name, option)}"


def _is_name(word: Word) -> bool:
    """Return whether a word that begins with a hyphen is rather a name than options."""
    if word.kind is Kind.ATTACHED:
        return os.path.lexists(word.text)
    if word.kind is not Kind.UNKNOWN:
        return False
    is_word = not word.text.startswith("--") and len(word.text) > 2
    return is_word or word.text.lower().endswith(".pdf") or os.path.lexists(word.text)


def _needs_folder(word: Word) -> bool:
    """Return whether a document's name would be read as an option; also one after ``--``."""
    is_argument = word.kind is Kind.ARGUMENT and word.text != "-"
    return _is_name(word) or (is_argument and word.text.startswith("-"))


def _arguments(params: Sequence[Any]) -> list[Any]:
    return [each for each in params if each.param_type_name == "argument"]


def _as_name(context: Any, params: Sequence[Any], words: list[Word], named: Word) -> str:
    """Return the whole command line again, so that such words in it are names."""
    path = context.command_path.split()[1:]
    if _arguments(params)[0].metavar in ("PDF", "FILE"):
        rest = [f"./{each.text}" if _needs_folder(each) else each.text for each in words]
    else:
        names = [each.text for each in words if each.kind is Kind.ARGUMENT or _is_name(each)]
        options = [each.text for each in words if each.kind is not Kind.ARGUMENT and not _is_name(each)]
        rest = [*options, "--", *names]
    command = shlex.join(["sshrender", *path, *rest])
    return f"if {shlex.quote(named.text)} is a name: {command}"
