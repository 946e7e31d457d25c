"""Sign and verify ``job.json``, ``attributes.json`` and requests: only the owner's machines can sign.

Every machine that has the owner's user can write into a job's folder, hosts too. What a coordinator
runs and where it writes are therefore taken only from files with a MAC by the owner's key
(config/keyfile.py), which hosts do not have. The MAC covers the whole object, its purpose and the name
of the job's folder, so that a file signed for one job, or as one kind, is worthless as another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shlex
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from sshrender.config import keyfile
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder

FIELD = "mac"
_SCHEME = "hmac-sha256"

IMPORT = "ssh MACHINE sshrender key show | sshrender key import"
"""The command with which the owner shares the key."""

MACHINE = "MACHINE stands for the one where the job was made"
"""No machine is named: any host could have written its name."""


class Purpose(Enum):
    """The kind of a signed object."""

    JOB = "job"
    ATTRIBUTES = "attributes"
    REQUEST = "request"


class Unsigned(UserError):
    """A file is not signed with this user's key: every host could have written it."""

    def __init__(self, what: str, hint: str, *, is_key_missing: bool = False) -> None:
        super().__init__(ExitCode.STORAGE, what, hint)
        self.is_key_missing = is_key_missing
        """Whether it is signed, with a key that is not on this machine."""


def signed(folder: JobFolder, purpose: Purpose, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with their MAC. Makes this user's key if there is none. Raises UserError."""
    key = keyfile.load_or_make()
    bare = {name: value for name, value in fields.items() if name != FIELD}
    # Through JSON, so that the MAC covers what a reader parses: tuples become lists, for instance.
    mac = _mac(key, folder, purpose, json.loads(json.dumps(bare)))
    return {**bare, FIELD: f"{_SCHEME}:{keyfile.fingerprint(key)}:{mac}"}


def require(folder: JobFolder, purpose: Purpose, fields: Mapping[str, Any], path: Path) -> None:
    """Raise Unsigned if the fields, read from ``path``, are not signed with this user's key."""
    found = _judge(folder, purpose, fields)
    if found:
        raise Unsigned(f"{path} {found.why}", found.hint, is_key_missing=found.hint == IMPORT)


def missing(folder: JobFolder, path: Path) -> Unsigned:
    """Return the error for a job that lacks a file which its owner signed."""
    what = f"{path} is missing: without it the job is not run; {THEN}"
    return Unsigned(what, set_aside(folder))


def of_another(folder: JobFolder, path: Path) -> Unsigned:
    """Return the error for a file that was signed for an earlier job of the same name."""
    return Unsigned(f"{path} was signed for another job of this name; {THEN}", set_aside(folder))


def is_signed(folder: JobFolder, purpose: Purpose, fields: Mapping[str, Any]) -> bool:
    """Whether the fields are signed with this user's key. Raises UserError if that cannot be used."""
    return _judge(folder, purpose, fields) is None


THEN = "set the job aside, then render or submit the document again"
"""The hint for a job whose files cannot be used."""


def require_schema(path: Path, fields: Any, known: int) -> None:
    """Raise UserError for a file that a newer version has written: nothing is wrong with the job."""
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if type(schema) is int and schema > known:
        raise UserError(
            ExitCode.STORAGE,
            f"{path} was written by a newer version of sshrender: it has schema {schema}, and this one"
            f" reads {known}",
            "update the program on this machine",
        )


def set_aside(folder: JobFolder) -> str:
    """Return the command that moves a job's folder out of the queue, for inspection."""
    aside = folder.path.with_name(f".unsigned-{folder.name}")
    return f"mv {shlex.quote(str(folder.path))} {shlex.quote(str(aside))}"


class _Objection(NamedTuple):
    why: str
    hint: str


def _judge(folder: JobFolder, purpose: Purpose, fields: Mapping[str, Any]) -> _Objection | None:
    """Return why the fields are not accepted; None if they are."""
    mac = fields.get(FIELD)
    words = mac.split(":") if isinstance(mac, str) else []
    # Three parts: the scheme, the key's fingerprint, the MAC.
    if len(words) != 3 or words[0] != _SCHEME:
        why = "is not signed: any machine that has this user could have written it"
        return _Objection(f"{why}; {THEN}", set_aside(folder))
    key = keyfile.load()
    if key is None:
        why = f"is signed, and this user has no key on this machine ({keyfile.path()}); {MACHINE}"
        return _Objection(why, IMPORT)
    mine = keyfile.fingerprint(key)
    # A key of the same owner on another machine, or another owner's: which one cannot be told.
    if words[1] != mine:
        why = f"is signed with another key than this user's, {mine}; {MACHINE}"
        return _Objection(why, IMPORT)
    bare = {name: value for name, value in fields.items() if name != FIELD}
    expected = _mac(key, folder, purpose, bare)
    # compare_digest takes the same time wherever the first difference is.
    if not hmac.compare_digest(expected.encode(), words[2].encode("utf-8", "replace")):
        why = "was changed after it was signed, or was signed for another job"
        return _Objection(f"{why}; {THEN}", set_aside(folder))
    return None


def _mac(key: bytes, folder: JobFolder, purpose: Purpose, fields: Mapping[str, Any]) -> str:
    """Return the MAC of an object as JSON has it: members sorted, without spaces."""
    # Purpose and folder are part of the message: a signed file is of no use in another place.
    message = ["sshrender", purpose.value, folder.name, fields]
    # sort_keys: a reader's dictionary may have another order.
    text = json.dumps(message, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
