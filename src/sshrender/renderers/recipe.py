"""A recipe: the command lines that render one page with other programs than the warm Ghostscript.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional


class Recipe(NamedTuple):
    """The way to render a page: by ``steps``, each a list of words, or else by a ``shell`` script.

    ``extension``: of the file that it makes. ``complaints``: a regular expression; a line of output that
    it matches makes the page suspect.
    """

    name: str
    steps: List[List[str]]
    shell: str
    extension: str
    complaints: str

    @classmethod
    def of(cls, fields: Dict[str, Any]) -> "Optional[Recipe]":
        """Return the recipe that a job's fields describe; None for the built-in renderer.

        Raises KeyError or TypeError.
        """
        if "extension" not in fields:
            return None
        # str(): the fields come from JSON, and a word may be a number there.
        steps = [[str(word) for word in words] for words in fields["steps"]]
        return cls(
            str(fields["name"]),
            steps,
            str(fields["shell"]),
            str(fields["extension"]),
            str(fields["complaints"]),
        )

    def programs(self) -> List[str]:
        """Return the programs that a host needs. Of a script only the shell is known."""
        # The programs of a script are not known without running it.
        return ["sh"] if self.shell else [words[0] for words in self.steps]

    def uses(self, field: str) -> bool:
        """Return whether the recipe refers to a field."""
        if self.shell:
            # ``$name`` and ``${name}``, as the script would use it; a longer name does not count.
            return re.search(r"\$\{?%s\b" % field, self.shell) is not None
        return any("{%s}" % field in word for words in self.steps for word in words)


def command_lines(recipe: Recipe, fields: Dict[str, str]) -> List[List[str]]:
    """Return the commands to run one after the other, with a page's fields filled in.

    A script is run as it is and gets its fields as environment variables, which need no quoting.
    """
    if recipe.shell:
        # -e: the first failure ends the script; -u: a field that does not exist is an error. The name
        # becomes $0.
        return [["sh", "-euc", recipe.shell, recipe.name]]
    # format() once over each word: what a field contains is never parsed again.
    return [[word.format(**fields) for word in words] for words in recipe.steps]


def environment(recipe: Recipe, base: Dict[str, str], fields: Dict[str, str]) -> Dict[str, str]:
    """Return the environment of a recipe's programs: of a script, ``base`` and the fields."""
    return dict(base, **fields) if recipe.shell else base


_OF_BUILD = re.compile(r"\s*warning: ICC support is not available\s*$")
"""Says how MuPDF was built, in each run of Debian's mutool (colorspace.c), and nothing about a page."""


def warnings(recipe: Recipe, lines: Iterable[str]) -> List[str]:
    """Return the lines of output that make a page suspect."""
    wanted = re.compile(recipe.complaints)
    # search(): the pattern may fit anywhere in the line.
    found = [line.strip() for line in lines if line.strip() and wanted.search(line)]
    return [line for line in found if not _OF_BUILD.match(line)]
