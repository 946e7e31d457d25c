"""Each page's size in points, as the document says: what a picture's dimensions are proved against.

Read page by page from the tree, in a thread of its own while the first pages render. A page of
which nothing sound is said has no size here, and is then held to what Ghostscript says of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sshrender.document.complaints import Complaints

if TYPE_CHECKING:
    from pypdf import PdfReader

Box = tuple[float, float]
_INHERITED = ("/MediaBox", "/Rotate")
MAX_DEPTH = 64


class Boxes:
    """The sizes that are known so far, by page number."""

    def __init__(self, reader: PdfReader | None, heard: Complaints | None = None) -> None:
        self._reader = reader
        self._heard = heard
        self._known: dict[int, Box | None] = {}
        self._lock = threading.Lock()
        self._walk = self._pages()

    def get(self, page: int) -> Box | None:
        """The page's (width, height); None when the document does not say. Any thread."""
        with self._lock:
            while page not in self._known:
                box = next(self._walk, None)
                if box is None:
                    return None
                self._known[len(self._known) + 1] = box[0]
            return self._known[page]

    def read_ahead(self) -> None:
        """Read them all, in a thread: the time until the first host answers is free."""
        threading.Thread(target=self._read_all, daemon=True, name="boxes").start()

    def _read_all(self) -> None:
        page = 1
        while self.get(page) is not None or page in self._known:
            page += 1

    def are_sound(self) -> bool:
        """Whether pypdf read all this without a complaint: Ghostscript must then agree with it."""
        return self._heard is not None and self._heard.count == 0

    def _pages(self) -> Iterator[tuple[Box | None]]:
        if self._reader is None:
            return
        try:
            root: Any = self._reader.trailer["/Root"]["/Pages"]  # type: ignore[index]
            yield from _walk(root, {}, ())
        except Exception:  # noqa: BLE001 - pypdf raises anything at all on a broken tree
            return


def _walk(node: Any, inherited: dict[str, Any], above: tuple[int, ...]) -> Iterator[tuple[Box | None]]:
    """Leaves in order. A loop, or a tree deeper than any real one, ends that branch."""
    values = {**inherited, **{key: node[key] for key in _INHERITED if key in node}}
    if "/Kids" not in node:
        yield (_box(values, node.get("/UserUnit", 1)),)
        return
    for kid in node["/Kids"]:
        number = getattr(kid, "idnum", 0)
        if number not in above and len(above) < MAX_DEPTH:
            yield from _walk(kid.get_object(), values, (*above, number))


def _box(values: dict[str, Any], unit: Any) -> Box | None:
    try:
        x0, y0, x1, y1 = (float(number) for number in values["/MediaBox"])
        rotate = float(values.get("/Rotate", 0))
        scale = float(unit)
    except (KeyError, TypeError, ValueError):
        return None
    width, height = abs(x1 - x0) * scale, abs(y1 - y0) * scale
    if width <= 0 or height <= 0 or rotate % 90 or scale <= 0:
        return None
    return (height, width) if rotate % 180 else (width, height)
