"""What a command imports: most of its time before it does anything.

Each list names what the command has no use for. A module that is imported at the top of another one
comes back here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.lab.prepared import PROGRAM

TERMINAL = ("rich", "textual", "prompt_toolkit")
SSH = ("fabric", "invoke", "paramiko", "cryptography")
DOCUMENT = ("pikepdf", "pypdf", "PIL")
SERVER = ("starlette", "uvicorn", "http.client", "http.server", "asyncio")
OFTEN = ("ClusterShell", "typer._adapters", "typer.rich_utils")
"""What few values of options and inventories need."""

RUN = (
    "sshrender.coordinator.loop",
    "sshrender.core.scheduler",
    "sshrender.runner",
    "sshrender.transports",
)
NEVER = (*TERMINAL, *SSH, *DOCUMENT, *SERVER, *OFTEN)

COMMANDS = {
    "--version": (*NEVER, *RUN, "pydantic", "sshrender.job", "sshrender.api.jobs"),
    "config path": (*NEVER, *RUN, "pydantic", "sshrender.job", "sshrender.cli.render"),
    "man render": (*NEVER, *RUN, "pydantic", "sshrender.job", "sshrender.cli.render"),
    "status": (
        *NEVER,
        *RUN,
        "sshrender.coordinator",
        "sshrender.cli.render",
        "sshrender.views.overview",
    ),
    "hosts": (*NEVER, "sshrender.coordinator.loop", "sshrender.cli.render"),
    "render a.pdf --quiet": (*NEVER, "sshrender.cli.status", "sshrender.views.dashboard"),
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_imports_nothing_that_it_does_not_use(line: str, home: Path) -> None:
    pdfs.write(home / "a.pdf", pdfs.numbered(1))
    found = _imported(
        "import sys; from sshrender import program;"
        f"sys.argv = ['sshrender', *{line.split()!r}];"
        "assert program.run() == 0;"
    )
    assert sorted(found.intersection(COMMANDS[line])) == []


def test_the_list_of_commands_is_made_without_what_they_use() -> None:
    """The modules that a command needs are imported inside it, or --help would take a second."""
    found = _imported("import sys; from sshrender.cli.app import app;")
    assert sorted(found.intersection((*NEVER, *RUN, "pydantic"))) == []


def _imported(code: str) -> set[str]:
    """Return the modules that are loaded in a new interpreter after this code."""
    answer = subprocess.run(
        [PROGRAM[0], "-c", code + "print('\\nLOADED', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answer.stdout.rpartition("\nLOADED")[2].split())
