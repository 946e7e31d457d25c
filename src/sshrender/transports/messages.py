"""The messages that a runner sends, as types, and the checks that make one of a line.

A host may be broken or hostile, so every field is checked for type, range and length here, and nothing
else of the program reads a line. Each class is one ``type`` on the wire (``runner/wire.py`` lists them).
Unknown fields are ignored; a missing or wrong field raises ProtocolError, and so do two fields that
contradict each other.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import NamedTuple

from sshrender.runner import wire
from sshrender.transports.interface import Refusal
from sshrender.transports.messagefields import (
    MAX_BYTES,
    MAX_SECONDS,
    MAX_TEXT,
    MAX_TEXTS,
    MAX_THREADS,
    MAX_WORD,
    Fields,
    NotJson,
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

__all__ = ["MAX_LINE", "MAX_TEXT", "MAX_TEXTS", "Message", "NotJson", "ProtocolError", "decode"]

MAX_LINE = 1 << 20
"""Bytes in one line. A page's report is bounded by renderers/diagnostics.py to a few tens of KiB."""

MAX_GROUPS = 100
"""Folders of fonts in one message; runner/host/fingerprint.py sends no more."""

MAX_THUMBNAIL = 128 * 1024
"""Bytes of one thumbnail; a runner sends less (runner/rendering/thumbnailbudget.py)."""

MAX_CORES = 1024
"""Cores and slots that one host is credited with; larger numbers are cut to this."""

MAX_PAGES = 10_000_000
"""Page numbers and page counts; the largest documents of the tests have some ten thousand pages."""

MAX_RECIPES = 40
"""Recipes in one message: a job has a few (config/recipes.py), and a host can lack no others."""

NEEDS_ADMINISTRATOR = (Refusal.LIMITS, Refusal.SYSTEM)
"""The causes of trouble that another connection would meet again."""

_TROUBLES = {each.value: each for each in (*NEEDS_ADMINISTRATOR, Refusal.SAN)}

_KINDS = frozenset(
    (
        wire.TIMEOUT,
        wire.MEMORY,
        wire.CRASHED,
        wire.NO_OUTPUT,
        wire.STORAGE,
        wire.KILLED,
        wire.LOW_MEMORY,
    )
)
"""The kinds of failure that a host may report; other kinds are determined by the coordinator."""


# The name that the runner gives to the file (runner/host/jobfolder.py). No separator, so it cannot leave
# ``work/``.
_LEFT = re.compile(r"\.probe\.[0-9a-z.-]{1,100}")


class SanView(NamedTuple):
    """Whether the host sees the job's folder and can write to it; ``reason``: why not.

    ``left``: the name of a file in ``work/`` that it left to be read; empty for none.
    """

    seen: bool
    writable: bool
    reason: str
    left: str = ""


class Fonts(NamedTuple):
    """The fonts of a host: a digest of them all, and pairs of a folder's name and the number in it."""

    digest: str
    groups: tuple[tuple[str, int], ...]


class Hello(NamedTuple):
    """The answer to the handshake: the properties of the host. Memory is in bytes.

    ``others`` and ``ours``: the load of other people's and of sshrender's processes, in threads.
    ``slots``: how many renderers it has cores and memory for. ``folder``: its local workspace, if it has
    no shared folder. ``canary``: SHA-256 of its rendering of the canary page. ``mutool``,
    ``mutool_canary``: version and canary page of MuPDF, if a recipe keeps it warm. ``missing_recipes``:
    the numbers of the recipes that it cannot run, ``missing``: for each of them the first program that
    is not installed.

    ``no_ghostscript``: why a Ghostscript that is there cannot be used; empty if there is none.
    ``clock``: its seconds since 1970. ``no_sandbox``: why the sandbox that the job asks for does not
    work there. ``encoder``: what compresses PNG files there, isal or zlib.
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
    mutool: str = ""
    mutool_canary: str = ""
    fonts: Fonts | None = None
    missing: tuple[str, ...] = ()
    missing_recipes: tuple[int, ...] = ()
    encoder: str = ""
    no_ghostscript: str = ""


class Heartbeat(NamedTuple):
    """The state of the host, sent about once a second: load in threads, free memory in bytes.

    ``available_slots``: the slots that other jobs leave to this one; None: not known.
    """

    others: float
    ours: float
    free_memory: int
    available_slots: int | None = None


class Started(NamedTuple):
    """A slot began to render this attempt."""

    attempt: str


class Rendered(NamedTuple):
    """The file of a page is complete and synced in ``work/``.

    ``page_size`` is in points; ``diagnostics`` are the renderer's warnings and errors about the page.
    ``has_substituted_fonts``: a font that the document does not contain was replaced by another.
    """

    attempt: str
    bytes: int
    sha256: str
    page_size: tuple[float, float] | None
    seconds: float
    cpu: float
    diagnostics: tuple[str, ...]
    has_substituted_fonts: bool = False


class Failed(NamedTuple):
    """An attempt failed; ``kind`` is one of _KINDS."""

    attempt: str
    kind: str
    reason: str
    seconds: float
    diagnostics: tuple[str, ...]


class Revoked(NamedTuple):
    """The runner gave an attempt back that no slot had begun."""

    attempt: str


class Kept(NamedTuple):
    """A request to revoke an attempt came too late: a slot works on it and will report it."""

    attempt: str


class Suspected(NamedTuple):
    """Ghostscript reported a problem with a page whose file was reported before."""

    attempt: str
    page: int
    diagnostics: tuple[str, ...]


class Reopening(NamedTuple):
    """A slot opens the document again after a page, to learn what Ghostscript reports of it.

    ``seconds``: how long opening it took before. ``is_over``: it has done so.
    """

    attempt: str
    page: int
    seconds: float
    is_over: bool


class ThumbnailRendered(NamedTuple):
    """The thumbnail of a page, expected to be a JPEG file; its content has not been checked yet."""

    page: int
    data: bytes


class Noted(NamedTuple):
    """Ghostscript reports problems of the document when it only opens it; no page is to blame."""

    diagnostics: tuple[str, ...]


class Inspected(NamedTuple):
    """The number of pages that Ghostscript finds in the document; 0: it cannot tell."""

    pages: int
    diagnostics: tuple[str, ...]


class Trouble(NamedTuple):
    """The runner met an error that concerns the host as a whole, or a request that it cannot read.

    ``refusal``: the kind, if only an administrator of the host can change it, or if the shared folder is
    the cause.
    """

    reason: str
    refusal: Refusal | None = None


class Bye(NamedTuple):
    """All requested work was reported; the runner only waits for the end of its input."""


Message = (
    Hello
    | Heartbeat
    | Started
    | Rendered
    | Failed
    | Revoked
    | Kept
    | Suspected
    | Reopening
    | ThumbnailRendered
    | Noted
    | Inspected
    | Trouble
    | Bye
)


def decode(line: bytes) -> Message:
    """Return the message in one line without its marker. Raises ProtocolError."""
    try:
        # RecursionError: a line of a hundred thousand brackets is valid JSON.
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ProtocolError("not a JSON object")
    decoder = _DECODERS.get(word(fields, "type"))
    # Each decoder raises for a field that it does not accept, so no half-checked message exists.
    if decoder is None:
        # ``!a`` escapes control characters, which a terminal would obey.
        raise ProtocolError(f"unknown message {word(fields, 'type')!a:.60}")
    return decoder(fields)


def _hello(fields: Fields) -> Hello:
    ghostscript = fields.get("ghostscript")
    missing, recipes = _missing(fields)
    return Hello(
        # The loader of an old Python sends only ``python`` (transports/payload.py), so that all other
        # fields have defaults.
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
        # The clock is compared with ours. 1e12 s is later than any clock, and keeps the arithmetic
        # finite.
        clock=None if fields.get("clock") is None else number(fields, "clock", 1e12),
        folder=text(fields, "folder", ""),
        canary=digest(fields, "canary", may_be_empty=True),
        mutool=word(fields, "mutool", ""),
        mutool_canary=digest(fields, "mutool_canary", may_be_empty=True),
        missing=missing,
        missing_recipes=recipes,
        fonts=_fonts(fields),
        # At least one: a host with 0 slots would be in use and never get a page.
        slots=max(1, capped(fields, "slots", MAX_CORES, 1)),
        encoder=word(fields, "encoder", ""),
        no_ghostscript=text(fields, "no_ghostscript", ""),
    )


def _missing(fields: Fields) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the first missing program of each recipe that cannot run, and the recipes' numbers."""
    programs = texts(fields, "missing", MAX_WORD)
    recipes = counts(fields, "missing_recipes", MAX_RECIPES - 1)
    if len(programs) != len(recipes):
        raise ProtocolError("missing and missing_recipes differ in length")
    return programs, recipes


def _fonts(fields: Fields) -> Fonts | None:
    fonts = fields.get("fonts")
    if fonts is None:
        return None
    groups = fonts.get("groups", {}) if isinstance(fonts, dict) else None
    if not isinstance(groups, dict):
        raise ProtocolError("fonts is not an object with a digest and groups")
    # The names are from fontconfig or from folders of the host, and are cut like any text of a host.
    counted = {writable(name[:MAX_WORD]): capped(groups, name, MAX_PAGES) for name in groups}
    return Fonts(digest(fonts, "digest"), tuple(counted.items())[:MAX_GROUPS])


def _san(fields: Fields) -> SanView | None:
    san = fields.get("san")
    if san is None:
        return None
    if not isinstance(san, dict):
        raise ProtocolError("san is not an object")
    return SanView(
        # ``is True``: a string such as "false" is truthy.
        seen=san.get("seen") is True,
        writable=san.get("writable") is True,
        reason=text(san, "reason", ""),
        left=_file_name(text(san, "left", "")),
    )


def _file_name(value: str) -> str:
    if value and not _LEFT.fullmatch(value):
        raise ProtocolError("san.left is not the name of a file")
    return value


def _heartbeat(fields: Fields) -> Heartbeat:
    # None means that the runner cannot tell, which is not the same as 0 slots.
    is_known = fields.get("available_slots") is not None
    slots = capped(fields, "available_slots", MAX_CORES) if is_known else None
    return Heartbeat(
        others=number(fields, "others", MAX_THREADS),
        ours=number(fields, "ours", MAX_THREADS),
        free_memory=count(fields, "free_memory", MAX_BYTES, 0),
        available_slots=slots,
    )


def _rendered(fields: Fields) -> Rendered:
    return Rendered(
        attempt=attempt(fields),
        bytes=count(fields, "bytes", MAX_BYTES),
        sha256=digest(fields, "sha256"),
        page_size=points(fields, "page_size"),
        seconds=number(fields, "seconds", MAX_SECONDS),
        cpu=number(fields, "cpu", MAX_SECONDS),
        diagnostics=texts(fields, "diagnostics"),
        has_substituted_fonts=fields.get("substituted_fonts") is True,
    )


def _failed(fields: Fields) -> Failed:
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ProtocolError("kind is not a kind of failure")
    return Failed(
        attempt=attempt(fields),
        kind=kind,
        reason=text(fields, "reason"),
        seconds=number(fields, "seconds", MAX_SECONDS, 0.0),
        diagnostics=texts(fields, "diagnostics"),
    )


def _suspected(fields: Fields) -> Suspected:
    diagnostics = texts(fields, "diagnostics")
    if not diagnostics:
        raise ProtocolError("a page is suspected without a reason")
    return Suspected(attempt(fields), count(fields, "page", MAX_PAGES), diagnostics)


def _thumbnail(fields: Fields) -> ThumbnailRendered:
    data = fields.get("data")
    # base64 needs four characters for three bytes, so twice the limit leaves room.
    if not isinstance(data, str) or len(data) > 2 * MAX_THUMBNAIL:
        raise ProtocolError("data is not a thumbnail's text, or too long")
    try:
        # validate=True: without it base64 skips characters that are none of its own.
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("data is not base64") from None
    return ThumbnailRendered(count(fields, "page", MAX_PAGES), decoded)


_DECODERS: dict[str, Callable[[Fields], Message]] = {
    "hello": _hello,
    "heartbeat": _heartbeat,
    "started": lambda f: Started(attempt(f)),
    "rendered": _rendered,
    "failed": _failed,
    "revoked": lambda f: Revoked(attempt(f)),
    "kept": lambda f: Kept(attempt(f)),
    "suspected": _suspected,
    "reopening": lambda f: Reopening(
        attempt(f),
        count(f, "page", MAX_PAGES),
        number(f, "seconds", MAX_SECONDS),
        f.get("is_over") is True,
    ),
    "thumbnail": _thumbnail,
    "noted": lambda f: Noted(texts(f, "diagnostics")),
    "inspected": lambda f: Inspected(capped(f, "pages", MAX_PAGES), texts(f, "diagnostics")),
    "trouble": lambda f: Trouble(text(f, "reason"), _TROUBLES.get(str(f.get("refusal")))),
    "bye": lambda _f: Bye(),
}
