"""A job that a newer version has written or continued: every command says so, and leaves it as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sshrender.job.folder import JobFolder
from tests import pdfs
from tests.cli.test_hints import run
from tests.entries import fields_of

NAMING = ("status", "why", "overview", "resume", "hold", "cancel", "resubmit", "clean")
"""Commands that take a job and nothing else."""

COMMANDS = [
    *([command, "one"] for command in NAMING),
    ["why", "one", "--page", "1"],
    ["alter", "one", "--priority", "3"],
    ["submit", "one.pdf"],
    ["render", "one.pdf"],
    ["report"],
    ["coordinate", "--once"],
]

SHOWN = ("status", "why", "overview", "report")
"""Commands that show what is known of a job whose attributes cannot be read."""


@pytest.fixture(params=["job.json", "attributes.json", "journal.jsonl"])
def newer(san: Path, home: Path, request: pytest.FixtureRequest) -> JobFolder:
    """A queued job; in one of its files is a schema that this version does not know."""
    pdfs.write(home / "one.pdf", pdfs.numbered(1))
    assert run("submit", "one.pdf").code == 0
    (path,) = san.glob("one-*")
    folder = JobFolder(path)
    file = path / request.param
    if file == folder.journal:
        # The newer version has continued a job of this one.
        ours = json.dumps(fields_of("storage_recovered", 0.0))
        theirs = json.dumps({**fields_of("storage_recovered", 1.0), "schema": 99})
        file.write_text(f"{ours}\n{theirs}\n{theirs}\n")
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 99}))
    return folder


def test_no_command_calls_it_damaged_or_alters_it(newer: JobFolder) -> None:
    files = [newer.spec, newer.attributes, newer.journal]
    before = [each.read_bytes() if each.exists() else None for each in files]
    unexplained = []
    for words in COMMANDS:
        said = run(*words)
        text = f"{said.text}\n{said.error}\n{said.hint}"
        assert "damaged" not in text, (words, text)
        # Nothing is wrong with the job: it must not be moved aside or removed.
        assert "mv " not in text, (words, text)
        assert "rm " not in text, (words, text)
        is_shown = '"schema": 99' in newer.attributes.read_text() and words[0] in SHOWN
        if not is_shown and "written by a newer version of sshrender: it has schema 99" not in text:
            unexplained.append(words)
        assert [each.read_bytes() if each.exists() else None for each in files] == before, words
    assert unexplained == []
