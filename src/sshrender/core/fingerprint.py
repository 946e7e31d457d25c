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
    def picture(self) -> tuple[str, str]:
        """What has to be the same in any case."""
        return self.ghostscript, self.canary


def has_majority(looks: Iterable[HostFingerprint], still_to_come: int) -> bool:
    """Whether one picture and its fonts will be those of most hosts, whoever else comes."""
    counts = Counter((look.picture, look.fonts) for look in looks)
    return bool(counts) and 2 * max(counts.values()) > sum(counts.values()) + still_to_come


def is_same_render(one: HostFingerprint | None, other: HostFingerprint) -> bool:
    """Whether two canary pages by one version of Ghostscript are known to be the same."""
    return one is not None and bool(one.canary) and one.picture == other.picture


def leader(
    votes: Collection[HostFingerprint],
    still_to_come: int,
    own: HostFingerprint | None,
    do_fonts_matter: bool,
) -> HostFingerprint | None:
    """The fingerprint that most hosts have, whoever else comes; None where there is none.

    ``own``: what this machine renders itself, which tips the scales where they are even.
    """
    found: tuple[int, HostFingerprint] | None = None
    for look in dict.fromkeys(filter(_telling(votes), votes)):
        agreed = sum(not difference(vote, look, do_fonts_matter) for vote in votes)
        weight = 2 * agreed + is_same_render(own, look)
        if found is None or weight > found[0] or (weight == found[0] and not found[1].canary):
            found = weight, look
    has_most = found is not None and found[0] > len(votes) + still_to_come
    return found[1] if found is not None and has_most else None


def _telling(looks: Collection[HostFingerprint]) -> Callable[[HostFingerprint], bool]:
    """Which may be the reference. One without a canary page differs from nothing, and would turn the
    comparison off; it is one only for want of hosts with a canary page that it would be compared with.
    """
    known = [look for look in looks if look.canary]
    return lambda look: (
        bool(look.canary) or all(_differ(look.ghostscript, each.ghostscript) for each in known)
    )


def is_tied(looks: Collection[HostFingerprint]) -> bool:
    """Whether no page image is that of more hosts than every other one."""
    counts = [count for _, count in Counter(look.picture for look in looks).most_common(2)]
    return len(counts) == 2 and counts[0] == counts[1]


def ruling(looks: Mapping[str, HostFingerprint], own: HostFingerprint | None = None) -> HostFingerprint:
    """The look of most hosts: by picture, then by fonts. ``looks`` is not empty.

    Of equals the one that this machine renders too (``own``), else the first.
    """
    telling = filter(_telling(looks.values()), looks.values())
    first = sorted(telling, key=lambda look: not is_same_render(own, look))
    picture = _commonest(first, lambda look: look.picture)
    alike = [look for look in looks.values() if look.picture == picture]
    fonts = _commonest(alike, lambda look: look.fonts)
    return next(look for look in alike if look.fonts == fonts)


def _commonest(looks: Iterable[HostFingerprint], key: Callable[[HostFingerprint], T]) -> T:
    return Counter(map(key, looks)).most_common(1)[0][0]


def difference(look: HostFingerprint, rule: HostFingerprint, do_fonts_matter: bool) -> str:
    """Why this host's pictures may be others than those that rule; empty when they are not."""
    if _differ(look.ghostscript, rule.ghostscript):
        return f"its Ghostscript is {look.ghostscript}, the others' {rule.ghostscript}"
    if _differ(look.canary, rule.canary):
        fonts = _other_fonts(look, rule)
        return "it draws another picture than the others: " + (
            fonts or "its Ghostscript is another build"
        )
    if do_fonts_matter and _differ(look.fonts, rule.fonts):
        return _other_fonts(look, rule)
    return ""


def has_other_fonts(look: HostFingerprint, rule: HostFingerprint) -> bool:
    """Whether only its fonts differ."""
    return not difference(look, rule, do_fonts_matter=False) and _differ(look.fonts, rule.fonts)


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _other_fonts(look: HostFingerprint, rule: HostFingerprint) -> str:
    """In words, by folder; empty when the fonts are the same."""
    if not _differ(look.fonts, rule.fonts):
        return ""
    own, theirs = dict(look.groups), dict(rule.groups)
    missing = [f"{theirs[name] - own.get(name, 0)} of {name}" for name in _fewer(own, theirs)]
    more = [f"{own[name] - theirs.get(name, 0)} of {name}" for name in _fewer(theirs, own)]
    words = [f"it lacks {', '.join(missing)}"] if missing else []
    words += [f"it has besides {', '.join(more)}"] if more else []
    return "its fonts are not the others'" + (f" ({'; '.join(words)})" if words else "")


def _fewer(some: Mapping[str, int], many: Mapping[str, int]) -> list[str]:
    """The folders of which the first has fewer, the greatest lack first; not more than a line holds."""
    lacks = {name: count - some.get(name, 0) for name, count in many.items()}
    return sorted((name for name, lack in lacks.items() if lack > 0), key=lambda name: -lacks[name])[:4]
