"""Documents that arrive in numbered parts, as a browser uploads them; each part is a file on the SAN.

A part may arrive in any order, more than once, and by way of any machine: it is written under a
temporary name and renamed. No machine keeps the state of an upload, so that each may take the next part.
A protocol that agrees on one offset breaks behind several servers: their views of a file on NFS differ.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import time
import unicodedata
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sshrender.api.web.uploaderrors import UploadError, parts_lacking
from sshrender.api.web.webfolder import make_folder, own_folder
from sshrender.storage import files

MIN_PART, DEFAULT_PART, MAX_PART = 512 << 10, 8 << 20, 64 << 20
"""Bytes. nginx accepts bodies of 1 MiB by default (client_max_body_size), Cloudflare of 100 MB."""

MAX_NAME = 120
"""Characters of a document's name."""

_MAX_STEM_BYTES = 180
"""Bytes of a file's name without its ending: NAME_MAX is 255, and names of jobs and temporary files are
longer than that of the document."""

VISIBLE_TIMEOUT = 60.0
"""Seconds until a part that another machine wrote is visible: NFS caches names for so long (nfs(5))."""

STALE_AFTER = 24 * 3600.0
"""Seconds after which an upload without a new part is removed."""

# Twelve digits of the owner's digest, and 128 random bits.
_ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}")
_REMOVED = re.compile(r"removed-[0-9a-f]{32}")
_PART = re.compile(r"(\d{1,7})\.part")
_BLOCK = 1 << 20
_NOT_BETWEEN = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)
"""Errors of copy_file_range(2) that say that it is not possible between these files. EPERM: a container
may forbid the call."""

_HEAD = 1024
"""Bytes at whose beginning readers of PDF look for the header (ISO 32000-1, annex H, note 13)."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one user, in bytes. ``reserve``: space that stays free on the SAN."""

    document: int = 10 << 30
    total: int = 40 << 30
    uploads: int = 20
    reserve: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was begun. ``size``: bytes; ``created``: seconds since 1970."""

    id: str
    owner: str
    name: str
    size: int
    part_size: int
    created: float

    @property
    def parts(self) -> int:
        """The number of its parts."""
        return -(-self.size // self.part_size)

    # From 0: part ``number`` begins at ``number * part_size``.
    def size_of(self, number: int) -> int:
        """Return the bytes of a part; only the last one is shorter than the others."""
        return min(self.part_size, self.size - number * self.part_size)


def begin(san: Path, owner: str, name: str, size: int, part_size: int, quota: Quota) -> Upload:
    """Begin an upload. Raises UploadError, or OSError."""
    if size < 1:
        raise UploadError("form", "a document has at least one byte", "choose a PDF file")
    if size > quota.document:
        raise UploadError(
            "size",
            f"a document of {size:,} bytes is not accepted; the limit is {quota.document:,}",
            "split the document, or ask the administrator for a higher --max-upload",
        )
    if not MIN_PART <= part_size <= MAX_PART:
        raise UploadError(
            "form", f"a part has {MIN_PART:,} to {MAX_PART:,} bytes", "choose another part_size"
        )
    # Checked before anything is written.
    _require_room(san, owner, size, quota)
    prefix = _prefix(owner)
    upload = Upload(
        f"{prefix}-{secrets.token_hex(16)}", owner, clean_name(name), size, part_size, time.time()
    )
    make_folder(san, "uploads")
    folder = _folder(san, upload.id)
    folder.mkdir(mode=0o700)
    # Last: a folder without this file is not an upload yet.
    files.write_whole(folder / "upload.json", json.dumps(asdict(upload)).encode())
    try:
        # Again: requests to several servers may all have found room. The last one to be made sees all
        # others, so no more than the quota stay.
        _require_room(san, owner, size, quota, upload.id)
    except UploadError:
        remove(san, upload)
        raise
    return upload


def _require_room(san: Path, owner: str, size: int, quota: Quota, new: str = "") -> None:
    """Raise UploadError unless an upload of this size fits beside all others, except ``new``."""
    # A completed upload is a job by now and counts as one.
    others = [upload for upload in _open_uploads(san, owner) if upload.id != new]
    own = [upload for upload in others if job_of(san, upload) is None]
    if len(own) >= quota.uploads:
        raise UploadError(
            "quota",
            f"{len(own)} of your uploads are not completed; more are not allowed",
            "complete or remove one of them first",
        )
    if sum(upload.size for upload in own) + size > quota.total:
        raise UploadError(
            "quota",
            f"your open uploads would exceed {quota.total:,} bytes",
            "complete or remove one of them first",
        )
    # The parts, the document made of them, and the job's copy exist at the same time for a moment.
    require_space(san, 2 * size, quota)


def require_space(san: Path, size: int, quota: Quota) -> None:
    """Raise UploadError unless the reserve stays free when so many bytes are written.

    Other uploads and pages take space, too, between the begin of an upload and its last part.
    """
    if files.free_bytes(san) < size + quota.reserve:
        raise UploadError(
            "space",
            "the shared folder has too little free space",
            "try again later, or ask the administrator",
        )


def find(san: Path, id_: str, owner: str) -> Upload:
    """Return an upload of this user. Raises UploadError if there is none; another user's is none."""
    # The prefix is compared before a file is opened, so no user learns of another one's uploads.
    if _ID.fullmatch(id_) and id_.startswith(f"{_prefix(owner)}-"):
        # It is gone, or its record is damaged: both are answered below.
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return _load(_folder(san, id_))
    raise UploadError("gone", "there is no such upload", "begin it again")


def _load(folder: Path) -> Upload:
    fields: dict[str, Any] = json.loads(files.read_plain(folder / "upload.json"))
    return Upload(
        id=folder.name,
        owner=str(fields["owner"]),
        # Cleaned again: the file is on a shared folder.
        name=clean_name(str(fields["name"])),
        size=int(fields["size"]),
        # At least 1, because parts are computed by a division.
        part_size=max(1, int(fields["part_size"])),
        created=float(fields["created"]),
    )


def parts_present(san: Path, upload: Upload) -> list[int]:
    """Return the parts that are there, sorted. Raises OSError."""
    found = (
        _PART.fullmatch(name) for name in files.names_in(_folder(san, upload.id), upload.parts + 100)
    )
    # A number beyond the last part cannot come from this program.
    return sorted(int(match[1]) for match in found if match and int(match[1]) < upload.parts)


class PartWriter:
    """Writes one part as its bytes arrive; visible from ``finish`` on. After an error: ``abort``."""

    def __init__(self, san: Path, upload: Upload, number: int) -> None:
        if not 0 <= number < upload.parts:
            raise UploadError("form", f"the parts are 0 to {upload.parts - 1}", "send another part")
        self._final = _folder(san, upload.id) / f"{number}.part"
        # A name of its own for each writer: two of the same part do not mix, and the last one that
        # finishes counts.
        self._temporary = self._final.with_name(f".{number}.{uuid.uuid4().hex}")
        self._size = upload.size_of(number)
        self._written = 0
        self._digest = hashlib.sha256()
        # Only the first part holds the header of a PDF.
        self._head = b"" if number == 0 else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file: BinaryIO = os.fdopen(os.open(self._temporary, flags, 0o600), "wb", buffering=0)
        except FileNotFoundError:
            raise _removed() from None

    def write(self, data: bytes) -> None:
        """Append bytes. Raises UploadError for more than the part has, or OSError."""
        # Counted before it is written, so that no part exceeds its quota.
        self._written += len(data)
        if self._written > self._size:
            raise UploadError(
                "size", f"this part has {self._size:,} bytes, and more arrived", "send the part again"
            )
        if self._head is not None:
            self._head = (self._head + data)[:_HEAD]
        self._digest.update(data)
        view = memoryview(data)
        while view:
            # write(2) may take only a part.
            view = view[self._file.write(view) :]

    def finish(self, sha256: bytes | None) -> None:
        """Publish the part. ``sha256``: what the sender computed. Raises UploadError or OSError."""
        if self._written != self._size:
            raise UploadError(
                "form",
                f"this part has {self._size:,} bytes, and {self._written:,} arrived",
                "send the part again",
            )
        if sha256 is not None and sha256 != self._digest.digest():
            raise UploadError(
                "digest", "the part arrived damaged: its digest differs", "send the part again"
            )
        # Up to 1,024 bytes may precede the header, as most readers allow.
        if self._head is not None and b"%PDF-" not in self._head:
            raise UploadError("document", "this is not a PDF", "choose a PDF file")
        # Synced before it gets its name: another machine must not read a part that is still in this
        # one's memory.
        os.fsync(self._file.fileno())
        self._file.close()
        files.rename(self._temporary, self._final)

    def abort(self) -> None:
        """Remove what was written. Never raises OSError."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def assemble(san: Path, upload: Upload, timeout: float = VISIBLE_TIMEOUT) -> Path:
    """Return the document that consists of the parts; make it unless it is there.

    Raises UploadError if a part is missing, or OSError.
    """
    target = _folder(san, upload.id) / "document" / f"{stem_of(upload.name)}.pdf"
    # Another request, or another machine, may have made it already.
    with contextlib.suppress(FileNotFoundError):
        if target.stat().st_size == upload.size:
            return target
    lacking = upload.parts - len(parts_present(san, upload))
    # Another machine may have written parts that this one does not list yet, but not many. If more than
    # half of the parts are missing, they were never sent: waiting would not help.
    until = time.monotonic() + (timeout if lacking <= upload.parts // 2 else 0)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}")
    try:
        with temporary.open("xb", buffering=0) as file:
            for number in range(upload.parts):
                with _open_part(_folder(san, upload.id) / f"{number}.part", until) as part:
                    if not _append(part, file, upload.size_of(number)):
                        raise parts_lacking(number)
            # The job is opened from this file by other processes, perhaps on other machines.
            os.fsync(file.fileno())
        files.rename(temporary, target)
    finally:
        # After a rename there is nothing of this name.
        temporary.unlink(missing_ok=True)
    return target


def first_missing(san: Path, upload: Upload, start: int = 0) -> int | None:
    """Return the first part from ``start`` on that cannot be opened; None if all can.

    Opened by name: a file server that has listed the folder before may not list a new file for a minute.
    """
    for number in range(start, upload.parts):
        try:
            files.open_plain(_folder(san, upload.id) / f"{number}.part").close()
        except FileNotFoundError:
            # No part will come for an upload that was removed meanwhile.
            if not (_folder(san, upload.id) / "upload.json").is_file():
                raise _removed() from None
            return number
    return None


def _removed() -> UploadError:
    return UploadError("gone", "the upload was removed", "begin it again")


def parts_missing(san: Path, upload: Upload) -> set[int]:
    """Return the parts that are not listed; another machine may have stored some. Raises OSError."""
    return set(range(upload.parts)) - set(parts_present(san, upload))


def _open_part(path: Path, until: float) -> BinaryIO:
    while True:
        try:
            return files.open_plain(path)
        except FileNotFoundError:
            if time.monotonic() >= until:
                raise parts_lacking(int(path.name.partition(".")[0])) from None
            # NFS clients cache that a name does not exist (nfs(5)).
            time.sleep(0.5)


def _append(part: BinaryIO, file: BinaryIO, size: int) -> bool:
    """Copy a part; the file server does that itself if it can. Raises OSError.

    Returns False if the part ends early: its file was replaced by a shorter one.
    """
    left, is_possible = size, True
    while left:
        copied = 0
        if is_possible:
            try:
                copied = os.copy_file_range(part.fileno(), file.fileno(), min(left, _BLOCK * 64))
            except OSError as error:
                # A full disk or a broken one would fail in the same way below, after more work.
                if error.errno not in _NOT_BETWEEN:
                    raise
                is_possible = False
        if not is_possible:
            copied = _copy_block(part, file, min(left, _BLOCK))
        if not copied:
            return False
        left -= copied
    return True


def _copy_block(part: BinaryIO, file: BinaryIO, size: int) -> int:
    # Not by ``part.read``: a buffer that reads ahead would move the place from which both ways continue.
    data = os.read(part.fileno(), size)
    view = memoryview(data)
    while view:
        # write(2) may take only a part.
        view = view[os.write(file.fileno(), view) :]
    return len(data)


def complete(san: Path, upload: Upload, job: str) -> None:
    """Record which job the upload became, and remove its parts. Raises OSError."""
    folder = _folder(san, upload.id)
    # The record first: a request that comes meanwhile finds the job and not missing parts.
    files.write_whole(folder / "job.json", json.dumps({"job": job}).encode())
    for name in files.names_in(folder, upload.parts + 100):
        if _PART.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    _remove_within(folder, "document")


def job_of(san: Path, upload: Upload) -> str | None:
    """Return the job that the upload became; None while it is not completed. Raises OSError."""
    # Not written yet, or damaged: then the upload is completed again.
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return str(json.loads(files.read_plain(_folder(san, upload.id) / "job.json"))["job"])
    return None


def remove(san: Path, upload: Upload) -> None:
    """Remove an upload with all of its parts. Raises OSError."""
    _remove(_folder(san, upload.id))


def _remove(folder: Path) -> None:
    # Renamed first: a part that is being written would keep the folder, or stay and count for no user.
    hidden = folder.with_name(f"removed-{secrets.token_hex(16)}")
    with contextlib.suppress(FileNotFoundError):  # another request has removed it
        folder.rename(hidden)
        _remove_within(folder.parent, hidden.name)


def clear_stale(san: Path) -> int:
    """Remove uploads that got no part for a day; return how many. Raises OSError."""
    place = own_folder(san) / "uploads"
    if not place.is_dir():
        return 0
    now = files.status_of_new(place).st_mtime  # by the clock of the file server, as the others are
    # The modification time of the folder: it changes with every part that is renamed into it.
    stale = [
        each
        for each in place.iterdir()
        if _REMOVED.fullmatch(each.name)  # by a process that ended meanwhile
        or (_ID.fullmatch(each.name) and now - each.lstat().st_mtime > STALE_AFTER)
    ]
    for each in stale:
        _remove(each)
    return len(stale)


def _remove_within(folder: Path, name: str) -> None:
    place = files.open_folder(folder)
    try:
        files.remove_tree(name, place)
    finally:
        os.close(place)


def open_count(san: Path) -> int:
    """Return how many uploads there are, of all users. Raises OSError."""
    place = own_folder(san) / "uploads"
    return sum(1 for each in place.iterdir() if _ID.fullmatch(each.name)) if place.is_dir() else 0


def _open_uploads(san: Path, owner: str) -> list[Upload]:
    place = own_folder(san) / "uploads"
    if not place.is_dir():
        return []
    found = []
    for each in place.iterdir():
        if _ID.fullmatch(each.name) and each.name.startswith(f"{_prefix(owner)}-"):
            # Removed meanwhile, or damaged: it is not listed.
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                found.append(_load(each))
    return found


def _prefix(owner: str) -> str:
    """Return the beginning of the ids of a user's uploads, so that counting them opens no other's."""
    return hashlib.sha256(owner.encode()).hexdigest()[:12]


def _folder(san: Path, id_: str) -> Path:
    return own_folder(san) / "uploads" / id_


def clean_name(name: str) -> str:
    """Return a document's name as it is shown: printable, without folders, of bounded length."""
    # Some browsers send whole paths.
    text = name.replace("\\", "/").rpartition("/")[2]
    # NFC: macOS sends decomposed letters. isprintable() removes control characters and direction marks.
    text = "".join(char for char in unicodedata.normalize("NFC", text) if char.isprintable()).strip()
    return text[:MAX_NAME] or "document.pdf"


def stem_of(name: str) -> str:
    """Return the stem of the file that a document gets: no dot in front, and not too long."""
    # Without dots in front, because hidden names are left out by readers.
    stem = name[:-4] if name.lower().endswith(".pdf") else name
    # Cut in bytes; an incomplete letter at the end is dropped by the decoder below.
    data = stem.strip(" .").encode("utf-8", "replace")[:_MAX_STEM_BYTES]
    return data.decode("utf-8", "ignore").strip(" .") or "document"
