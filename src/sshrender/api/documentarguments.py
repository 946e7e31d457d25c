"""The documents that a command names: files, folders and patterns."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from sshrender.errors import ExitCode, UserError, limit_reached
from sshrender.renderers.devices import DEVICES
from sshrender.shellwords import path_word
from sshrender.storage.hangguard import guarded_call

T = TypeVar("T")


def device_names() -> Iterator[str]:
    """Yield the raster devices that pages can be rendered with."""
    yield from DEVICES


def check_pdfs(sources: list[Path]) -> None:
    """Raise UserError if two documents have the same name: they would share an output folder."""
    first: dict[str, Path] = {}
    for source in sources:
        # setdefault keeps the first document of each name, so the message names both.
        other = first.setdefault(source.stem, source)
        if other is source:
            continue
        # The name of the document's folder tells the two apart.
        own = "-".join(part for part in (source.absolute().parent.name, source.stem, "pages") if part)
        raise UserError(
            ExitCode.USAGE,
            f"{other} and {source} are both called {source.stem} and would share a folder",
            f"one command for each, with -o {path_word(own)} for {path_word(source)}",
        )


def require_files(sources: Iterable[Path]) -> list[Path]:
    """Return the documents; one that a descriptor of this process names is replaced by its file.

    Raises UserError for a stream: the processes that read a document open it by its name and read it
    from any position.
    """
    local = [_local(source) for source in sources]
    return [near_document(source, partial(_file, source)) for source in local]


def _file(source: Path) -> Path:
    """Return the name under which other processes find a file. Raises UserError.

    A file that cannot be found or read is reported when it is opened; the others are rendered.
    """
    # A file that is called ``-`` is that file.
    is_standard_input = str(source) == "-" and not source.exists()
    named = Path("/dev/stdin") if is_standard_input else source
    with contextlib.suppress(OSError):
        mode = named.stat().st_mode
        # A PDF is read from its end (ISO 32000-1, 7.5.5), so a stream cannot be one.
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode):
            raise UserError(
                ExitCode.DOCUMENT,
                f"{source} is a pipe or a device; the document must be a file",
                "write its output into a file, and name that file: COMMAND > document.pdf",
            )
        # The reader is another process, in which the number names another file.
        if stat.S_ISREG(mode) and str(named).startswith(_OF_THIS_PROCESS):
            return named.resolve()
    return source


_OF_THIS_PROCESS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Names of descriptors: in another process they name other files (proc(5))."""


def find_documents(named: Iterable[Path]) -> list[Path]:
    """Return the documents that were named, each once. Raises UserError if one name matches none."""
    return list(dict.fromkeys(each for name in named for each in _documents(_local(name))))


_FILE_ADDRESS = re.compile(r"file:/(localhost/|)(?=[^/])")
"""As a path: pathlib has made one slash of each row of them (RFC 8089)."""


def _local(named: Path) -> Path:
    """Return the path of a file that an address names, as file managers copy them: file:///a%20b.pdf."""
    found = _FILE_ADDRESS.match(str(named))
    # A folder may be called ``file:``.
    if found is None or Path(named.parts[0]).exists():
        return named
    path = os.fsdecode(unquote_to_bytes(os.fsencode(str(named)[found.end() :])))
    return named if "\0" in path else Path("/", path)


def _documents(named: Path) -> list[Path]:
    """Return a document, those in a folder, or those that match a pattern. Raises UserError."""
    found = near_document(named, partial(_matching, named))
    if not found:
        raise UserError(ExitCode.DOCUMENT, f"{named}: no PDF is there", f"ls {_place(named)}")
    return found


def _place(named: Path) -> str:
    """Return the folder in which the documents would be, as a shell takes it."""
    return path_word(named if named.is_dir() else named.parent)


def _matching(named: Path) -> list[Path]:
    """Return the documents that a path or a pattern names. Raises OSError."""
    if named.is_dir():
        # Not recursive, like the shell's ``*.pdf``; the ending may be in upper or lower case.
        return sorted(path for path in named.iterdir() if path.suffix.lower() == ".pdf")
    # A file whose name contains a bracket is a file, not a pattern.
    if not named.exists() and glob.has_magic(str(named)):
        return [Path(path) for path in sorted(glob.glob(str(named)))]  # noqa: PTH207 - may be absolute
    return [named]


def near_document(document: Path, work: Callable[[], T]) -> T:
    """Run ``work`` in the document's folder without blocking if that folder hangs. Raises UserError."""
    try:
        return guarded_call(document.parent, work)
    except OSError as error:
        what = f"{document}: {error.strerror or error}"
        hint = f"ls -ld {path_word(document)}"
        # A limit of this process is not the document's fault, and has its own words.
        raise limit_reached(error) or UserError(ExitCode.DOCUMENT, what, hint) from None
