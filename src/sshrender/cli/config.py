"""``sshrender config show | path | validate | schema``: settings and inventory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import completion, helptext, jsonresult, options
from sshrender.views import output

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
    for key, value in values.items():
        shown = json.dumps(value) if value is not None else "-"
        output.line(f"{key:{width}} = {shown:24} # {resolved.origins[key]}")


@app.command(cls=helptext.Command)
def path(json_: options.Json = False) -> None:
    """Show the files that configuration is read from, and which of them exist."""
    from sshrender.config import keyfile
    from sshrender.config.paths import places

    found = [place for name in ("sshrender.toml", "hosts.toml") for place in places(name)]
    found.append(keyfile.path())
    if json_:
        rows = [{"path": str(each.absolute()), "exists": each.is_file()} for each in found]
        raise typer.Exit(jsonresult.put({"files": rows}))
    for place in found:
        output.line(f"{place.absolute()}" + ("" if place.is_file() else "  (does not exist)"))


@app.command(cls=helptext.Command)
def validate(files: Files = None, json_: options.Json = False, config: options.Config = None) -> None:
    """Check files; without FILE, all files that a run here would read."""
    from sshrender.config import inventory
    from sshrender.config.paths import find_inventory
    from sshrender.config.settings import resolve

    resolved = resolve({}, config)
    found = [find_inventory(resolved.settings.hosts)] if not files else []
    rows: list[dict[str, Any]] = []
    jsonresult.know(files=rows)
    for file in [*(files or []), *(file for file in found if file is not None)]:
        if _is_settings(file):
            resolve({}, file, {})
            rows.append({"path": str(file), "kind": "settings"})
            _print_line(f"{file}: settings, well formed", json_)
            continue
        loaded = inventory.load(file)
        count = len(inventory.expand(loaded))
        rows.append({"path": str(file), "kind": "inventory", "hosts": count})
        _print_line(f"{file}: inventory of {count} host{'s' * (count != 1)}, well formed", json_)
    if not files:
        _print_line("settings are well formed", json_)
    if json_:
        raise typer.Exit(jsonresult.put({"files": rows}))


def _print_line(line: str, wants_json: bool) -> None:
    if not wants_json:
        output.line(line)


@app.command(cls=helptext.Command)
def schema(
    which: Annotated[
        str,
        typer.Argument(
            metavar="hosts|settings|results",
            help="Of the inventory, of the settings, or of what --json prints.",
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
        raise UserError(ExitCode.USAGE, f"there is no schema {which!r}", "sshrender config schema hosts")
    if json_:
        # JSON Schema ignores keywords that it does not know, so the object may have our fields as well.
        raise typer.Exit(jsonresult.put(schemas[which]()))
    output.as_json(schemas[which](), indent=1)


def _is_settings(file: Path) -> bool:
    """Return whether a file holds settings: ``hosts`` is a file name there, in an inventory tables."""
    from sshrender.config.validation import read_toml

    table = read_toml(file)
    return "defaults" not in table and not isinstance(table.get("hosts", ""), list)
