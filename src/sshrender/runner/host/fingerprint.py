"""Gathers the host's fingerprint, on which its output depends: fonts, and the canary page's pixels.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from sshrender.renderers import canary
from sshrender.runner.host import processlimits, scratch

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/ghostscript",
    "/var/lib/ghostscript/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
)
"""Folders in which Debian's Ghostscript and fontconfig look for fonts."""

_PLAIN = ("Font", "CIDFont")
"""Folders of Ghostscript's own fonts, whose files have no extension."""

_EXTENSIONS = (".ttf", ".otf", ".ttc", ".otc", ".pfb", ".pfa", ".t1", ".cff")
_MAX_GROUPS = 100
"""Folders that are reported, those with most fonts first (transports/messages.py, MAX_GROUPS)."""


def fonts() -> Dict[str, Any]:
    """Return a digest of the names and sizes of all fonts, and how many are in each folder.

    The contents are not read: that would take seconds, and packages rarely change fonts in place.
    """
    digest = hashlib.sha256()
    groups: Dict[str, int] = {}
    # Sorted, because os.walk yields the names in the order of the file system, which differs between
    # hosts.
    for path, size in sorted(_files()):
        # surrogateescape: a file name may hold bytes that are no UTF-8, and counts anyway.
        digest.update(("%s %d\n" % (path, size)).encode("utf-8", "surrogateescape"))
        group = os.path.basename(os.path.dirname(path))
        groups[group] = groups.get(group, 0) + 1
    kept = sorted(groups.items(), key=lambda pair: -pair[1])[:_MAX_GROUPS]
    return {"digest": digest.hexdigest(), "groups": dict(kept)}


def _files() -> Iterator[Tuple[str, int]]:
    # os.walk yields nothing for a folder that is missing.
    for place in _FOLDERS:
        for folder, folders, names in os.walk(os.path.expanduser(place)):
            # os.walk goes into the folders of this list, so sorting it in place decides the order.
            folders.sort()
            for name in names:
                if name.lower().endswith(_EXTENSIONS) or os.path.basename(folder) in _PLAIN:
                    path = os.path.join(folder, name)
                    yield path, _size(path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # a link that leads nowhere


class CanaryRun(NamedTuple):
    """What one run of a program shows of it.

    ``canary``: SHA-256 of the canary page as it renders it; empty when that fails. ``blank``: the file
    of a blank page; empty if it wrote none.
    """

    canary: str = ""
    blank: bytes = b""


def run_ghostscript(
    program: str,
    environ: Dict[str, str],
    inherited: Tuple[int, ...] = (),
    blank: Optional[Tuple[str, str]] = None,
) -> CanaryRun:
    """Run Ghostscript once: for the canary page, then for a blank one (canary.py).

    ``inherited``: descriptors that it inherits, its slot's lock (slotlocks.py).
    """
    command = canary.command(program) if blank is None else canary.extended_command(program, blank)
    return _run(command, environ, inherited)


def mutool_digest(environ: Dict[str, str], inherited: Tuple[int, ...] = ()) -> str:
    """Return SHA-256 of the canary page as MuPDF renders it; empty when that fails."""
    return _run(canary.mutool_command(), environ, inherited).canary


def _run(command: List[str], environ: Dict[str, str], inherited: Tuple[int, ...]) -> CanaryRun:
    folder = scratch.make()
    if folder is None:
        return CanaryRun()
    try:
        with open(os.path.join(folder, "canary.pdf"), "wb") as file:
            file.write(canary.document())
        subprocess.run(
            # The same wrapper as for pages: a limit that is too low fails here first, and not on the
            # first page. 1 GiB is ample for a small page.
            processlimits.wrap(command, 1 << 30),
            cwd=folder,
            env=scratch.environment(environ, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A Ghostscript that hangs must not delay the answer to the handshake for ever.
            timeout=canary.TIMEOUT,
            pass_fds=inherited,
        )
        # The digest covers the whole file: header and pixels.
        page = _content(folder, "canary.ppm")
        return CanaryRun(
            hashlib.sha256(page).hexdigest() if page is not None else "",
            _content(folder, canary.BLANK) or b"",
        )
    except (OSError, subprocess.TimeoutExpired):
        return CanaryRun()
    finally:
        scratch.remove(folder)


def _content(folder: str, name: str) -> Optional[bytes]:
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()
    except OSError:
        return None
