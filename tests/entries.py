"""Make journal entries from names and values, as a test states them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.journalformat import SCHEMA, as_fields, parse, timestamp


def fields_of(type_: str, at: float, /, **fields: Any) -> dict[str, Any]:
    """Return what a line of a journal holds, whether it is sound or not."""
    return {"schema": SCHEMA, "time": timestamp(at), "type": type_, **fields}


def entry(type_: str, at: float, /, **fields: Any) -> JournalEntry:
    """Return an entry of a moment in wall-clock seconds. Raises Damaged."""
    return parse(json.loads(json.dumps(fields_of(type_, at, **fields))))


def parsed(fields: Any) -> JournalEntry | None:
    """Return the entry of what a line holds; None for damage."""
    try:
        return parse(fields)
    except ValueError:
        return None


def entries_of(lines: Iterable[dict[str, Any]]) -> list[JournalEntry]:
    """Return the entries of lines that are sound. Raises Damaged."""
    return [parse(json.loads(json.dumps(line))) for line in lines]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return what stands in a journal, entry by entry, as a program reads it that knows JSON only.

    A coordinator may write meanwhile: a line that is not whole yet does not count.
    """
    return [json.loads(json.dumps(as_fields(entry))) for entry in read_journal(path)]


def delivered(journals: Iterable[Path]) -> list[int]:
    """Return the pages that are delivered as journals say, in that order.

    A page stands in the output a moment before its entry does in the journal: a test that is to find a
    page in the journal, or in the status of a job, does not look at the folder.
    """
    entries = [entry for path in journals for entry in lines_of(path)]
    return [entry["page"] for entry in entries if entry["type"] == "page_delivered"]
