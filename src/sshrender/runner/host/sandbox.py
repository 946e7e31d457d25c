"""Runs renderers inside bubblewrap, for documents from unknown sources: ``sandbox = "bwrap"``.

A renderer then sees the system's programs and fonts, the document, ``work/`` and its own temporary
files; no network, no other process, no home. bwrap(1) works for an ordinary user if user name spaces are
allowed, which is Debian's default.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import subprocess
from typing import List, Optional, Sequence

# Only what exists is bound (--ro-bind-try), so the list serves all releases.
_SYSTEM = (
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ghostscript",
    "/etc/ld.so.cache",
    "/etc/papersize",
    "/etc/paperspecs",
    "/var/cache/fontconfig",
    "/var/lib/ghostscript",
)
"""Paths that Debian's ghostscript reads besides /usr; which of them exist depends on the release."""

# Seconds: a sandbox takes milliseconds to start; the rest is the start of Ghostscript on a busy host.
CHECK_TIMEOUT = 20.0


def wrap(
    command: List[str],
    folder: str,
    document: str,
    scratch: Optional[str],
    files: Sequence[str] = (),
    writable: Sequence[str] = (),
) -> List[str]:
    """Return ``command`` in a sandbox with the job's ``folder``; ``scratch``: for temporary files.

    ``files``: what else of that folder the renderer reads. ``writable``: further folders, absolute.
    """
    # bwrap carries out its options in order, so a later bind lies over an earlier one.
    words = _sandbox_words()
    # Under the same path as outside, because the command line names it.
    if scratch is not None:
        words += ["--bind", scratch, scratch]
    for name in writable:
        words += ["--bind", name, name]
    # After --tmpfs /tmp: a job's folder below /tmp must not be hidden by it.
    for name in (document, *files):
        # "try": a part of the document that does not exist yet must not fail the start.
        path = os.path.join(folder, name)  # a copy of the document is absolute, elsewhere
        words += ["--ro-bind-try", path, path]
    # ``work/`` alone is writable; the rest of the job's folder, with its journal, is not there at all.
    words += ["--bind-try", folder + "/work", folder + "/work", "--chdir", folder]
    return words + ["--"] + command


def check(program: str) -> Optional[str]:
    """Return why Ghostscript cannot run in a sandbox on this host; None when it can."""
    try:
        # The program is started inside: only that shows that name spaces, mounts and its libraries work
        # together.
        answer = subprocess.run(
            _sandbox_words() + ["--", program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CHECK_TIMEOUT,
        )
    except OSError:
        return "bubblewrap is not installed (apt install bubblewrap)"
    except subprocess.TimeoutExpired:
        return "bwrap does not answer"
    if answer.returncode == 0:
        return None
    lines = answer.stdout.decode("utf-8", "replace").strip().splitlines() or ["it fails"]
    return "bwrap: %s" % lines[-1]


def _sandbox_words() -> List[str]:
    # --unshare-all: also no network. --new-session: no TIOCSTI into a terminal (bwrap(1)).
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--ro-bind", "/usr", "/usr", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in _SYSTEM:
        words += ["--ro-bind-try", path, path]
    return words
