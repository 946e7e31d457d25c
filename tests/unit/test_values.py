"""Options are read as typer reads them, whoever does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from sshrender.cli import helptext

LINES = [
    "a.pdf b.pdf",
    "a.pdf --name x --folder . --also 1 --also 2 -vv --count 3 --flag",
    "a.pdf --folder there.txt",
    "a.pdf --closed there.txt --file there.txt --file none",
    "a.pdf --count 9",
    "a.pdf --count many",
    "",
]
"""An option without its value is refused before any is read: tests/cli/test_command_line.py."""


def _app(cls: Any, seen: list[Any]) -> typer.Typer:
    app = typer.Typer()

    @app.command(cls=cls)
    def command(
        pdf: Annotated[list[Path], typer.Argument(readable=False)],
        name: Annotated[str | None, typer.Option(envvar="TEST_NAME")] = None,
        folder: Annotated[Path | None, typer.Option(file_okay=False)] = None,
        files: Annotated[list[Path] | None, typer.Option("--file")] = None,
        closed: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
        also: Annotated[list[str] | None, typer.Option(envvar="TEST_ALSO")] = None,
        verbose: Annotated[int, typer.Option("-v", count=True, envvar="TEST_VERBOSE")] = 0,
        count: Annotated[int | None, typer.Option(min=1, max=5)] = None,
        flag: Annotated[bool, typer.Option("--flag", envvar="TEST_FLAG")] = False,
    ) -> None:
        seen.append([pdf, name, folder, files, closed, also, verbose, count, flag])

    return app


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    "env", [{}, {"TEST_NAME": "n", "TEST_ALSO": "a b", "TEST_VERBOSE": "2", "TEST_FLAG": "1"}]
)
def test_values_are_those_that_typer_reads(
    line: str, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there.txt").touch()
    monkeypatch.chdir(tmp_path)
    told = []
    for cls in (helptext.Command, typer.core.TyperCommand):
        seen: list[Any] = []
        result = CliRunner().invoke(_app(cls, seen), line.split(), env=env)
        told.append((seen, result.exit_code, result.output))
    assert told[0] == told[1]
