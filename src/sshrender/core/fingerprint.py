"""Compares host fingerprints and picks the most common one as the reference. Pure.

The reference of a job stays for its later runs (compatibility.py decides when it changes). Different
fonts matter only to a document that does not embed its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class HostFingerprint(NamedTuple):
    """The properties that decide a host's page images. An empty field is unknown, and equals any other.

    ``ghostscript``: its version; of MuPDF ``mutool 1.21.1``, of both ``10.00.0 and mutool 1.21.1``.
    ``canary`` and ``fonts`` are digests; ``groups``: how many fonts are in which folder.
    """

    ghostscript: str = ""
    canary: str = ""
    fonts: str = ""
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def page_image(self) -> tuple[str, str]:
        """Return what has to be equal for every document."""
        return self.ghostscript, self.canary


def combined(ghostscript: HostFingerprint | None, mutool: HostFingerprint | None) -> HostFingerprint:
    """Return the fingerprint of a host whose pages these programs render; None: it is not used.

    Fonts of the host concern only Ghostscript: MuPDF brings its own. The canary is unknown if one of
    them is.
    """
    used = [each for each in (ghostscript, mutool) if each is not None]
    if not used:
        return HostFingerprint()
    canaries = [each.canary for each in used]
    canary = canaries[0]
    if len(used) > 1:
        canary = hashlib.sha256(" ".join(canaries).encode()).hexdigest() if all(canaries) else ""
    versions = " and ".join(each.ghostscript for each in used if each.ghostscript)
    fonts = ghostscript.fonts if ghostscript is not None else ""
    groups = ghostscript.groups if ghostscript is not None else ()
    return HostFingerprint(versions, canary, fonts, groups)


def in_words(version: str) -> str:
    """Return ``10.00.0`` as ``Ghostscript 10.00.0``; another program's version names it already."""
    return version if version[:1].isalpha() else f"Ghostscript {version}"


def is_same_render(one: HostFingerprint | None, other: HostFingerprint) -> bool:
    """Return whether both are known to render the same canary page with the same Ghostscript."""
    return one is not None and bool(one.canary) and one.page_image == other.page_image


def find_majority(
    votes: Collection[HostFingerprint],
    outstanding: int,
    own: HostFingerprint | None,
    do_fonts_matter: bool,
) -> HostFingerprint | None:
    """Return the fingerprint of a majority that no outstanding host can change; None without one.

    ``own``: what this machine renders itself, which decides a tie.
    """
    found: tuple[int, HostFingerprint] | None = None
    # dict.fromkeys removes repetitions and keeps the order of the votes, which decides between equals.
    for fingerprint in dict.fromkeys(filter(_eligible(votes), votes)):
        agreed = sum(not difference(vote, fingerprint, do_fonts_matter) for vote in votes)
        # Votes are doubled, so that what this machine renders decides a tie and nothing else.
        weight = 2 * agreed + is_same_render(own, fingerprint)
        # Among equals, one with a canary page is preferred: one without it differs from nothing, and
        # collects the votes of all.
        if found is None or weight > found[0] or (weight == found[0] and not found[1].canary):
            found = weight, fingerprint
    # Both sides are doubled, as ``weight`` is: agreed > (votes + outstanding) / 2.
    has_most = found is not None and found[0] > len(votes) + outstanding
    return found[1] if found is not None and has_most else None


def _eligible(fingerprints: Collection[HostFingerprint]) -> Callable[[HostFingerprint], bool]:
    """Return a predicate for fingerprints that may be the reference.

    One without a canary page differs from nothing, and would turn the comparison off. It is eligible
    only if no host with a canary page has the same Ghostscript.
    """
    known = [fingerprint for fingerprint in fingerprints if fingerprint.canary]
    return lambda fingerprint: (
        bool(fingerprint.canary)
        or all(_differ(fingerprint.ghostscript, each.ghostscript) for each in known)
    )


def is_tied(fingerprints: Collection[HostFingerprint]) -> bool:
    """Return whether the two most common page images have equally many hosts."""
    counts = [
        count
        for _, count in Counter(fingerprint.page_image for fingerprint in fingerprints).most_common(2)
    ]
    return len(counts) == 2 and counts[0] == counts[1]


def most_common_fingerprint(
    fingerprints: Mapping[str, HostFingerprint], own: HostFingerprint | None = None
) -> HostFingerprint:
    """Return the most common fingerprint: by page image, then by fonts. ``fingerprints`` is not empty.

    A tie is decided by what this machine renders (``own``), else by order.
    """
    eligible = filter(_eligible(fingerprints.values()), fingerprints.values())
    # Counter keeps the order of insertion among equals, and sorted() is stable: what this machine
    # renders comes first.
    first = sorted(eligible, key=lambda fingerprint: not is_same_render(own, fingerprint))
    page_image = _most_common(first, lambda fingerprint: fingerprint.page_image)
    alike = [
        fingerprint for fingerprint in fingerprints.values() if fingerprint.page_image == page_image
    ]
    fonts = _most_common(alike, lambda fingerprint: fingerprint.fonts)
    return next(fingerprint for fingerprint in alike if fingerprint.fonts == fonts)


def _most_common(fingerprints: Iterable[HostFingerprint], key: Callable[[HostFingerprint], T]) -> T:
    return Counter(map(key, fingerprints)).most_common(1)[0][0]


def difference(fingerprint: HostFingerprint, reference: HostFingerprint, do_fonts_matter: bool) -> str:
    """Return why this host's page images may differ from the reference; empty if they do not."""
    if _differ(fingerprint.ghostscript, reference.ghostscript):
        return (
            f"it has {in_words(fingerprint.ghostscript)}, the other hosts have {reference.ghostscript}"
        )
    if _differ(fingerprint.canary, reference.canary):
        # The canary page uses fonts, too: other fonts explain it better than another build does.
        fonts = _other_fonts(fingerprint, reference)
        return "it renders the test page differently from the other hosts: " + (
            fonts or f"its {_program(fingerprint.ghostscript)} is another build"
        )
    if do_fonts_matter and _differ(fingerprint.fonts, reference.fonts):
        return _other_fonts(fingerprint, reference)
    return ""


def has_other_fonts(fingerprint: HostFingerprint, reference: HostFingerprint) -> bool:
    """Return whether nothing but the fonts differs."""
    return not difference(fingerprint, reference, do_fonts_matter=False) and _differ(
        fingerprint.fonts, reference.fonts
    )


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _program(version: str) -> str:
    return in_words(version).split()[0] if " and " not in version else "Ghostscript or mutool"


def _other_fonts(fingerprint: HostFingerprint, reference: HostFingerprint) -> str:
    """Return the difference of fonts by folder, in words; empty if there is none."""
    if not _differ(fingerprint.fonts, reference.fonts):
        return ""
    own, others = dict(fingerprint.groups), dict(reference.groups)
    missing = [f"{others[name] - own.get(name, 0)} of {name}" for name in _fewer(own, others)]
    more = [f"{own[name] - others.get(name, 0)} of {name}" for name in _fewer(others, own)]
    words = [f"it lacks {', '.join(missing)}"] if missing else []
    words += [f"it also has {', '.join(more)}"] if more else []
    return "its fonts differ from those of the other hosts" + (f" ({'; '.join(words)})" if words else "")


def _fewer(some: Mapping[str, int], many: Mapping[str, int]) -> list[str]:
    """Return at most four folders in which ``some`` has fewer fonts, the greatest lack first."""
    lacks = {name: count - some.get(name, 0) for name, count in many.items()}
    return sorted((name for name, lack in lacks.items() if lack > 0), key=lambda name: -lacks[name])[:4]
