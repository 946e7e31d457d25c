"""Every link, path and command of the documentation exists, and every code and field is explained."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshrender.errors import ExitCode
from sshrender.job.jobattributes import Attributes
from sshrender.job.leasefiles import Claim
from sshrender.job.output.outputrecord import Contents, Record
from sshrender.job.queue.requests import Request
from sshrender.job.spec import JobSpec
from sshrender.transports.interface import Refusal
from tests.commandtree import TREE
from tests.house.source import ROOT, SOURCE

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
MAX_README_BYTES = 8 * 1024

ERRORS = (ROOT / "docs" / "errors.md").read_text()
FORMATS = (ROOT / "docs" / "formats.md").read_text()

CHECKED = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^ {4}(?=\S)(.*)$", re.MULTILINE)
_COMMAND = re.compile(
    r"(?:\S+=\S+ +|(?:[\d*/,-]+ +){5}|ssh \S+ +|\S*/)?"  # a variable, the times of cron, ssh, a path
    r"sshrender((?: .*)?)$"
)
_PATH = re.compile(r"[\w.-]+(/[\w.*-]+)*/?")
_FOLDERS = "|".join(path.name for path in sorted(SOURCE.iterdir()) if path.is_dir())
_MODULE = re.compile(rf"sshrender\.(?!toml)[a-z.]+|(?:{_FOLDERS})\.(?!json)[a-z.]+")

OF_A_JOB = frozenset({"work", "pages", "parts", "requests", "thumbs"})
"""Folders of a job on the SAN, whose names may be those of folders here."""


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


@CHECKED
def test_each_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in _LINK.findall(_prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            lost.append(target)
    assert lost == []


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@CHECKED
def test_each_path_of_the_repository_exists(page: Path) -> None:
    spans = [span for span in _SPAN.findall(_prose(page)) if _PATH.fullmatch(span)]
    assert [span for span in spans if _is_ours(span) and not _exists(span)] == []


def _is_ours(span: str) -> bool:
    """Whether it is written as a path of this repository: below one of its folders, or a Python file."""
    first, slash, _ = span.partition("/")
    if first in OF_A_JOB or span.startswith("test_"):
        return False
    folders = {path.name for base in (ROOT, SOURCE) for path in base.iterdir() if path.is_dir()}
    return (bool(slash) and first in folders) or span.endswith((".py", ".md"))


def _exists(span: str) -> bool:
    bases = (ROOT, SOURCE, ROOT / "docs", ROOT / "tests")
    return any(next(base.glob(span.rstrip("/")), None) is not None for base in bases)


@CHECKED
def test_each_module_that_a_page_names_exists(page: Path) -> None:
    spans = [span for span in _SPAN.findall(_prose(page)) if _MODULE.fullmatch(span)]
    assert [span for span in spans if not _is_module(span.removeprefix("sshrender."))] == []


def _is_module(name: str) -> bool:
    place = SOURCE / name.replace(".", "/")
    return place.is_dir() or place.with_name(f"{place.name}.py").is_file()


@CHECKED
def test_each_command_parses(page: Path) -> None:
    wrong = [f"{command}: {why}" for command in _commands(page) if (why := _objection(command))]
    assert wrong == []


def test_commands_are_found_in_the_documentation() -> None:
    assert sum(1 for page in PAGES for _ in _commands(page)) > 30


def _commands(page: Path) -> Iterator[str]:
    """Return what is to be typed: in a span, in a fence, or in a line that is set in."""
    text = page.read_text()
    lines = [line for fence in _FENCE.findall(text) for line in fence.splitlines()]
    lines += _INDENTED.findall(_prose(page)) + _SPAN.findall(_prose(page))
    for line in lines:
        for part in re.split(r"\\?[|;&]+", line.partition(" #")[0]):
            found = _COMMAND.match(part.strip())
            if found is not None:
                yield f"sshrender{found[1]}".rstrip()


def _objection(command: str) -> str:
    """Return what is wrong with a command line; empty where nothing is."""
    words = shlex.split(command)[1:]
    here = TREE
    while words and getattr(here, "commands", None) and not words[0].startswith("-"):
        if words[0].isupper():  # stands for any command
            return ""
        if words[0] not in here.commands:
            return f"there is no command {words[0]}"
        here = here.commands[words.pop(0)]
    known = {name for param in here.params for name in (*param.opts, *param.secondary_opts)}
    known |= {"--help", "-h", "--version"}
    for word in words:
        option = word.partition("=")[0]
        if re.match(r"--?[a-z]", option) and option not in known:
            return f"there is no option {option}"
    return ""


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sshrender render big.pdf -r 300 --pages 1-100,^13", ""),
        ("sshrender config show", ""),
        ("sshrender --version", ""),
        ("sshrender paint big.pdf", "there is no command paint"),
        ("sshrender render big.pdf --resolution=300", "there is no option --resolution"),
    ],
)
def test_a_wrong_command_is_noticed(command: str, why: str) -> None:
    assert _objection(command) == why


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_explained(code: ExitCode) -> None:
    assert f"| {code.value} | " in ERRORS
    assert code is ExitCode.OK or f"\n## {code.value}: " in ERRORS


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_of_a_host_is_explained(refusal: Refusal) -> None:
    assert f"\n| `{refusal.value}` | " in ERRORS


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("attributes.json", [name.strip("_") for name in Attributes.model_fields]),
        ("job.json", [name.strip("_") for name in JobSpec.model_fields]),
        ("lease and .epochs/", [field.name for field in dataclasses.fields(Claim)]),
        ("requests/", [field.name for field in dataclasses.fields(Request)]),
        ("The output folder", [name.strip("_") for name in Record.model_fields]),
        ("The output folder", list(Contents.model_fields)),
    ],
)
def test_every_field_of_a_file_is_explained(heading: str, names: list[str]) -> None:
    section = FORMATS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert [name for name in names if f"`{name}`" not in section] == []


def test_every_field_of_a_job_for_programs_is_explained() -> None:
    form = json.loads((SOURCE / "views" / "results.schema.json").read_text())["$defs"]["job"]
    names = [name for part in (form, *form.get("allOf", ())) for name in part.get("properties", ())]
    page = (ROOT / "docs" / "json.md").read_text()
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    assert [page for page in pages if f"]({page})" not in index] == []


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= MAX_README_BYTES
