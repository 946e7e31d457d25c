"""Writes what is made from the source: state diagrams, the picture of the packages, tables, completions.

``python -m docs.diagrams`` compares them with the pages and exits with 1 where one is out of date;
``python -m docs.diagrams --write`` writes them. A generated part is enclosed by two comments,
``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import grimp
from docs import completions
from docs.walks import WALKS, table

from sshrender.core.states import HostState, PageState
from sshrender.core.statetables import CONNECTED, HOST_CHANGES, PAGE_CHANGES, Change, State
from sshrender.job.journal import journalentries
from sshrender.job.journal.history import PageRecord
from sshrender.transports.sshkeywords import TREATMENTS, Treatment

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sshrender"
PAGES = (
    ROOT / "docs" / "architecture.md",
    ROOT / "docs" / "formats.md",
    ROOT / "docs" / "ssh.md",
    ROOT / "docs" / "web.md",
    ROOT / "CONTRIBUTING.md",
)

_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)

ENDS = frozenset({PageState.DONE, PageState.SUSPECT, PageState.FAILED})


@functools.cache
def import_graph() -> dict[str, set[str]]:
    """Return the modules that each module of the package imports, imports within functions included."""
    graph = grimp.build_graph("sshrender", cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in sorted(graph.modules)}


def package_of(module: str) -> str:
    """Return the first part of a module's name below ``sshrender``; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def packages() -> list[str]:
    """Return the folders of ``src/sshrender``."""
    return sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def package_graph() -> dict[str, set[str]]:
    """Return the folders that each folder imports from."""
    found: dict[str, set[str]] = {name: set() for name in packages()}
    for module, imported in import_graph().items():
        here = package_of(module)
        if here in found:
            there = {package_of(each) for each in imported}
            found[here] |= (there & found.keys()) - {here}
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the graph without each edge that a longer path implies."""
    return {
        node: {
            end
            for end in ends
            if not any(end in reachable(graph, other) for other in ends if other != end)
        }
        for node, ends in graph.items()
    }


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return all that can be reached from here along the arrows."""
    found: set[str] = set()
    left = [start]
    while left:
        new = graph[left.pop()] - found
        found |= new
        left.extend(new)
    return found


def house() -> str:
    """Return the folders of the source as a Mermaid graph: an arrow means that one imports another."""
    lines = ["flowchart TD"]
    for node, ends in reduced(package_graph()).items():
        lines += [f"    {node} --> {end}" for end in sorted(ends)]
    return _fenced(lines)


def folders() -> str:
    """Return a table of the folders and those inside them, with what each ``__init__.py`` says of it."""
    lines = ["| folder | what it holds | imports from |", "|---|---|---|"]
    for name, imported in sorted(package_graph().items()):
        lines.append(f"| `{name}/` | {_purpose(SOURCE / name)} | {', '.join(sorted(imported)) or '–'} |")
        for inside in sorted((SOURCE / name).rglob("*/__init__.py")):
            lines.append(f"| – `{inside.parent.relative_to(SOURCE)}/` | {_purpose(inside.parent)} | |")
    return "\n".join(lines) + "\n"


def _purpose(folder: Path) -> str:
    return _first_paragraph(ast.get_docstring(ast.parse((folder / "__init__.py").read_text())))


def host_states() -> str:
    """Return the states of a host as a Mermaid diagram. The connected ones are in one frame."""
    lines = ["stateDiagram-v2", f"    [*] --> {_name(HostState.UNKNOWN)}", "    state connected {"]
    inside: list[str] = []
    outside: list[str] = []
    for change in HOST_CHANGES:
        is_inside = change.sources <= CONNECTED and change.targets <= CONNECTED
        (inside if is_inside else outside).extend(_arrows(change, CONNECTED, "connected"))
    return _fenced([*lines, *(f"    {line}" for line in inside), "    }", *outside])


def page_states() -> str:
    """Return the states of a page as a Mermaid diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {_name(PageState.UNREADY)}: split into parts"]
    lines.append(f"    [*] --> {_name(PageState.WAITING)}")
    for change in PAGE_CHANGES:
        lines += _arrows(change, frozenset(), "")
    return _fenced([*lines, *(f"    {_name(end)} --> [*]" for end in sorted(ENDS, key=_name))])


def state_meanings(states: Iterable[type[HostState] | type[PageState]]) -> str:
    """Return a table of states, each with the docstring that follows it in ``core/states.py``."""
    module = ast.parse((SOURCE / "core" / "states.py").read_text())
    classes = {node.name: node.body for node in module.body if isinstance(node, ast.ClassDef)}
    lines = ["| | state | meaning |", "|---|---|---|"]
    for kind in states:
        what = kind.__name__.removesuffix("State").lower()
        body = classes[kind.__name__]
        for line, text in itertools.pairwise(body):
            if isinstance(line, ast.Assign) and isinstance(text, ast.Expr):
                meaning = ast.literal_eval(text.value)
                lines.append(
                    f"| {what} | {ast.literal_eval(line.value)} | {_first_paragraph(meaning)} |"
                )
    return "\n".join(lines) + "\n"


def journal_entries() -> str:
    """Return a table of the types of journal entries, each with its fields and what its class says."""
    lines = ["| type | fields | meaning |", "|---|---|---|"]
    for kind, names, meaning in _entry_types():
        fields = ", ".join(f"`{name}`" for name in names if name not in ("time", "epoch"))
        lines.append(f"| `{kind}` | {fields} | {meaning} |")
    return "\n".join(lines) + "\n"


def _entry_types() -> Iterator[tuple[str, Iterable[str], str]]:
    for kind, fields in getattr(journalentries, "TYPES", {}).items():
        if isinstance(fields, Mapping):
            yield kind, fields, ""
    for entry in vars(journalentries).values():
        kind = getattr(entry, "type", "")
        if isinstance(entry, type) and isinstance(kind, str) and kind:
            names = [field.name for field in dataclasses.fields(entry)]
            yield kind, names, _first_paragraph(entry.__doc__)


def page_record() -> str:
    """Return the fields of a delivered page in the manifest."""
    return ", ".join(f"`{field.name}`" for field in dataclasses.fields(PageRecord)) + "\n"


def endpoints() -> str:
    """Return the requests that the web front end takes of programs, as a table."""
    # Here, because the web front end is an extra.
    from sshrender.web.app import endpoints as declared

    rows = [
        f"| `{each.method} {each.path}` | {each.summary} |"
        for each in declared()
        if each.path.startswith("/api/")
    ]
    return "\n".join(["| request | what |", "|---|---|", *rows]) + "\n"


def ssh_keywords() -> str:
    """Return a table of how each keyword of ssh_config is treated."""
    lines = ["| keywords | what sshrender does with them |", "|---|---|"]
    for treatment in Treatment:
        names = sorted(name for name, found in TREATMENTS.items() if found is treatment)
        lines.append(f"| {', '.join(f'`{name}`' for name in names)} | {treatment.value} |")
    return "\n".join(lines) + "\n"


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split()).replace("``", "`")


def _arrows(change: Change[State], frame: frozenset[State], framed: str) -> list[str]:
    """Return a line for each arrow; a set of states that is the frame's counts as one."""
    sources = [framed] if frame and change.sources == frame else _names(change.sources)
    targets = [framed] if frame and change.targets == frame else _names(change.targets)
    return [
        f"    {source} --> {target}: {change.cause}"
        for source in sources
        for target in targets
        if source != target
    ]


def _names(states: Iterable[State]) -> list[str]:
    return sorted(_name(state) for state in states)


def _name(state: HostState | PageState) -> str:
    return str(state.value)


def _fenced(lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", *lines, "```"]) + "\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "house": house,
    "folders": folders,
    "host-states": host_states,
    "page-states": page_states,
    "state-meanings": lambda: state_meanings((HostState, PageState)),
    "journal-entries": journal_entries,
    "page-record": page_record,
    "ssh-keywords": ssh_keywords,
    "endpoints": endpoints,
    **{name: functools.partial(table, steps) for name, steps in WALKS.items()},
}


def renewed(text: str) -> str:
    """Return a page with its generated parts as they have to be now."""
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]]() + found[3], text)


def main(arguments: list[str]) -> int:
    """Compare the files with what would be generated, or write them. Return the exit code."""
    made = {page: renewed(page.read_text()) for page in PAGES} | completions.scripts()
    stale = [page for page, text in made.items() if page.read_text() != text]
    for page in stale:
        if "--write" in arguments:
            page.write_text(made[page])
        sys.stderr.write(f"{page.relative_to(ROOT)}: generated parts are out of date\n")
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
