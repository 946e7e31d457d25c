"""Compare host fingerprints and pick the majority as the reference. Pure.

The fingerprint that most hosts share is the reference, also for later runs of the same job
(compatibility.py decides when). Different fonts matter only to a document that does not embed its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class HostFingerprint(NamedTuple):
    """What a host's pictures depend on. An empty field is not known, and differs from nothing.

    ``canary`` and ``fonts`` are digests; ``groups``: how many fonts are in which folder.
    """

    ghostscript: str = ""
    canary: str = ""
    fonts: str = ""
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def page_image(self) -> tuple[str, str]:
        """What has to be the same in any case."""
        return self.ghostscript, self.canary


def has_majority(fingerprints: Iterable[HostFingerprint], still_to_come: int) -> bool:
    """Whether one page_image and its fonts will be those of most hosts, whoever else comes."""
    counts = Counter((fingerprint.page_image, fingerprint.fonts) for fingerprint in fingerprints)
    return bool(counts) and 2 * max(counts.values()) > sum(counts.values()) + still_to_come


def is_same_render(one: HostFingerprint | None, other: HostFingerprint) -> bool:
    """Whether two canary pages by one version of Ghostscript are known to be the same."""
    return one is not None and bool(one.canary) and one.page_image == other.page_image


def find_majority(
    votes: Collection[HostFingerprint],
    still_to_come: int,
    own: HostFingerprint | None,
    do_fonts_matter: bool,
) -> HostFingerprint | None:
    """The fingerprint that most hosts have, whoever else comes; None where there is none.

    ``own``: what this machine renders itself, which tips the scales where they are even.
    """
    found: tuple[int, HostFingerprint] | None = None
    for fingerprint in dict.fromkeys(filter(_eligible(votes), votes)):
        agreed = sum(not difference(vote, fingerprint, do_fonts_matter) for vote in votes)
        weight = 2 * agreed + is_same_render(own, fingerprint)
        if found is None or weight > found[0] or (weight == found[0] and not found[1].canary):
            found = weight, fingerprint
    has_most = found is not None and found[0] > len(votes) + still_to_come
    return found[1] if found is not None and has_most else None


def _eligible(fingerprints: Collection[HostFingerprint]) -> Callable[[HostFingerprint], bool]:
    """Which may be the reference. One without a canary page differs from nothing, and would turn the
    comparison off; it is one only for want of hosts with a canary page that it would be compared with.
    """
    known = [fingerprint for fingerprint in fingerprints if fingerprint.canary]
    return lambda fingerprint: (
        bool(fingerprint.canary)
        or all(_differ(fingerprint.ghostscript, each.ghostscript) for each in known)
    )


def is_tied(fingerprints: Collection[HostFingerprint]) -> bool:
    """Whether no page image is that of more hosts than every other one."""
    counts = [
        count
        for _, count in Counter(fingerprint.page_image for fingerprint in fingerprints).most_common(2)
    ]
    return len(counts) == 2 and counts[0] == counts[1]


def most_common_fingerprint(
    fingerprints: Mapping[str, HostFingerprint], own: HostFingerprint | None = None
) -> HostFingerprint:
    """The fingerprint of most hosts: by page_image, then by fonts. ``fingerprints`` is not empty.

    Of equals the one that this machine renders too (``own``), else the first.
    """
    telling = filter(_eligible(fingerprints.values()), fingerprints.values())
    first = sorted(telling, key=lambda fingerprint: not is_same_render(own, fingerprint))
    page_image = _commonest(first, lambda fingerprint: fingerprint.page_image)
    alike = [
        fingerprint for fingerprint in fingerprints.values() if fingerprint.page_image == page_image
    ]
    fonts = _commonest(alike, lambda fingerprint: fingerprint.fonts)
    return next(fingerprint for fingerprint in alike if fingerprint.fonts == fonts)


def _commonest(fingerprints: Iterable[HostFingerprint], key: Callable[[HostFingerprint], T]) -> T:
    return Counter(map(key, fingerprints)).most_common(1)[0][0]


def difference(fingerprint: HostFingerprint, reference: HostFingerprint, do_fonts_matter: bool) -> str:
    """Why this host's pictures may be others than those that reference; empty when they are not."""
    if _differ(fingerprint.ghostscript, reference.ghostscript):
        return f"its Ghostscript is {fingerprint.ghostscript}, the others' {reference.ghostscript}"
    if _differ(fingerprint.canary, reference.canary):
        fonts = _other_fonts(fingerprint, reference)
        return "it draws another page_image than the others: " + (
            fonts or "its Ghostscript is another build"
        )
    if do_fonts_matter and _differ(fingerprint.fonts, reference.fonts):
        return _other_fonts(fingerprint, reference)
    return ""


def has_other_fonts(fingerprint: HostFingerprint, reference: HostFingerprint) -> bool:
    """Whether only its fonts differ."""
    return not difference(fingerprint, reference, do_fonts_matter=False) and _differ(
        fingerprint.fonts, reference.fonts
    )


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _other_fonts(fingerprint: HostFingerprint, reference: HostFingerprint) -> str:
    """In words, by folder; empty when the fonts are the same."""
    if not _differ(fingerprint.fonts, reference.fonts):
        return ""
    own, theirs = dict(fingerprint.groups), dict(reference.groups)
    missing = [f"{theirs[name] - own.get(name, 0)} of {name}" for name in _fewer(own, theirs)]
    more = [f"{own[name] - theirs.get(name, 0)} of {name}" for name in _fewer(theirs, own)]
    words = [f"it lacks {', '.join(missing)}"] if missing else []
    words += [f"it has besides {', '.join(more)}"] if more else []
    return "its fonts are not the others'" + (f" ({'; '.join(words)})" if words else "")


def _fewer(some: Mapping[str, int], many: Mapping[str, int]) -> list[str]:
    """The folders of which the first has fewer, the greatest lack first; not more than a line holds."""
    lacks = {name: count - some.get(name, 0) for name, count in many.items()}
    return sorted((name for name, lack in lacks.items() if lack > 0), key=lambda name: -lacks[name])[:4]
