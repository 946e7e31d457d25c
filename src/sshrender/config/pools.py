"""The ``[[pools]]`` of an inventory: batch systems that lend nodes for a time."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sshrender.config.inventorytable import Table, absolute
from sshrender.config.units import parse_size, parse_walltime
from sshrender.config.validation import Word

# Two minutes more than the last one, in which it takes no pages.
MIN_WALLTIME = 180.0
"""Seconds: a pilot takes no more pages in the last minute (runner/allocationfacts.py)."""

_LEAKS = frozenset({"-V", "--export=ALL"})
"""Options that take the whole environment along: variables change how programs run, and an escape
character in one of them makes the XML of TORQUE's qstat invalid for everybody."""

_GETENV = re.compile(r"get_?env\s*=\s*(true|t|yes|1|\*)", re.IGNORECASE)
"""The same for HTCondor (condor_submit(1))."""

_PIPES = ("slurm", "htcondor")
"""Engines with a command that runs another one in the allocation of a job (Engine.attached)."""

EngineName = Literal["slurm", "torque", "openpbs", "gridengine", "htcondor"]


class PoolEntry(Table):
    """One ``[[pools]]``: pilots are jobs of its engine, and each that runs is a host."""

    name: Word = Field(
        min_length=1, max_length=60, description="name of the pool, for --engine and --on"
    )
    engine: EngineName = Field(description="the batch system")
    pilots: int = Field(ge=1, le=1000, description="most pilots at the same time, waiting ones included")
    cores: int = Field(1, ge=1, le=1024, description="cores of each pilot; it renders a page on each")
    memory: Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str)] | None = Field(
        None, gt=0, description="memory of each pilot; default: that of the engine"
    )
    walltime: Annotated[float, BeforeValidator(parse_walltime, json_schema_input_type=float | str)] = (
        Field(
            ge=MIN_WALLTIME,
            description="time limit of each pilot; it takes no pages in its last minute,"
            " and in up to a tenth of its time before that",
        )
    )
    queue: Word | None = Field(None, min_length=1, description="queue or partition to submit to")
    partition: Word | None = Field(None, min_length=1, description="the same, as Slurm calls it")
    options: list[str] = Field(
        default=[],
        max_length=100,
        description="further arguments for sbatch or qsub; for HTCondor, submit description lines",
    )
    environment: dict[str, str] = Field(
        default={}, description="environment variables for the programs on the nodes"
    )
    carrier: Literal["auto", "pipe", "files"] = Field(
        "auto",
        description="how to reach runners: pipe, with srun (Slurm) or condor_ssh_to_job (HTCondor),"
        " or files on the shared folder; auto: pipe with Slurm, and files if that fails",
    )
    via: Word | None = Field(
        None,
        min_length=1,
        description="run the engine's commands on this host, over ssh; default: on this machine",
    )
    san: str | None = Field(None, description="the path of the shared folder on the nodes")

    @field_validator("san")
    @classmethod
    def _san_is_absolute(cls, value: str | None) -> str | None:
        return None if value is None else absolute(value)

    @field_validator("options")
    @classmethod
    def _options_are_words(cls, value: list[str]) -> list[str]:
        for word in value:
            if not word or any(not character.isprintable() for character in word):
                raise ValueError(f"{word!r} is empty or has a control character")
            # Only whole words: other ways to pass the environment along cannot all be known.
            if word in _LEAKS or _GETENV.fullmatch(word):
                raise ValueError(
                    f"{word} would pass on the whole environment; list variables in environment"
                )
        return value

    @field_validator("environment")
    @classmethod
    def _variables_are_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            # A variable of one line, because the script exports each on a line.
            if not (name.isidentifier() and name.isascii()) or not text.isprintable():
                raise ValueError(f"{name!r} is no variable of one line")
        return value

    @model_validator(mode="after")
    def _fits_its_engine(self) -> Self:
        if self.queue is not None and self.partition is not None:
            raise ValueError("queue and partition are the same; set one of them")
        if self.carrier == "pipe" and self.engine not in _PIPES:
            raise ValueError(
                'only Slurm and HTCondor have carrier = "pipe"; "files" works with every engine'
            )
        if self.engine == "htcondor" and self.queue_name is not None:
            raise ValueError("HTCondor has no queues; options may hold a line such as requirements = …")
        # The name of the parallel environment is the site's choice, so it cannot be filled in.
        if self.engine == "gridengine" and self.cores > 1 and "-pe" not in self.options:
            raise ValueError(
                "more than one core of Grid Engine needs a parallel environment:"
                f' options = ["-pe", "smp", "{self.cores}"]'
            )
        return self

    @property
    def queue_name(self) -> str | None:
        """Return the queue or partition."""
        return self.queue or self.partition
