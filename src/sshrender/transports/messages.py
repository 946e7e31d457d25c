"""What a runner says, checked: a host is believed about nothing that has not the right shape.

Each class is one ``type`` on the wire (``runner/wire.py`` names them all). Unknown fields are
ignored, so that an older coordinator understands a newer runner's lines; a missing or wrong one is
a ProtocolError.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_LINE = 1 << 20
"""Bytes in one line. A page's report is bounded by renderers/said.py to a few tens of KiB."""

MAX_TEXT, MAX_TEXTS = 1000, 40
"""What is kept of what a host says in words: more than a runner says (renderers/said.py), not more
than the journal can take from a host that will not stop."""

MAX_GROUPS = 100
"""Folders of fonts (runner/likeness.py)."""

MAX_THUMBNAIL = 128 * 1024
"""Bytes; a runner sends less (runner/thumbnails.py)."""

MAX_CORES = 1024
MAX_PAGES = 10_000_000


class ProtocolError(Exception):
    """The host's runner said something that is not in the protocol."""


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


class Suspected(NamedTuple):
    """Ghostscript complained about a page that was reported before."""

    attempt: str
    page: int
    said: tuple[str, ...]


class Pictured(NamedTuple):
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
    | Suspected
    | Pictured
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
    decoder = _DECODERS.get(_text(fields, "type"))
    if decoder is None:
        raise ProtocolError(f"unknown message {_text(fields, 'type')!r:.60}")
    return decoder(fields)


Fields = dict[str, Any]


def _text(fields: Fields, name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is not a text")
    return value[:MAX_TEXT]


def _number(fields: Fields, name: str, default: float | None = None) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{name} is not a number")
    if not 0 <= value <= 1e18:  # false for NaN too
        raise ProtocolError(f"{name} is out of range")
    return float(value)


def _whole(fields: Fields, name: str, default: int | None = None) -> int:
    return int(_number(fields, name, default))


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ProtocolError(f"{name} is not a list of texts")
    return tuple(item[:MAX_TEXT] for item in value[:MAX_TEXTS])


def _numbers(fields: Fields, name: str) -> tuple[int, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise ProtocolError(f"{name} is not a list of numbers")
    return tuple(value[:MAX_TEXTS])


def _page_size(fields: Fields) -> tuple[float, float] | None:
    value = fields.get("page_size")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ProtocolError("page_size is not a pair")
    pair = {"width": value[0], "height": value[1]}
    return _number(pair, "width"), _number(pair, "height")


def _hello(fields: Fields) -> Hello:
    san = fields.get("san")
    ghostscript = fields.get("ghostscript")
    return Hello(
        hostname=_text(fields, "hostname", ""),
        cores=min(_whole(fields, "cores", 1), MAX_CORES),
        memory=_whole(fields, "memory", 0),
        free_memory=_whole(fields, "free_memory", 0),
        python=_text(fields, "python"),
        ghostscript=None if ghostscript is None else _text(fields, "ghostscript"),
        boot_id=_text(fields, "boot_id", ""),
        temporary_free=_whole(fields, "temporary_free", 0),
        san=_san(san) if isinstance(san, dict) else None,
        no_sandbox=_text(fields, "no_sandbox", ""),
        others=_number(fields, "others", 0.0),
        ours=_number(fields, "ours", 0.0),
        clock=None if fields.get("clock") is None else _number(fields, "clock"),
        folder=_text(fields, "folder", ""),
        canary=_text(fields, "canary", ""),
        missing=_texts(fields, "missing"),
        missing_recipes=_numbers(fields, "missing_recipes"),
        fonts=_fonts(fields["fonts"]) if isinstance(fields.get("fonts"), dict) else None,
        slots=min(max(1, _whole(fields, "slots", 1)), MAX_CORES),
    )


def _fonts(fields: Fields) -> Fonts:
    groups = fields.get("groups", {})
    if not isinstance(groups, dict):
        raise ProtocolError("groups is not an object")
    names = [str(name)[:MAX_TEXT] for name in groups][:MAX_GROUPS]
    return Fonts(_text(fields, "digest"), tuple((name, _whole(groups, name, 0)) for name in names))


def _san(fields: Fields) -> SanView:
    return SanView(
        seen=fields.get("seen") is True,
        writable=fields.get("writable") is True,
        reason=_text(fields, "reason", ""),
    )


def _beat(fields: Fields) -> Beat:
    return Beat(
        others=_number(fields, "others"),
        ours=_number(fields, "ours"),
        free_memory=_whole(fields, "free_memory", 0),
        seats=None if fields.get("seats") is None else min(_whole(fields, "seats"), MAX_CORES),
    )


def _rendered(fields: Fields) -> Rendered:
    return Rendered(
        attempt=_text(fields, "attempt"),
        bytes=_whole(fields, "bytes"),
        sha256=_text(fields, "sha256"),
        page_size=_page_size(fields),
        seconds=_number(fields, "seconds"),
        cpu=_number(fields, "cpu"),
        said=_texts(fields, "said"),
        has_stand_ins=fields.get("stand_ins") is True,
    )


def _failed(fields: Fields) -> Failed:
    return Failed(
        attempt=_text(fields, "attempt"),
        kind=_text(fields, "kind"),
        reason=_text(fields, "reason"),
        seconds=_number(fields, "seconds", 0.0),
        said=_texts(fields, "said"),
    )


def _shown_thumbnail(fields: Fields) -> Pictured:
    data = fields.get("data")
    if not isinstance(data, str) or len(data) > 2 * MAX_THUMBNAIL:
        raise ProtocolError("data is no thumbnail")
    try:
        return Pictured(_whole(fields, "page"), base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise ProtocolError("data is not base64") from None


_DECODERS: dict[str, Callable[[Fields], Message]] = {
    "hello": _hello,
    "beat": _beat,
    "started": lambda f: Started(_text(f, "attempt")),
    "rendered": _rendered,
    "failed": _failed,
    "revoked": lambda f: Revoked(_text(f, "attempt")),
    "suspected": lambda f: Suspected(_text(f, "attempt"), _whole(f, "page"), _texts(f, "said")),
    "pictured": _shown_thumbnail,
    "noted": lambda f: Noted(_texts(f, "said")),
    "inspected": lambda f: Inspected(min(_whole(f, "pages"), MAX_PAGES), _texts(f, "said")),
    "trouble": lambda f: Trouble(_text(f, "reason")),
    "bye": lambda f: Bye(),
}
