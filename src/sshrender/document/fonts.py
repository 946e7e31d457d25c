"""Find fonts that a page uses and the document does not contain: each is substituted by another font.

A font is embedded when its descriptor, or its descendant's, holds a font file; Type 3 fonts are
procedures of the document, and always there (ISO 32000-1, 9.9 and 9.6.5).
"""

from __future__ import annotations

from typing import Any

_Id = tuple[int, int]
"""The number and generation of an object; (0, 0) of one that is written where it is used."""

_NOT_INDIRECT = (0, 0)
_PROGRAMS = ("/FontFile", "/FontFile2", "/FontFile3")
_DEEPEST = 8
"""Forms can contain forms: deeper ones than this are not searched."""

MAX_A_PAGE, MAX_NAME = 50, 127
"""Names of one page that are kept, and their characters (ISO 32000-1, annex C: a name has 127 bytes)."""

MAX_SEARCHES = 2_000_000
"""Members of resources that are searched in one document. Each object is searched once, but one that is
no object of its own (written where it is used) can occur in many places."""


class MissingFonts:
    """Searches pages. Remembers what it has seen by object number: pages share their fonts.

    ``has_form``: whether fields are searched, too. Other annotations are not: reading a manual's links
    takes longer than everything else here (261 pages: 0.45 s instead of 0.06 s).
    """

    def __init__(self, has_form: bool) -> None:
        self._has_form = has_form
        self._fonts: dict[_Id, str] = {}
        self._resources: dict[_Id, frozenset[str]] = {}
        self._forms: dict[_Id, frozenset[str]] = {}
        self._searches_left = MAX_SEARCHES

    def of(self, page: Any, resources: Any) -> list[str]:
        """Return the names of a page's fonts that are not embedded, sorted; none for a broken page."""
        found = self._in_resources(resources, 0)
        if self._has_form:
            found |= self._in_fields(page)
        return sorted(found)[:MAX_A_PAGE]

    def _in_resources(self, resources: Any, depth: int) -> frozenset[str]:
        if resources is None or depth > _DEEPEST:
            return frozenset()
        identity = _identity(resources)
        if identity in self._resources:
            return self._resources[identity]
        # Set before the search: recursion through the same object then finds this.
        if identity != _NOT_INDIRECT:
            self._resources[identity] = frozenset()  # resources that contain themselves end here
        try:
            found = self._search(resources, depth)
        except Exception:  # noqa: BLE001 - pikepdf raises anything on broken input; Ghostscript reports it
            found = frozenset()
        # Remembered even if a deeper search was cut at _DEEPEST: each object is searched once.
        if identity != _NOT_INDIRECT:
            self._resources[identity] = found
        return found

    def _search(self, resources: Any, depth: int) -> frozenset[str]:
        found = {self._name_if_missing(font) for font in self._members(resources, "/Font")}
        for kind in ("/XObject", "/Pattern"):
            for member in self._members(resources, kind):
                found |= self._in_form(member, depth + 1)
        return frozenset(found - {""})

    def _in_form(self, form: Any, depth: int) -> frozenset[str]:
        """Return the fonts of a form.

        It is remembered itself: its resources may be no object of their own.
        """
        identity = _identity(form)
        if identity in self._forms:
            return self._forms[identity]
        if identity != _NOT_INDIRECT:
            self._forms[identity] = frozenset()
        found = self._in_resources(form["/Resources"], depth) if "/Resources" in form else None
        if identity != _NOT_INDIRECT and found is not None:
            self._forms[identity] = found
        return found or frozenset()

    @property
    def is_exhausted(self) -> bool:
        """Whether the limit was reached, so that what is found from now on is not complete."""
        return self._searches_left < 0

    def _members(self, resources: Any, kind: str) -> list[Any]:
        table = resources.get(kind)
        found = [] if table is None else [table[key] for key in table.keys()]  # noqa: SIM118 - no dict
        # Counted before they are returned: a table of millions ends here.
        self._searches_left -= len(found)
        return [] if self.is_exhausted else found

    def _in_fields(self, page: Any) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        try:
            for annotation in page.get("/Annots", ()):
                appearance = annotation.get("/AP")
                normal = None if appearance is None else appearance.get("/N")
                if normal is not None and "/Resources" in normal:
                    found |= self._in_resources(normal["/Resources"], 1)
        except Exception:  # noqa: BLE001 - as above
            return found
        return found

    def _name_if_missing(self, font: Any) -> str:
        """Return the font's name; an empty text when it is embedded."""
        identity = _identity(font)
        # Objects without an identity share (0, 0): each is searched again.
        if identity not in self._fonts or identity == _NOT_INDIRECT:
            self._fonts[identity] = "" if _is_embedded(font) else _name(font)
        return self._fonts[identity]


def _identity(value: Any) -> _Id:
    """Return an object's identity. Python's own types, as of numbers, have none."""
    found: _Id = getattr(value, "objgen", _NOT_INDIRECT)
    return found


def _is_embedded(font: Any) -> bool:
    if font.get("/Subtype") == "/Type3":
        return True
    if font.get("/Subtype") == "/Type0":
        # One descendant, which has none (ISO 32000-1, table 121): a deeper tree could have any size.
        font = font["/DescendantFonts"][0]
    descriptor = font.get("/FontDescriptor")
    return descriptor is not None and any(key in descriptor for key in _PROGRAMS)


def _name(font: Any) -> str:
    """Return a font's name without the tag of a subset."""
    name = str(font.get("/BaseFont", "/unnamed")).lstrip("/")
    tag, plus, rest = name.partition("+")
    # A subset has six capital letters and a plus sign before its name (ISO 32000-1, 9.6.4).
    return (rest if plus and len(tag) == 6 and tag.isupper() else name)[:MAX_NAME]
