"""``manifest.json``: the account of every page, written when a run has settled them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sshrender.job import fencedfiles
from sshrender.job.folder import JobFolder
from sshrender.job.history import PageRecord
from sshrender.job.spec import JobSpec


def save(
    folder: JobFolder,
    spec: JobSpec,
    records: Iterable[PageRecord],
    failed: Iterable[Mapping[str, Any]],
    notes: Iterable[str],
    fonts: Mapping[str, str],
    hosts: Mapping[str, Mapping[str, str]],
    finished: str,
    epoch: int = 0,
) -> None:
    """Write the manifest. Needs the lease of ``epoch``. Raises LeaseLost or OSError."""
    pages = [_line(record) for record in records]
    pages += [{**page, "state": "failed"} for page in failed]
    lines = ",\n  ".join(json.dumps(page) for page in sorted(pages, key=lambda page: int(page["page"])))
    head = {
        "schema": 1,
        "epoch": epoch,
        "job": spec.name,
        "document": spec.document.model_dump(mode="json"),
        "settings": spec.settings.model_dump(mode="json"),
        "finished": finished,
        "notes": list(notes),
        "fonts_missing": [{"font": font, "pages": pages} for font, pages in fonts.items()],
        "hosts": {name: dict(look) for name, look in hosts.items()},
    }
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "pages": [\n  {lines}\n ]\n}}\n'
    fencedfiles.write(folder.manifest, text.encode("utf-8", "replace"), epoch)


def _line(record: PageRecord) -> dict[str, Any]:
    return {**record.as_fields(), "state": "suspect" if record.said else "done"}
