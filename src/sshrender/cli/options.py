"""Make Typer options from the declared settings (config/declaration.py).

Typer neither checks values nor fills in defaults: config/settings.py does, so that mistakes in options,
variables and files are reported together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.models import OptionInfo

from sshrender.cli import completion
from sshrender.config.declaration import SETTINGS
from sshrender.config.declarationtypes import Declared, Panel


def _option(name: str, command: str = "", *, has_panel: bool = False, about: str = "") -> Any:
    """Return the Typer option of a setting, as this command shows it; ``about``: its help there."""
    declared = SETTINGS[name]
    return typer.Option(
        *declared.flags,
        # Typer gives a variable's value like an option's; typed() tells them apart.
        envvar=declared.variable,
        show_envvar=False,
        # help_text() says the default, because Typer does not know it.
        show_default=False,
        help=about or declared.help_text(command),
        metavar=declared.value_name or None,
        count=declared.is_counted,
        # A folder that may not be read is an error of the storage, with its own exit code.
        readable=name not in ("san", "output"),
        autocompletion=_completion(declared),
        rich_help_panel=declared.panel.value if has_panel else None,
    )


def _completion(declared: Declared) -> Callable[[str], list[str]] | None:
    if declared.completion:
        # The name of a function, so that declarations import no completion.
        offer: Callable[[str], list[str]] = getattr(completion, declared.completion)
        return offer
    return completion.one_of(*declared.choices) if declared.choices else None


Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A job's name, a unique beginning of it, or the path of its folder.",
        autocompletion=completion.jobs,
    ),
]

# Options for commands that take only a few. ``takes_settings`` gives a command nearly all of them.
Hosts = Annotated[Path | None, _option("hosts")]
San = Annotated[Path | None, _option("san")]
NewHosts = Annotated[
    Path | None,
    _option("hosts", about="Write this file. [default: ~/.config/sshrender/hosts.toml]"),
]
NewSan = Annotated[
    Path | None, _option("san", about="Folder that all hosts mount. [default: the answer to a question]")
]
Output = Annotated[Path | None, _option("output", "alter")]
Priority = Annotated[str | None, _option("priority", "alter")]
LogFile = Annotated[Path | None, _option("log_file")]
SshConfig = Annotated[Path | None, _option("ssh_config")]
Sandbox = Annotated[str | None, _option("sandbox")]
On = Annotated[str | None, _option("on")]
Avoid = Annotated[str | None, _option("avoid")]
Quiet = Annotated[bool, _option("quiet")]
Verbose = Annotated[int, _option("verbose")]


def _json(panel: Panel | None = None) -> Any:
    return typer.Option(
        "--json",
        envvar="SSHRENDER_JSON",
        show_envvar=False,
        show_default=False,
        help="Print one JSON object on standard output.",
        rich_help_panel=panel and panel.value,
    )


def _config(panel: Panel | None = None) -> Any:
    return typer.Option(
        "--config",
        envvar="SSHRENDER_CONFIG",
        show_envvar=False,
        show_default=False,
        metavar="FILE",
        help="Settings file that takes precedence over all others. [default: no file]",
        rich_help_panel=panel and panel.value,
    )


def dry_run(about: str) -> Any:
    """Return the option ``--dry-run`` with its help: it has a variable, as all shared options have."""
    return typer.Option(
        "--dry-run", envvar="SSHRENDER_DRY_RUN", show_envvar=False, show_default=False, help=about
    )


Json = Annotated[bool, _json()]
Config = Annotated[Path | None, _config()]
DryRun = Annotated[bool, dry_run("Print the plan, the hosts and the space needed; render nothing.")]


@dataclass(frozen=True, slots=True)
class Given:
    """The settings that a command line contains, as text."""

    typed: dict[str, Any]
    """The options that the user typed, by their setting's name."""
    config: Path | None
    """The file of ``--config``."""
    wants_json: bool


def takes_settings(command: str, own: Panel) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the option of each setting that is declared for it.

    The decorated function has its own parameters, whose options are shown in the panel ``own``, and one
    called ``given``. Typer reads a command's options from its signature, therefore the function that is
    made here gets one that names all of them. Annotations are evaluated: what they name must be imported
    at run time.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        # ``given`` is filled in by us and has no option.
        its_own = [_in_panel(each, own) for each in _parameters(body) if each.name != "given"]
        shared = list(_shared(command))

        def call(context: typer.Context, **values: Any) -> None:
            # Options that a variable has set are left to config/settings.py, which also reads the files.
            given = Given(typed(context), values["config"], values["json_"])
            body(given=given, **{each.name: values[each.name] for each in its_own})

        # Typer shows panels in the order in which their first options come.
        arguments = [each for each in its_own if each.default is inspect.Parameter.empty]
        further = [each for each in its_own if each not in arguments]
        # Typer passes its context to a parameter of this type.
        context = _keyword("context", typer.Context)
        _declare(call, body, [context, *arguments, *shared, *further])
        return call

    return decorate


def _parameters(body: Callable[..., None]) -> list[inspect.Parameter]:
    found = inspect.signature(body, eval_str=True).parameters.values()
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]


def _in_panel(parameter: inspect.Parameter, panel: Panel) -> inspect.Parameter:
    """Return the parameter of an option with its help in a panel; an argument is returned as it is."""
    type_, *about = get_args(parameter.annotation)
    # Copied, because several commands share one option.
    placed = [copy(each) for each in about]
    for each in placed:
        if isinstance(each, OptionInfo):
            each.rich_help_panel = panel.value
    return parameter.replace(annotation=Annotated[(type_, *placed)])


def _shared(command: str) -> Iterator[inspect.Parameter]:
    """Yield a parameter for each option that a command shares with others."""
    for name, declared in SETTINGS.items():
        if command in declared.commands:
            # Options come before --config and --json, which would otherwise lead their panels.
            is_flag = declared.is_flag or declared.is_counted
            annotation: Any = Annotated[_type(declared), _option(name, command, has_panel=True)]
            # A flag has a default of its type; other options are None if they were not given.
            yield _keyword(name, annotation, declared.default if is_flag else None)
    yield _keyword("config", Annotated[Path | None, _config(Panel.FILES)], None)
    yield _keyword("json_", Annotated[bool, _json(Panel.OUTPUT)], False)


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _type(declared: Declared) -> Any:
    """Return the type that Typer reads: numbers stay text, for config/settings.py to check."""
    if declared.is_flag or declared.is_counted:
        return declared.type
    if declared.is_list:
        return list[str] | None
    return declared.type if declared.type == Path | None else str | None


def _declare(
    call: Callable[..., None], body: Callable[..., None], parameters: list[inspect.Parameter]
) -> None:
    """Give ``call`` the name, docstring and signature of a function with these parameters."""
    call.__name__, call.__doc__, call.__module__ = body.__name__, body.__doc__, body.__module__
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it


def typed(context: typer.Context) -> dict[str, Any]:
    """Return the options that the user typed, by their setting's name."""
    return {
        key: context.params[key]
        for key in SETTINGS
        if key in context.params
        # Not from the environment: Typer has read those values, too.
        and getattr(context.get_parameter_source(key), "name", "") == "COMMANDLINE"
    }
