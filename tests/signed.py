"""Files of a job as its owner signs them, for tests that make a part of a job by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sshrender.job import signature
from sshrender.job.folder import JobFolder
from sshrender.job.signature import Purpose


def spec(folder: JobFolder, **fields: Any) -> None:
    """Write a job.json that the owner signed, whatever it says."""
    folder.spec.write_text(json.dumps(signature.signed(folder, Purpose.JOB, fields)))


def request(folder: JobFolder, fields: dict[str, Any], number: int = 1) -> Path:
    """Write a request that the owner signed, whatever it asks."""
    name = f"{number:020d}-{number:016x}"
    path = folder.requests / f"{name}.json"
    signed = signature.signed(folder, Purpose.REQUEST, {**fields, "id": name})
    path.write_text(json.dumps(signed))
    return path
