"""Make one file of a job's pages. ``KINDS``: the files that can be made, by ``--assemble``."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from sshrender.job.assembly import archive, pdf, tiff
from sshrender.job.assembly.pagereader import AssemblyFailed, Sheet
from sshrender.job.folder import JobFolder
from sshrender.job.journal.history import PageRecord
from sshrender.storage.files import read_plain, sync_folder, write_whole
from sshrender.storage.newfiles import replace

_Writer = Callable[[IO[bytes], Sequence[Sheet]], None]

KINDS: dict[str, _Writer] = {
    "pdf": pdf.write,
    "tiff": tiff.write,
    "zip": archive.write,
    "cbz": archive.write,
}

_ROOM = 1 << 20

_PICTURES = frozenset(("png", "jpeg", "tiff", "bmp", "pnm", "pcx"))
"""Formats (renderers/devices.py) that Pillow reads without surprises."""


def can_hold(kind: str, format_: str) -> bool:
    """Whether such a file can contain pages of this format."""
    return kind in ("zip", "cbz") or format_ in _PICTURES


def assemble(
    folder: JobFolder,
    records: Sequence[PageRecord],
    target: Path,
    kind: str,
    dpi: tuple[float, float],
    fence: Callable[[], None] = lambda: None,
) -> Path:
    """Write ``target``, unless it is there and of these pages.

    ``dpi``: horizontal and vertical. ``fence`` raises LeaseLost if another coordinator has the job by
    now. Raises AssemblyFailed or OSError.
    """
    ordered = sorted(records, key=lambda record: record.page)
    # The key describes the file: its pages, kind and resolution.
    key = _key(ordered, kind, dpi)
    if not _is_there(folder, target, key):
        sheets = [
            Sheet(
                path=folder.pages / record.file,
                width=record.width,
                height=record.height,
                dpi=dpi,
                bytes=record.bytes,
                sha256=record.sha256,
            )
            for record in ordered
        ]
        _write(target, lambda file: KINDS[kind](file, sheets), fence)
        fence()  # that account is its successor's, if this process was stopped meanwhile
        account = {"schema": 1, "key": key, "bytes": target.stat().st_size}
        write_whole(_account(folder, kind), json.dumps(account).encode())
    return target


def _account(folder: JobFolder, kind: str) -> Path:
    return folder.path / f"assembled-{kind}.json"


def _key(records: Sequence[PageRecord], kind: str, dpi: tuple[float, float]) -> str:
    resolution = f"{dpi[0]:g}" if dpi[0] == dpi[1] else f"{dpi[0]:g}x{dpi[1]:g}"
    digest = hashlib.sha256(f"{kind} {resolution}\n".encode())
    for record in records:
        digest.update(f"{record.file} {record.sha256}\n".encode())
    return digest.hexdigest()


def _is_there(folder: JobFolder, target: Path, key: str) -> bool:
    try:
        account = json.loads(read_plain(_account(folder, target.suffix.lstrip("."))))
        # The size as well: a file that another program replaced has another one, most likely.
        return bool(account["key"] == key and account["bytes"] == target.stat().st_size)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _require_room(file: IO[bytes]) -> None:
    """Raise OSError if the storage is full: libtiff says of a page that it cannot be written."""
    # After what was written: a megabyte shows whether there was room for more.
    file.seek(0, os.SEEK_END)
    file.write(b"\0" * _ROOM)
    file.flush()
    os.fsync(file.fileno())


def _write(target: Path, fill: Callable[[IO[bytes]], None], fence: Callable[[], None]) -> None:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("x+b") as file:
            try:
                fill(file)
            except AssemblyFailed:
                _require_room(file)
                raise
            file.flush()
            os.fsync(file.fileno())
        # Just before the name is given: the work may have taken minutes.
        fence()
        replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
