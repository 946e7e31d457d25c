"""``sshrender config show | path | validate | schema``: settings and inventory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import completion, helptext, jsonresult, options
from sshrender.config.declaration import SETTINGS
from sshrender.config.declarationtypes import Declared
from sshrender.views import safeprint

app = typer.Typer(help="Settings and inventory: show, find, check.", no_args_is_help=True)

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", help="Inventories or settings. [default: all in use]"),
]


@app.command(cls=helptext.Command)
def show(config: options.Config = None, json_: options.Json = False) -> None:
    """Show every setting and where its value comes from."""
    from sshrender.config.settings import as_json, resolve

    resolved = resolve({}, config)
    values = as_json(resolved.settings)
    if json_:
        rows = {key: {"value": values[key], "origin": resolved.origins[key]} for key in values}
        raise typer.Exit(jsonresult.put(rows))
    width = max(map(len, values))
    # As a line of TOML, with the source as its comment.
    for key, value in values.items():
        shown = json.dumps(value) if value is not None else "-"
        safeprint.line(f"{key:{width}} = {shown:24} # {resolved.origins[key]}")


@app.command(cls=helptext.Command)
def path(json_: options.Json = False) -> None:
    """Show the files that configuration is read from, and which of them exist."""
    from sshrender.config import keyfile
    from sshrender.config.paths import is_there, places

    found = [place for name in ("sshrender.toml", "hosts.toml") for place in places(name)]
    # The key is not configuration, but the user looks for it in the same place.
    found.append(keyfile.path())
    if json_:
        rows = [{"path": str(each.absolute()), "exists": is_there(each)} for each in found]
        raise typer.Exit(jsonresult.put({"files": rows}))
    for place in found:
        safeprint.line(f"{place.absolute()}" + ("" if is_there(place) else "  (does not exist)"))


@app.command(cls=helptext.Command)
def validate(files: Files = None, json_: options.Json = False, config: options.Config = None) -> None:
    """Check files; without FILE, all files that a run here would read."""
    from sshrender.config.paths import find_inventory
    from sshrender.config.settings import resolve
    from sshrender.config.validation import invalid
    from sshrender.errors import UserError

    # An invalid configuration ends the command here, with all mistakes.
    settings = resolve({}, config).settings
    # Files of the command line are checked as they are; without them those that a run would read.
    in_use = find_inventory(settings.hosts) if not files else None
    rows: list[dict[str, Any]] = []
    sans = [] if settings.san is None else [settings.san.absolute()]
    jsonresult.know(files=rows)
    errors: list[UserError] = []
    for file in files or ([] if in_use is None else [in_use]):
        try:
            row, san = _validated(file, is_inventory=file == in_use, has_san=settings.san is not None)
        except UserError as error:
            errors.append(error)
            rows.append({"path": str(file), "error": error.what, "hint": error.hint})
            continue
        rows.append(row)
        sans += [] if san is None else [san]
        count = row.get("hosts", 0)
        what = f"inventory of {count} host{'s' * (count != 1)}" if "hosts" in row else "settings"
        _print_line(f"{file}: {what}, well formed", json_)
    if errors:  # of several files the first one's hint: the others are told after that
        raise invalid([error.what for error in errors], errors[0].hint)
    if not files:
        _print_line("settings are well formed", json_)
    checked = _check_sans(sans, json_)
    if json_:
        raise typer.Exit(jsonresult.put({"files": rows, "sans": checked}))


def _check_sans(sans: list[Path], wants_json: bool) -> list[dict[str, Any]]:
    """Check each shared folder that exists here, and print what its file system cannot do."""
    from sshrender.api.storageconditions import check_storage_if_there, in_words

    found = []
    # Two inventories may name one folder.
    for san in dict.fromkeys(sans):
        conditions = check_storage_if_there(san)
        if conditions is None:
            _print_line(f"shared folder {san}: not on this machine, so not checked", wants_json)
            continue
        for line in in_words(san, conditions):
            _print_line(line, wants_json)
        found.append({"path": str(san), "conditions": [each.as_json() for each in conditions]})
    return found


def _validated(file: Path, *, is_inventory: bool, has_san: bool) -> tuple[dict[str, Any], Path | None]:
    """Return what a file is, and the shared folder that it names. Raises UserError."""
    from sshrender.api.jobs import require_san_path
    from sshrender.config import inventory
    from sshrender.config.settings import resolve
    from sshrender.config.validation import read_toml

    if not is_inventory and not inventory.looks_like_inventory(read_toml(file), file):
        # No variables: the file is checked, and not this shell.
        resolve({}, file, {})
        return {"path": str(file), "kind": "settings"}, None
    loaded = inventory.load(file)
    # --san of the settings replaces the inventory's path, so that may be missing.
    if not has_san:
        require_san_path(loaded, file)
    row = {"path": str(file), "kind": "inventory", "hosts": len(inventory.expand(loaded))}
    return row, None if loaded.san is None else loaded.san.path.absolute()


def _print_line(line: str, wants_json: bool) -> None:
    if not wants_json:
        safeprint.line(line)


@app.command(cls=helptext.Command)
def schema(
    which: Annotated[
        str,
        typer.Argument(
            metavar="hosts|settings|results",
            help="Of the inventory, of the settings, or of what --json prints. [default: hosts]",
            autocompletion=completion.one_of("hosts", "settings", "results"),
        ),
    ] = "hosts",
    json_: options.Json = False,
) -> None:
    """Print the JSON Schema of an inventory, of the settings, or of what --json prints."""
    from sshrender.config.inventory import Inventory
    from sshrender.config.settings import json_schema
    from sshrender.errors import ExitCode, UserError
    from sshrender.views import resultschema

    schemas: dict[str, Any] = {
        "hosts": Inventory.model_json_schema,
        "settings": json_schema,
        "results": resultschema.load,
    }
    if which not in schemas:
        near = next((name for name in schemas if name.startswith(which[:1])), "hosts")
        what = f"there is no schema {which}: hosts, settings or results"
        raise UserError(ExitCode.USAGE, what, f"sshrender config schema {near}")
    if json_:
        # JSON Schema ignores keywords that it does not know, so the object may have our fields as well.
        raise typer.Exit(jsonresult.put(schemas[which]()))
    safeprint.as_json(schemas[which](), indent=1)


@app.command(cls=helptext.Command)
def values(
    setting: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SETTING",
            help="Name of a setting, as device or page-timeout. [default: all]",
            autocompletion=completion.one_of(*SETTINGS),
        ),
    ] = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """List the values that a setting may have: devices, recipes, words, or the form of a number."""
    from sshrender.config import settingforms

    wanted = [_named(text) for text in setting or SETTINGS]
    if json_:
        own = _own_recipes(config)
        rows = [
            {
                "name": each.name,
                "form": settingforms.form(each),
                "values": settingforms.values(each, own),
            }
            for each in wanted
        ]
        raise typer.Exit(jsonresult.put({"settings": rows}))
    if not setting:
        width = max(map(len, SETTINGS))
        for declared in wanted:
            safeprint.line(f"{declared.name:{width}}  {settingforms.form(declared)}")
        return
    for declared in wanted:
        if len(wanted) > 1:
            safeprint.line(f"{settingforms.label(declared)}:")
        for line in settingforms.described(declared, _own_recipes(config)):
            safeprint.line(f"  {line}" if len(wanted) > 1 else line)


def _named(text: str) -> Declared:
    """Return the setting with this name. Raises UserError."""
    from sshrender.config import settingforms
    from sshrender.errors import ExitCode, UserError

    found = settingforms.named(text)
    if found is None:
        near = settingforms.nearest_name(text)
        raise UserError(
            ExitCode.USAGE,
            f"there is no setting {text}" + (f" (did you mean {near}?)" if near else ""),
            f"sshrender config values {near}" if near else "sshrender config values",
        )
    return found


def _own_recipes(config: Path | None) -> list[str]:
    """Return the names of configured recipes; none if the configuration is wrong, which it may be."""
    from sshrender.config.settings import resolve
    from sshrender.errors import UserError

    # A list of values is wanted most when the configuration is wrong.
    try:
        return list(resolve({}, config).settings.recipes)
    except UserError:
        return []
