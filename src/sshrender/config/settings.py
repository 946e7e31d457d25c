"""The settings: what options, variables and files may say, and which of them said it.

Order, first wins: option, ``SSHRENDER_…`` variable, ``--config`` file, ``./sshrender.toml``, the
user's, the site's, the default.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sshrender.config.mailaddresses import are_addresses, in_ascii
from sshrender.config.paths import distrusted, here_is_ours, places
from sshrender.config.recipes import RecipeSettings
from sshrender.config.settingnames import option, variable
from sshrender.config.units import Duration, Size, no_nul
from sshrender.config.validation import describe, invalid, read_toml

Progress = Literal["auto", "tui", "board", "plain", "jsonl", "none"]


class Settings(BaseModel):
    """Every setting, its type and its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _no_nul = field_validator("*", mode="before")(no_nul)

    hosts: Path | None = Field(None, description="inventory")
    on: str | None = Field(None, description="only these hosts of it (node set)")
    avoid: str | None = Field(None, description="not these hosts of it (node set)")
    pin: tuple[str, ...] = Field((), description="pages that only these hosts draw: 1-3=node[01-04]")
    san: Path | None = Field(None, description="the shared folder as this machine sees it")
    output: Path | None = Field(None, description="where to deliver")
    dpi: float = Field(150, gt=0, le=14400, description="resolution")
    device: str = Field("png16m", description="Ghostscript raster device")
    pages: str | None = Field(None, description="page list")
    password_file: Path | None = Field(None, description="file whose first line opens the PDF")
    split: str = Field("none", description="none, auto, or pages a part")
    page_timeout: Duration = Field(600, gt=0, description="a page may take so long")
    page_memory: Size = Field(2 << 30, ge=64 << 20, description="a renderer may be so large")
    hedge: bool = Field(True, description="let idle hosts draw again what others are long about")
    recipe: str | None = Field(None, description="what draws the pages, instead of Ghostscript")
    fallback: tuple[str, ...] = Field((), description="recipes for pages that it cannot draw")
    recipes: dict[str, RecipeSettings] = Field({}, description="recipes of one's own")
    recipes_allowed: Literal["signed", "configured"] = Field(
        "signed", description="recipes of jobs that may run: the owner's, or those configured here"
    )
    assemble: Literal["pdf", "tiff", "zip", "cbz"] | None = Field(
        None, description="make one file of all pages at the end"
    )
    mixed: bool = Field(False, description="let hosts draw whose pictures differ from the others'")
    retries: int = Field(3, ge=1, le=100, description="hosts that a page may fail on")
    wait: Duration = Field(30, description="how long to wait for an idle host")
    deadline: Duration | None = Field(None, description="end the run after so long")
    priority: int = Field(0, ge=-1024, le=1023, description="who goes first where several want a slot")
    limit: int | None = Field(None, ge=1, description="slots that a job has at once at most")
    on_done: tuple[str, ...] = Field((), description="command to run when a job is over")
    mail_to: str | None = Field(None, description="whom sendmail tells when a job is over")
    mail_when: Literal["always", "failure"] = Field("always", description="of which ends")
    strict: bool = Field(False, description="a suspect page counts as failed")
    overview: bool = Field(True, description="draw thumbnails, and write an HTML sheet at the end")
    sandbox: Literal["none", "bwrap"] = Field("none", description="what surrounds renderers")
    progress: Progress = Field("auto", description="how progress is shown")
    quiet: bool = Field(False, description="say nothing when all is well")
    verbose: int = Field(0, ge=0, description="say more")
    color: Literal["auto", "always", "never"] = Field("auto", description="use colour")
    log_file: Path | None = Field(None, description="where a traceback goes")
    ssh_config: Path | None = Field(None, description="instead of ~/.ssh/config")

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, name: str) -> str:
        from sshrender.renderers.devices import DEVICES, nearest

        if name not in DEVICES:
            near = nearest(name)
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise ValueError(f"{name} is no raster device that writes one file a page{hint}")
        return name

    @field_validator("split", mode="before")
    @classmethod
    def _split_is_known(cls, value: Any) -> str:
        text = str(value)
        if text in ("none", "auto") or (text.isdecimal() and 0 < int(text) < 10**7):
            return text
        raise ValueError("none, auto, or a number of pages")

    @field_validator("pin", mode="before")
    @classmethod
    def _pins_are_pins(cls, value: Any) -> tuple[str, ...]:
        from sshrender.config import pins

        words = value.split() if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise ValueError("pins are texts such as 7=node3")
        for word in words:
            pins.parse(word)
        return tuple(words)

    @field_validator("on_done", mode="before")
    @classmethod
    def _command_is_words(cls, value: Any) -> Any:
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    @field_validator("mail_to")
    @classmethod
    def _mail_address_is_one(cls, value: str | None) -> str | None:
        found = None if value is None else in_ascii(value)
        if value is not None and found is None:
            raise ValueError("an address as in ann@example.org, or several with commas between")
        return value if value is None or value.isascii() else found

    @field_validator("fallback", mode="before")
    @classmethod
    def _fallbacks_are_names(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("pages")
    @classmethod
    def _pages_are_a_list(cls, text: str | None) -> str | None:
        from sshrender.document import pagelist
        from sshrender.errors import UserError

        if text is not None:
            try:
                pagelist.check(text)
            except UserError as error:
                raise ValueError(error.what) from None
        return text


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings and, for each, where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


WISHES = (
    "on",
    "avoid",
    "pin",
    "password_file",
    "page_timeout",
    "page_memory",
    "hedge",
    "assemble",
    "mixed",
    "retries",
    "wait",
    "deadline",
    "strict",
    "overview",
    "sandbox",
    "mail_to",
    "mail_when",
)
"""Settings that go with a job, whoever coordinates it."""


def wishes(resolved: Resolved) -> dict[str, Any]:
    """Those that somebody has set, as they are written into a job. Paths are this machine's."""
    values = resolved.settings.model_dump(mode="json")
    found = {key: values[key] for key in WISHES if resolved.origins[key] != "default"}
    if found.get("password_file") is not None:
        found["password_file"] = str(Path(found["password_file"]).absolute())
    return found


def resolve(
    options: Mapping[str, Any],
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    job: Mapping[str, Any] | None = None,
) -> Resolved:
    """Lay the sources over each other. Raises UserError with every mistake in any of them.

    ``options`` are those that the user typed; keys as in Settings. ``job``: the wishes of a job that is
    there already, which only options outweigh, but for what a site protects its hosts with (_TIGHTER).
    """
    layers = [_checked(dict(options), "option")]
    wished = _checked(_wishes_of(job), "job") if job else None
    layers.append(_checked(_from_environment(environ), "variable"))
    files = [config] if config is not None else []
    files += [place for place in places("sshrender.toml", environ) if place.is_file()]
    problems = [problem for layer in layers for problem in layer.problems]
    for file in files:
        if file != config and not here_is_ours(file):
            raise distrusted(file, "--config")
        layer = _from_file(file)
        layers.append(layer)
        problems += layer.problems
    if wished is not None:
        problems = wished.problems + problems
        layers.insert(1, _tightened(wished, layers[1:]))
    if problems:
        raise invalid(problems)
    return _merge(layers)


def _wishes_of(job: Mapping[str, Any]) -> dict[str, Any]:
    asked = {key: job[key] for key in WISHES if key in job}
    if not are_addresses(asked.get("mail_to")):
        asked.pop("mail_to", None)  # whom to tell decides nothing about a job that is there
    return asked


_TIGHTER = {"sandbox": ("none", "bwrap")}
"""Settings by which a site protects its hosts, their values from loose to tight."""


def _tightened(job: _Layer, site: list[_Layer]) -> _Layer:
    """Of a job's settings those that loosen nothing: a job may tighten what the site says."""
    kept = dict(job.values)
    for key, order in _TIGHTER.items():
        said = next((layer.values[key] for layer in site if key in layer.values), order[0])
        # What is no value at all is a problem, and is told with the others.
        if (
            key in kept
            and {kept[key], said} <= set(order)
            and order.index(kept[key]) < order.index(said)
        ):
            del kept[key]
    return _Layer(job.origin, kept, job.problems)


@dataclass(frozen=True, slots=True)
class _Layer:
    origin: str
    values: dict[str, Any]
    problems: list[str]


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for key in Settings.model_fields:
        value = environ.get(variable(key)) if key != "recipes" else None
        if value:
            found[key] = value
    return found


def _from_file(path: Path) -> _Layer:
    table = read_toml(path)
    try:
        Settings.model_validate(table)
    except ValidationError as error:
        return _Layer(str(path), {}, describe(path, error, Settings))
    return _Layer(str(path), table, [])


def _checked(values: dict[str, Any], kind: str) -> _Layer:
    """A layer of options or variables; its mistakes are named as the user typed them."""
    values = {key: value for key, value in values.items() if value is not None}
    problems = []
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        for problem in error.errors():
            key = str(problem["loc"][0])
            name = _origin(kind, key)
            message = str(problem["msg"]).removeprefix("Value error, ")
            problems.append(f"{name} {values.get(key)}: {message[:1].lower()}{message[1:]}")
    return _Layer(kind, values, problems)


def _merge(layers: list[_Layer]) -> Resolved:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if key not in values:
                values[key] = value
                origins[key] = _origin(layer.origin, key)
    settings = Settings.model_validate(values)
    for key in Settings.model_fields:
        origins.setdefault(key, "default")
    return Resolved(settings, origins)


def _origin(kind: str, key: str) -> str:
    if kind == "option":
        return option(key)
    if kind == "job":
        return f"the job's {key}"
    return variable(key) if kind == "variable" else kind
