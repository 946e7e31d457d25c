"""The retired words, how they are counted, and the file that says how many are still allowed where.

``python -m tests.house.words`` lists every one that is left; with ``--write`` it renews allowances.json.
An allowance is exact, so that it can only become smaller: test_words.py fails where a file has more
retired words than it says, and where it has fewer.
"""

from __future__ import annotations

import bisect
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ALLOWANCES = Path(__file__).parent / "allowances.json"

WORDS = (
    # Verbs and nouns of rendering, verifying and running.
    r"draws?|drawn|drawing|drew|drawable",
    r"prove[sd]?|proofs?|provers?|proving|(dis|un)proved",
    r"(see|sees|seen|saw|seeing)( \w+){0,4} through",
    r"call(s|ed|ing)?( \w+){0,2} off",
    r"call(s|ed|ing)?( \w+){0,2} back",
    r"of which ends",
    r"wish(es|ed)?",
    r"settled|settles|unsettled",
    # Metaphors that stood for parts of the program.
    r"seats?|sitters?|sits? down|gets? up",
    r"foreman|foremen|shelf|shelves|clerks?|scribes?|chronicles?",
    r"ferr(y|ies|ied)|landed|strayed",
    r"larders?|carriage|carried|greet(s|ed|ing|ings)?",
    r"galler(y|ies)|jur(y|ies)|tidings|verdicts?|rulings?|likeness(es)?",
    r"handouts?|allot\w*",
    r"host care|page care|page book",
    r"streaks?|patience",
    r"crews?|undead|stand ins|stood in",
    r"onlookers?|good bye",
    # Persons in the place of programs.
    r"nobody|somebody|whoever|whomever|whosoever",
    r"he|him|himself|his",
)
"""Patterns of whole words, in text of lower case whose identifiers are split into words."""

IDENTIFIERS = frozenset(
    {
        "asked",
        "attended",
        "bad",
        "beat",
        "breath",
        "bundle",
        "complaints",
        "crew",
        "crowded",
        "detached",
        "fed",
        "fold",
        "forget",
        "glance",
        "guest",
        "handout",
        "hang",
        "hostcare",
        "hostlink",
        "inspection",
        "jobqueue",
        "judge",
        "keeper",
        "land",
        "larder",
        "larders",
        "likeness",
        "locate",
        "look",
        "looks",
        "mark",
        "moments",
        "nobody",
        "ours",
        "over",
        "pace",
        "pagebook",
        "pagecare",
        "patience",
        "pay",
        "picture",
        "pictures",
        "reconsider",
        "rehearse",
        "ruled",
        "said",
        "say",
        "settle",
        "sitter",
        "standing",
        "story",
        "straggles",
        "strike",
        "survey",
        "tell",
        "theirs",
        "tidings",
        "told",
        "turn",
        "turns",
        "undead",
        "verdict",
        "visits",
        "wires",
        "wishes",
        "worn",
    }
)
"""Identifiers of the source that are retired, where they are the whole of a name."""

ORDINARY = re.compile(
    r"""
      test_\w+\.py(::\w+)?        # tests that a page names keep their names
    | ImageDraw(\.Draw)?|textual\.draw     # third-party names
    | \b(re|with)draw\w*          # a view redraws, a page is withdrawn
    | <[^>\s]*>                   # addresses
    """,
    re.VERBOSE,
)

CONSTANTS = re.compile(r"_*(MOST_[A-Z_]+|LARGEST(_[A-Z_]+)?|AT_ONCE|CLOSING|WITHIN|GLANCE)")
"""Names of limits and intervals that are MAX_… and …_TIMEOUT now."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PATTERN = re.compile(r"(?<![a-z])(?:" + "|".join(WORDS) + r")(?![a-z])")


class Hit(NamedTuple):
    """A retired word and the line in which it begins."""

    line: int
    word: str


def files() -> list[Path]:
    """Return the files that are searched: source, manual, documentation, texts at the top."""
    found = [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "src").rglob("*.js"),
        *(ROOT / "src").rglob("*.html"),
    ]
    found += [*(ROOT / "man").iterdir(), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    found += [*(ROOT / "docs").rglob("*.py"), *(ROOT / "docs" / "systemd").iterdir()]
    found += [ROOT / "hosts.example.toml", ROOT / "benchmarks" / "README.md"]
    return sorted(found)


def hits(path: Path) -> list[Hit]:
    """Return the retired words of a file."""
    return hits_in(path.read_text(), is_python=path.suffix == ".py")


def hits_in(text: str, *, is_python: bool) -> list[Hit]:
    """Return the retired words of a text, in the order of their lines."""
    found = list(_words_in(text))
    if is_python:
        found += _identifiers_in(text)
    return sorted(found)


def _words_in(text: str) -> Iterator[Hit]:
    """Search the text as one line of words, so that a phrase may go over the end of a line."""
    plain = ORDINARY.sub(lambda match: " , " * (match[0].count("\n") + 1), text)
    joined, starts = "", []
    for line in plain.split("\n"):
        starts.append(len(joined))
        split = _HUMP.sub(" ", line).lower()
        # Punctuation stays, as one sign each: no phrase goes across it. A comment sign is none.
        joined += " ".join(re.findall(r"[a-z0-9]+|[^\sa-z0-9_#*\"'`-]", split)) + " "
    for match in _PATTERN.finditer(joined):
        yield Hit(bisect.bisect(starts, match.start()), match[0])


def _identifiers_in(text: str) -> list[Hit]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        Hit(token.start[0], token.string)
        for token in tokens
        if token.type == tokenize.NAME and _is_retired(token.string)
    ]


def _is_retired(name: str) -> bool:
    bare = name.strip("_").lower()
    if _PATTERN.fullmatch(bare):  # the search for words has counted it
        return False
    return bare in IDENTIFIERS or CONSTANTS.fullmatch(name) is not None


def counted() -> dict[str, int]:
    """Return how many retired words each file has; files without any are left out."""
    counts = {str(path.relative_to(ROOT)): len(hits(path)) for path in files()}
    return {name: count for name, count in counts.items() if count}


def allowed() -> dict[str, int]:
    """Return how many retired words each file may have."""
    allowances: dict[str, int] = json.loads(ALLOWANCES.read_text())
    return allowances


def main(arguments: list[str]) -> None:
    """List what is left of the retired words, or write it down as what is allowed."""
    if "--write" in arguments:
        ALLOWANCES.write_text(json.dumps(counted(), indent=1) + "\n")
        return
    only = [each for each in arguments if not each.startswith("-")]
    for path in files():
        name = str(path.relative_to(ROOT))
        if not only or any(name.startswith(each) for each in only):
            for hit in hits(path):
                sys.stdout.write(f"{name}:{hit.line}: {hit.word}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
