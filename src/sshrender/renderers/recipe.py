"""One page by one run of some program: the command lines of a recipe, with the fields of a page in them.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional


class Recipe(NamedTuple):
    """How a page is drawn. Either ``steps``, each a list of words, or a ``shell`` script."""

    name: str
    steps: List[List[str]]
    shell: str
    extension: str
    complaints: str

    @classmethod
    def of(cls, fields: Dict[str, Any]) -> "Optional[Recipe]":
        """As a job has it; None for the built-in renderer. Raises KeyError or TypeError."""
        if "extension" not in fields:
            return None
        steps = [[str(word) for word in words] for words in fields["steps"]]
        return cls(
            str(fields["name"]),
            steps,
            str(fields["shell"]),
            str(fields["extension"]),
            str(fields["complaints"]),
        )

    def programs(self) -> List[str]:
        """What has to be installed, as far as one can tell; of a script, only its shell."""
        return ["sh"] if self.shell else [words[0] for words in self.steps]

    def uses(self, field: str) -> bool:
        """Whether a field stands in it."""
        if self.shell:
            return re.search(r"\$\{?%s\b" % field, self.shell) is not None
        return any("{%s}" % field in word for words in self.steps for word in words)


def command_lines(recipe: Recipe, fields: Dict[str, str]) -> List[List[str]]:
    """What is run, one after the other. A script finds its fields in the environment."""
    if recipe.shell:
        return [["sh", "-euc", recipe.shell, recipe.name]]
    return [[word.format(**fields) for word in words] for words in recipe.steps]


def environment(recipe: Recipe, base: Dict[str, str], fields: Dict[str, str]) -> Dict[str, str]:
    """What a script gets its fields in."""
    return dict(base, **fields) if recipe.shell else base


def complaints(recipe: Recipe, lines: Iterable[str]) -> List[str]:
    """The lines that make a page suspect."""
    wanted = re.compile(recipe.complaints)
    return [line.strip() for line in lines if line.strip() and wanted.search(line)]
