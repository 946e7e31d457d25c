"""``manifest.json``: the account of every page, written when a run has settled them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sshrender.files import write_whole
from sshrender.job.folder import JobFolder
from sshrender.job.history import PageRecord
from sshrender.job.spec import JobSpec


def save(
    folder: JobFolder,
    spec: JobSpec,
    records: Iterable[PageRecord],
    failed: Iterable[Mapping[str, Any]],
    notes: Iterable[str],
    finished: str,
) -> None:
    """Write the manifest. Raises OSError."""
    pages = [_line(record) for record in records]
    pages += [{**page, "state": "failed"} for page in failed]
    fields = {
        "schema": 1,
        "job": spec.name,
        "document": spec.document.model_dump(mode="json"),
        "settings": spec.settings.model_dump(mode="json"),
        "finished": finished,
        "notes": list(notes),
        "pages": sorted(pages, key=lambda page: int(page["page"])),
    }
    write_whole(folder.manifest, (json.dumps(fields, indent=1) + "\n").encode())


def _line(record: PageRecord) -> dict[str, Any]:
    fields = asdict(record)
    return {**fields, "said": list(record.said), "state": "suspect" if record.said else "done"}
