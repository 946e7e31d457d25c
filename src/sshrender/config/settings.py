"""Resolve the settings: which source sets which value, and whether it is valid.

The first source that sets a value wins: option, ``SSHRENDER_…`` variable, ``--config`` file,
``./sshrender.toml``, the user's file, the site's file, the default. declaration.py lists the settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import to_jsonable_python

from sshrender.config.declaration import SETTINGS, Settings
from sshrender.config.declarationtypes import Declared
from sshrender.config.mailaddresses import are_addresses
from sshrender.config.paths import is_there, is_trusted, places, untrusted_file
from sshrender.config.pydanticmessages import in_words
from sshrender.config.recipes import RecipeSettings
from sshrender.config.settingforms import listing, wrong_value
from sshrender.config.settingnames import option, variable
from sshrender.config.units import refuse_empty, refuse_nul
from sshrender.config.validation import describe, dotted, invalid, read_toml

__all__ = ["Resolved", "Settings", "as_json", "job_settings", "json_schema", "resolve", "validated"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    _refuse_nul = field_validator("*", mode="before")(refuse_nul)


def _field(declared: Declared, type_: Any) -> tuple[Any, Any]:
    """Return a setting as pydantic takes it: its type with the declared checks, and its default."""
    checks: list[Any] = []
    if declared.parse is not None:
        checks.append(BeforeValidator(declared.parse))
    if declared.check is not None:
        checks.append(AfterValidator(declared.check))
    if not declared.is_list:  # an empty text is an empty list, which replaces that of another file
        checks.append(BeforeValidator(refuse_empty))
    limits: dict[str, Any] = dict(declared.limits or {})
    about = Field(declared.default, description=declared.help, **limits)
    # Annotated unpacks a tuple in the brackets, and needs at least one check beside the type.
    return (Annotated[(type_, *checks)] if checks else type_), about


def _make_model() -> type[_Model]:
    """Return the pydantic model of ``Settings``, which checks what sources say."""
    # Annotations are texts if a model is named in quotes; this turns them into types.
    types = get_type_hints(Settings, localns={"RecipeSettings": RecipeSettings})
    found: dict[str, Any] = {key: _field(each, types[key]) for key, each in SETTINGS.items()}
    return create_model("Settings", __base__=_Model, **found)


# Made once: building the model takes longer than checking with it.
_MODEL = _make_model()


def validated(values: Mapping[str, Any]) -> Settings:
    """Return settings with these values and defaults for all others. Raises ValidationError."""
    model = _MODEL.model_validate(dict(values))
    # The dataclass has the checked values: the rest of the program needs no pydantic.
    return Settings(**{key: getattr(model, key) for key in SETTINGS})


def as_json(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON can hold them."""
    return {key: to_jsonable_python(getattr(settings, key)) for key in SETTINGS}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file of settings."""
    return _MODEL.model_json_schema()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings and, by name, the source of each value."""

    settings: Settings
    origins: Mapping[str, str]


JOB_SETTINGS = tuple(key for key, each in SETTINGS.items() if each.goes_with_job)
"""Settings that a job remembers, so that every coordinator uses the submitter's values."""


def job_settings(resolved: Resolved) -> dict[str, Any]:
    """Return those that are not defaults, as a job remembers them. Paths are this machine's."""
    values = as_json(resolved.settings)
    # A default is not recorded, so the job follows what a later release has as default.
    found = {key: values[key] for key in JOB_SETTINGS if resolved.origins[key] != "default"}
    if found.get("password_file") is not None:
        # Another machine, or another current folder, must find the same file.
        found["password_file"] = str(Path(found["password_file"]).absolute())
    return found


def resolve(
    options: Mapping[str, Any],
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    job: Mapping[str, Any] | None = None,
) -> Resolved:
    """Return the value of each setting and its source. Raises UserError with all mistakes at once.

    ``options`` holds what the user typed, by the names in Settings. ``job`` holds the settings of a job
    that exists already: only options take precedence over them, and the site's own value if it protects
    the hosts better (_PROTECTION).
    """
    # The order of the list is the order of precedence: the first layer that sets a key wins.
    layers = [_checked(dict(options), "option")]
    of_job = _checked(_known_job_settings(job), "job") if job else None
    layers.append(_checked(_from_environment(environ), "variable"))
    # A file that is named comes before those that are found.
    files = [config] if config is not None else []
    files += [place for place in places("sshrender.toml", environ) if is_there(place)]
    problems = [problem for layer in layers for problem in layer.problems]
    for file in files:
        # A file that the user names is trusted, wherever it lies.
        if file != config and not is_trusted(file):
            raise untrusted_file(file, "--config")
        layer = _from_file(file)
        layers.append(layer)
        problems += layer.problems
    if of_job is not None:
        problems = of_job.problems + problems
        # After the options and before everything of this machine.
        layers.insert(1, _without_weaker(of_job, layers[1:]))
    if problems:
        raise invalid(problems, _hint([*layers, *([of_job] if of_job is not None else [])]))
    return _merge(layers)


SCHEMA = "sshrender config schema settings"


def _hint(layers: Iterable[_Layer]) -> str:
    """Return the command that lists the right values or, if a key is wrong, the keys."""
    wrong = [key for layer in layers for key in layer.wrong]
    # The values are listed if each wrong key is known, else the keys.
    return listing(wrong) if all(key in SETTINGS for key in wrong) else SCHEMA


def _known_job_settings(job: Mapping[str, Any]) -> dict[str, Any]:
    # Only settings that jobs may have: another release may have recorded more.
    found = {key: job[key] for key in JOB_SETTINGS if key in job and job[key] != ""}
    # A damaged address must not keep the job from running: mail is an extra.
    if not are_addresses(found.get("mail_to")):
        found.pop("mail_to", None)
    return found


_PROTECTION = {"sandbox": SETTINGS["sandbox"].choices}
"""Settings with which a site protects its hosts; their values from weak to strong."""


def _without_weaker(job: _Layer, site: list[_Layer]) -> _Layer:
    """Return a job's settings without those that protect less than the site's own."""
    kept = dict(job.values)
    for key, order in _PROTECTION.items():
        # The value that this site would use: of the first source that sets it, else the weakest.
        said = next((layer.values[key] for layer in site if key in layer.values), order[0])
        # An invalid value stays: it is reported with all other mistakes.
        if (
            key in kept
            and {kept[key], said} <= set(order)
            and order.index(kept[key]) < order.index(said)
        ):
            del kept[key]
    return _Layer(job.origin, kept, job.problems)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The values of one source, and the mistakes in it. ``wrong``: the keys with mistakes."""

    origin: str
    values: dict[str, Any]
    problems: list[str]
    wrong: tuple[str, ...] = ()


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for key, declared in SETTINGS.items():
        value = environ.get(declared.variable) if declared.has_variable else None
        if value:  # an empty variable counts as none
            found[key] = value
    return found


def _from_file(path: Path) -> _Layer:
    table = read_toml(path)
    try:
        # Only checked here: the values are parsed again when all layers are merged.
        validated(table)
    except ValidationError as error:
        wrong = tuple(dotted(problem["loc"]) for problem in error.errors())
        return _Layer(str(path), {}, _in_file(path, error), wrong)
    return _Layer(str(path), table, [])


def _checked(values: dict[str, Any], kind: str) -> _Layer:
    """Return a layer whose mistakes name the option, the variable or the job's setting."""
    # None is an option that was not given.
    values = {key: value for key, value in values.items() if value is not None}
    problems, wrong = [], []
    try:
        validated(values)
    except ValidationError as error:
        for problem in error.errors():
            # The first part is the setting, also for a mistake inside a list.
            key = str(problem["loc"][0])
            wrong.append(key)
            problems.append(
                f"{_origin(kind, key)} {_shown(values.get(key))}: {_wrong(key, dict(problem))}"
            )
    # One value can break several checks of a union with the same words.
    return _Layer(kind, values, list(dict.fromkeys(problems)), tuple(wrong))


def _in_file(path: Path, error: ValidationError) -> list[str]:
    """Return one line for each mistake in a file: a setting of a wrong form, or anything else."""
    lines = describe(path, error, _MODEL)
    for problem in error.errors():
        key = str(problem["loc"][0])
        if len(problem["loc"]) == 1 and key in SETTINGS:
            words = f"{path}: {key}: {_wrong(key, dict(problem))}"
            # pydantic's line about a setting is replaced by one with the form that the setting takes.
            lines = [words if line.startswith(f"{path}: {key}: ") else line for line in lines]
    return lines


def _wrong(key: str, problem: Mapping[str, Any]) -> str:
    """Return what is wrong with a setting; the declaration's own checks have said it in words."""
    if problem["type"] == "value_error":
        return in_words(problem)
    return wrong_value(SETTINGS[key], problem["input"])


def _shown(value: Any) -> str:
    """Return a value as the user typed it; of a list, each value."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _merge(layers: list[_Layer]) -> Resolved:
    # The invariant: ``values`` holds what the layers so far have decided.
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            # An earlier layer has the value, which is the higher one.
            if key not in values:
                values[key] = value
                origins[key] = _origin(layer.origin, key)
    # Once more as a whole: values of different layers meet here for the first time.
    settings = validated(values)
    for key in SETTINGS:
        origins.setdefault(key, "default")
    return Resolved(settings, origins)


def _origin(kind: str, key: str) -> str:
    if kind == "option":
        return option(key)
    if kind == "job":
        return f"the job's {key}"
    return variable(key) if kind == "variable" else kind
