"""What a runner says, checked: a host is believed about nothing that has not the right shape.

Each class is one ``type`` on the wire (``runner/wire.py`` names them all). Unknown fields are
ignored, so that an older coordinator understands a newer runner's lines; a missing or wrong one is
a ProtocolError, and so are two fields that do not fit each other.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import NamedTuple

from sshrender.runner import wire
from sshrender.transports.messagefields import (
    MAX_BYTES,
    MAX_SECONDS,
    MAX_TEXT,
    MAX_TEXTS,
    MAX_THREADS,
    MAX_WORD,
    Fields,
    ProtocolError,
    attempt,
    capped,
    count,
    counts,
    digest,
    number,
    points,
    text,
    texts,
    word,
)
from sshrender.utf8 import writable

__all__ = ["MAX_LINE", "MAX_TEXT", "MAX_TEXTS", "Message", "ProtocolError", "decode"]

MAX_LINE = 1 << 20
"""Bytes in one line. A page's report is bounded by renderers/diagnostics.py to a few tens of KiB."""

MAX_GROUPS = 100
"""Folders of fonts (runner/fingerprint.py)."""

MAX_THUMBNAIL = 128 * 1024
"""Bytes; a runner sends less (runner/thumbnailbudget.py)."""

MAX_CORES = 1024
MAX_PAGES = 10_000_000

MAX_RECIPES = 40
"""A job has a few (config/recipes.py), and a host can lack no other."""

_KINDS = frozenset(
    (
        wire.TIMEOUT,
        wire.MEMORY,
        wire.CRASHED,
        wire.NO_OUTPUT,
        wire.STORAGE,
        wire.KILLED,
        wire.CROWDED,
    )
)
"""The kinds of failure that a host may report."""


class SanView(NamedTuple):
    """How the host sees the job's folder."""

    seen: bool
    writable: bool
    reason: str


class Fonts(NamedTuple):
    """A host's fonts: a digest of them all, and how many are in which folder."""

    digest: str
    groups: tuple[tuple[str, int], ...]


class Hello(NamedTuple):
    """The greeting: what the host is. Memory in bytes; ``others`` and ``ours`` in threads.

    ``slots``: how many renderers it has cores and memory for. ``folder``: where it works, if it has
    no SAN. ``canary``: a digest of how it draws the canary page.
    ``missing_recipes``: those whose programs it lacks, and ``missing`` the first such program of each.

    ``clock``: its seconds since 1970. ``no_sandbox``: why the sandbox that was asked for does not
    work there.
    """

    hostname: str
    cores: int
    memory: int
    free_memory: int
    python: str
    ghostscript: str | None
    boot_id: str
    temporary_free: int
    san: SanView | None
    no_sandbox: str
    others: float
    ours: float
    clock: float | None
    slots: int = 1
    folder: str = ""
    canary: str = ""
    fonts: Fonts | None = None
    missing: tuple[str, ...] = ()
    missing_recipes: tuple[int, ...] = ()


class Beat(NamedTuple):
    """A heartbeat: the load that is others' and ours, in threads.

    ``seats``: slots that other jobs leave us; None: it does not say.
    """

    others: float
    ours: float
    free_memory: int
    seats: int | None = None


class Started(NamedTuple):
    """A slot began to draw this attempt."""

    attempt: str


class Rendered(NamedTuple):
    """A page's file is safe in ``work/``: its size, digest, page size in points, and what was said.

    ``has_stand_ins``: fonts were looked for outside of the document.
    """

    attempt: str
    bytes: int
    sha256: str
    page_size: tuple[float, float] | None
    seconds: float
    cpu: float
    said: tuple[str, ...]
    has_stand_ins: bool = False


class Failed(NamedTuple):
    """An attempt came to nothing; ``kind`` is one of runner/wire.py's."""

    attempt: str
    kind: str
    reason: str
    seconds: float
    said: tuple[str, ...]


class Revoked(NamedTuple):
    """An attempt that no slot had begun was handed back."""

    attempt: str


class Kept(NamedTuple):
    """An attempt that was revoked or killed too late: a slot has it, and will report it."""

    attempt: str


class Suspected(NamedTuple):
    """Ghostscript complained about a page that was reported before."""

    attempt: str
    page: int
    said: tuple[str, ...]


class ThumbnailRendered(NamedTuple):
    """A thumbnail of a page that was reported before: a JPEG file, if the host is to be believed."""

    page: int
    data: bytes


class Noted(NamedTuple):
    """Ghostscript complains about the document when it merely opens it."""

    said: tuple[str, ...]


class Inspected(NamedTuple):
    """How many pages Ghostscript finds in the document."""

    pages: int
    said: tuple[str, ...]


class Trouble(NamedTuple):
    """The runner met something that it does not understand."""

    reason: str


class Bye(NamedTuple):
    """Everything asked for was reported; the runner only waits for its input to end."""


Message = (
    Hello
    | Beat
    | Started
    | Rendered
    | Failed
    | Revoked
    | Kept
    | Suspected
    | ThumbnailRendered
    | Noted
    | Inspected
    | Trouble
    | Bye
)


def decode(line: bytes) -> Message:
    """One line without its marker. Raises ProtocolError."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ProtocolError("not a JSON object")
    decoder = _DECODERS.get(word(fields, "type"))
    if decoder is None:
        raise ProtocolError(f"unknown message {word(fields, 'type')!a:.60}")
    return decoder(fields)


def _hello(fields: Fields) -> Hello:
    ghostscript = fields.get("ghostscript")
    missing, recipes = _missing(fields)
    return Hello(
        hostname=word(fields, "hostname", ""),
        cores=capped(fields, "cores", MAX_CORES, 1),
        memory=count(fields, "memory", MAX_BYTES, 0),
        free_memory=count(fields, "free_memory", MAX_BYTES, 0),
        python=word(fields, "python"),
        ghostscript=None if ghostscript is None else word(fields, "ghostscript"),
        boot_id=word(fields, "boot_id", ""),
        temporary_free=count(fields, "temporary_free", MAX_BYTES, 0),
        san=_san(fields),
        no_sandbox=text(fields, "no_sandbox", ""),
        others=number(fields, "others", MAX_THREADS, 0.0),
        ours=number(fields, "ours", MAX_THREADS, 0.0),
        clock=None if fields.get("clock") is None else number(fields, "clock", 1e12),
        folder=text(fields, "folder", ""),
        canary=digest(fields, "canary", may_be_empty=True),
        missing=missing,
        missing_recipes=recipes,
        fonts=_fonts(fields),
        slots=max(1, capped(fields, "slots", MAX_CORES, 1)),
    )


def _missing(fields: Fields) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """For each recipe that cannot be carried out, the first program that it lacks."""
    programs = texts(fields, "missing", MAX_WORD)
    recipes = counts(fields, "missing_recipes", MAX_RECIPES - 1)
    if len(programs) != len(recipes):
        raise ProtocolError("missing and missing_recipes are not of one length")
    return programs, recipes


def _fonts(fields: Fields) -> Fonts | None:
    fonts = fields.get("fonts")
    if fonts is None:
        return None
    groups = fonts.get("groups", {}) if isinstance(fonts, dict) else None
    if not isinstance(groups, dict):
        raise ProtocolError("fonts are not a digest and groups")
    counted = {writable(name[:MAX_WORD]): capped(groups, name, MAX_PAGES) for name in groups}
    return Fonts(digest(fonts, "digest"), tuple(counted.items())[:MAX_GROUPS])


def _san(fields: Fields) -> SanView | None:
    san = fields.get("san")
    if san is None:
        return None
    if not isinstance(san, dict):
        raise ProtocolError("san is not an object")
    return SanView(
        seen=san.get("seen") is True,
        writable=san.get("writable") is True,
        reason=text(san, "reason", ""),
    )


def _beat(fields: Fields) -> Beat:
    return Beat(
        others=number(fields, "others", MAX_THREADS),
        ours=number(fields, "ours", MAX_THREADS),
        free_memory=count(fields, "free_memory", MAX_BYTES, 0),
        seats=None if fields.get("seats") is None else capped(fields, "seats", MAX_CORES),
    )


def _rendered(fields: Fields) -> Rendered:
    return Rendered(
        attempt=attempt(fields),
        bytes=count(fields, "bytes", MAX_BYTES),
        sha256=digest(fields, "sha256"),
        page_size=points(fields, "page_size"),
        seconds=number(fields, "seconds", MAX_SECONDS),
        cpu=number(fields, "cpu", MAX_SECONDS),
        said=texts(fields, "said"),
        has_stand_ins=fields.get("stand_ins") is True,
    )


def _failed(fields: Fields) -> Failed:
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ProtocolError("kind is not one of a failure")
    return Failed(
        attempt=attempt(fields),
        kind=kind,
        reason=text(fields, "reason"),
        seconds=number(fields, "seconds", MAX_SECONDS, 0.0),
        said=texts(fields, "said"),
    )


def _suspected(fields: Fields) -> Suspected:
    said = texts(fields, "said")
    if not said:
        raise ProtocolError("a page is suspected of nothing")
    return Suspected(attempt(fields), count(fields, "page", MAX_PAGES), said)


def _pictured(fields: Fields) -> ThumbnailRendered:
    data = fields.get("data")
    if not isinstance(data, str) or len(data) > 2 * MAX_THUMBNAIL:
        raise ProtocolError("data is no thumbnail")
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("data is not base64") from None
    return ThumbnailRendered(count(fields, "page", MAX_PAGES), decoded)


_DECODERS: dict[str, Callable[[Fields], Message]] = {
    "hello": _hello,
    "beat": _beat,
    "started": lambda f: Started(attempt(f)),
    "rendered": _rendered,
    "failed": _failed,
    "revoked": lambda f: Revoked(attempt(f)),
    "kept": lambda f: Kept(attempt(f)),
    "suspected": _suspected,
    "pictured": _pictured,
    "noted": lambda f: Noted(texts(f, "said")),
    "inspected": lambda f: Inspected(capped(f, "pages", MAX_PAGES), texts(f, "said")),
    "trouble": lambda f: Trouble(text(f, "reason")),
    "bye": lambda _f: Bye(),
}
