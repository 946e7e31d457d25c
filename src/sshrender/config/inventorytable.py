"""The base of every table of an inventory."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from sshrender.config.units import refuse_nul


class Table(BaseModel):
    """A table of the file: an unknown key is an error."""

    # defer_build: a command that reads none builds none.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)
    # For every field, before its own check: a NUL ends the name of a file in the kernel.
    _refuse_nul = field_validator("*", mode="before")(refuse_nul)


def absolute(path: str) -> str:
    """Return the path. Raises ValueError if it is not absolute."""
    if not path.startswith("/"):
        raise ValueError(f"must be an absolute path, and {path or 'an empty one'} does not begin with /")
    return path
