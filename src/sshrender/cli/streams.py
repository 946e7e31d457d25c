"""Standard streams that are closed, full, or cannot show a character: none of that is a defect."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

from sshrender.errors import ExitCode
from sshrender.views import output

_ERRORS = "sshrender"
"""Our way with characters that standard output's encoding lacks."""


def open_missing() -> None:
    """Have descriptors 0 to 2 open. A file opened later must not get the number of a standard stream."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, so this one
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def be_lenient() -> None:
    """Let any text be printed: bytes of file names as they came in, "?" for what the locale lacks."""
    codecs.register_error(_ERRORS, _escaped_or_replaced)
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        encoding, is_line_buffered = stream.encoding, stream.line_buffering
        is_direct = stream.write_through
        sys.stdout = _Output(
            stream.detach(),
            encoding,
            _ERRORS,
            line_buffering=is_line_buffered,
            write_through=is_direct,
        )
        sys.__stdout__ = sys.stdout  # type: ignore[misc]  # the one before has no buffer any more


class _Output(io.TextIOWrapper):
    """Standard output that remembers why it could not be written: an OSError does not tell of what."""

    failure: OSError | None = None

    def write(self, text: str) -> int:
        """See TextIOBase.write."""
        try:
            return super().write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """See IOBase.flush."""
        try:
            super().flush()
        except OSError as error:
            self.failure = error
            raise


def failure() -> str:
    """Why standard output could not be written; empty where nothing failed there."""
    error = getattr(sys.stdout, "failure", None)
    return "" if error is None else str(error.strerror or error)


def is_unread() -> bool:
    """Whether standard output could not be written because its reader is gone."""
    return isinstance(getattr(sys.stdout, "failure", None), BrokenPipeError)


def _escaped_or_replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if 0xDC80 <= ord(letter) <= 0xDCFF:
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return "?", error.start + 1


def flush() -> str:
    """Write what standard output still holds; why that cannot be done, empty where it was.

    Afterwards nothing is left that could fail later.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard()  # its reader has read what it wanted
    except (OSError, ValueError) as error:
        discard()
        return str(getattr(error, "strerror", None) or error)
    return ""


def discard() -> None:
    """Have all that is still written to standard output go nowhere."""
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)


def put(result: object, code: int) -> int:
    """Print the result of a run; its exit code, which is worse where the result cannot be written.

    A reader that is gone has read what it wanted.
    """
    try:
        output.as_json(result, indent=1)
        why = flush()
    except BrokenPipeError:
        discard()
        why = ""
    except (OSError, ValueError) as error:
        discard()
        why = str(getattr(error, "strerror", None) or error)
    if why:
        with contextlib.suppress(OSError, ValueError):
            output.note(f"standard output cannot be written: {why}", flush=True)
        return code or ExitCode.STORAGE
    return code
