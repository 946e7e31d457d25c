"""What earlier runs of a job achieved: a fold of its journal, held against the pages that are there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class PageRecord:
    """One published page, as the manifest lists it. Seconds of rendering, dimensions in pixels."""

    page: int
    file: str
    bytes: int
    sha256: str
    width: int
    height: int
    host: str = ""
    ghostscript: str = ""
    seconds: float = 0.0
    attempts: int = 1
    said: tuple[str, ...] = ()
    renderer: str = "ghostscript"

    def as_fields(self) -> dict[str, Any]:
        """Its fields by name (dataclasses.asdict copies deeply, which a large job pays for)."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def is_suspect(self) -> bool:
        """Whether Ghostscript complained about it."""
        return bool(self.said)


@dataclass(slots=True)
class History:
    """``pages``: what was delivered, by page; ``notes``: what Ghostscript says of the document.

    ``fonts``: the page lists of those that it asks for and lacks; ``rule``: what hosts have to draw
    (ghostscript, canary and fonts, as core.likeness.Look has them), and ``hosts`` what each has.
    ``looks``: what the host of a page had when it rendered it. ``withdrawn``: pages whose file is not to
    be adopted, because their host was outvoted, and the digest of what was delivered, if it is known.
    """

    pages: dict[int, PageRecord] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fonts: dict[str, str] = field(default_factory=dict)
    rule: dict[str, str] | None = None
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    looks: dict[int, dict[str, str]] = field(default_factory=dict)
    withdrawn: dict[int, str] = field(default_factory=dict)

    def withdraw(self, page: int) -> None:
        """It is no page any more."""
        record = self.pages.pop(page, None)
        self.looks.pop(page, None)
        self.withdrawn[page] = record.sha256 if record is not None else self.withdrawn.get(page, "")


def fold(entries: Iterable[dict[str, Any]]) -> History:
    """Replay a journal. Entries of a wrong shape are passed over, as damaged lines are."""
    history = History()
    for entry in entries:
        take(history, entry)
    return history


def take(history: History, entry: dict[str, Any]) -> None:
    """One entry more."""
    with contextlib.suppress(KeyError, TypeError):
        _apply(history, entry)


def _apply(history: History, entry: dict[str, Any]) -> None:
    kind = entry["type"]
    if kind == "page_delivered":
        record = PageRecord(
            page=_of(int, entry["page"]),
            file=_of(str, entry["file"]),
            bytes=_of(int, entry["bytes"]),
            sha256=_of(str, entry["sha256"]),
            width=_of(int, entry["width"]),
            height=_of(int, entry["height"]),
            host=_of(str, entry["host"]),
            ghostscript=_of(str, entry["ghostscript"]),
            seconds=_seconds(entry["seconds"]),
            attempts=_of(int, entry["attempts"]),
            said=_texts(entry["said"]),
            renderer=_of(str, entry.get("renderer", "ghostscript")),
        )
        history.pages[record.page] = record
        history.withdrawn.pop(record.page, None)
        if record.host in history.hosts:
            history.looks[record.page] = history.hosts[record.host]
    elif kind == "page_withdrawn":
        number = _of(int, entry["page"])
        history.withdraw(number)
    elif kind == "page_suspected":
        history.pages[_of(int, entry["page"])].said += _texts(entry["said"])
    elif kind == "fonts_missing":
        history.fonts = _words(entry["fonts"])
    elif kind == "picture_ruled":
        history.rule = _words({key: entry[key] for key in ("ghostscript", "canary", "fonts")})
    elif kind == "host_greeted":
        look = {key: entry.get(key, "") for key in ("ghostscript", "canary", "fonts")}
        history.hosts[_of(str, entry["host"])] = _words(look)
    elif kind == "document_noted":
        history.notes = list(_texts(entry["said"]))


def _of(kind: type[T], value: Any) -> T:
    """The value, if it is of exactly this type: True is no page. Raises TypeError."""
    if type(value) is not kind:
        raise TypeError
    return value


def _words(value: Any) -> dict[str, str]:
    return {_of(str, key): _of(str, item) for key, item in _of(dict, value).items()}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_of(str, item) for item in _of(list, value))


def _seconds(value: Any) -> float:
    """Raises TypeError for what is no time at all, infinities included."""
    if type(value) not in (int, float) or not 0 <= value < 1e12:
        raise TypeError
    return float(value)


def sizes(folder: Path) -> dict[str, int]:
    """The files of a folder and their sizes, in one pass (never ask a shared folder name by name)."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.is_file(follow_symlinks=False)
        }


def keep_present(history: History, present: dict[str, int], file_of: Callable[[int], str]) -> None:
    """Forget pages whose file is gone, another page's, or of another size than when it was proved."""
    history.pages = {
        number: record
        for number, record in history.pages.items()
        if record.file == file_of(number) and present.get(record.file) == record.bytes
    }
