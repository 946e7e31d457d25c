"""Write ``manifest.json``, which lists every page, when a run has finished all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sshrender.job import fencedfiles
from sshrender.job.folder import JobFolder
from sshrender.job.journal.history import History, PageRecord
from sshrender.job.spec import JobSpec


def save(
    folder: JobFolder,
    spec: JobSpec,
    history: History,
    failed: Iterable[Mapping[str, Any]],
    finished: str,
    epoch: int = 0,
) -> None:
    """Write the manifest. Needs the lease of ``epoch``. Raises LeaseLost or OSError.

    ``failed``: the fields of each page that failed. ``finished``: when the run ended, as the journal
    writes times.
    """
    pages = [_line(record) for record in history.pages.values()]
    pages += [{**page, "state": "failed"} for page in failed]
    lines = ",\n  ".join(json.dumps(page) for page in sorted(pages, key=lambda page: int(page["page"])))
    head = {
        "schema": 1,
        "epoch": epoch,
        "job": spec.name,
        "document": spec.document.model_dump(mode="json"),
        "settings": spec.settings.model_dump(mode="json"),
        "finished": finished,
        "notes": list(history.notes),
        "fonts_missing": [{"font": font, "pages": pages} for font, pages in history.fonts.items()],
        "hosts": {name: dict(fingerprint) for name, fingerprint in history.hosts.items()},
    }
    # The head is indented, each page is one line: readable, and small for a long document.
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "pages": [\n  {lines}\n ]\n}}\n'
    fencedfiles.write(folder.manifest, text.encode("utf-8", "replace"), epoch)


def _line(record: PageRecord) -> dict[str, Any]:
    fields = record.as_fields()
    # Programs read the manifest; its key is older than the name that the code uses.
    fields["said"] = fields.pop("diagnostics")
    return {**fields, "state": "suspect" if record.is_suspect else "done"}
