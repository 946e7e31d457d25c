"""Handles standard streams that are closed, full, or cannot show a character."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

_ERRORS = "sshrender"
"""Name of our error handler for characters that standard output cannot encode."""


def open_missing() -> None:
    """Open descriptors 0 to 2 if they are closed: a file opened later must not get such a number."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # open(2) returns the lowest free number (POSIX); a lower one that is closed was opened in
            # the turn before.
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, so this one
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        # Python sets the stream to None if its descriptor was closed at the start.
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - it stays


def be_lenient() -> None:
    """Let any text be printed: bytes of file names unchanged, "?" for what the locale cannot encode."""
    # A handler by name, because the stream takes only names.
    codecs.register_error(_ERRORS, _escaped_or_replaced)
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        encoding, is_line_buffered = stream.encoding, stream.line_buffering
        is_direct = stream.write_through
        # detach(): two wrappers of one buffer would both flush it.
        sys.stdout = _Output(
            stream.detach(),
            encoding,
            _ERRORS,
            line_buffering=is_line_buffered,
            write_through=is_direct,
        )
        sys.__stdout__ = sys.stdout  # type: ignore[misc]  # the old one has lost its buffer


class _Output(io.TextIOWrapper):
    """Standard output that records why it could not be written: an OSError does not name the stream."""

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
    """Return why standard output could not be written; empty if nothing failed."""
    error = getattr(sys.stdout, "failure", None)
    return "" if error is None else str(error.strerror or error)


def is_unread() -> bool:
    """Return whether standard output failed because its reader has closed the pipe."""
    return isinstance(getattr(sys.stdout, "failure", None), BrokenPipeError)


def _escaped_or_replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # One letter at a time: the position behind it is returned with the replacement.
    letter = error.object[error.start]
    # PEP 383: U+DC80 to U+DCFF stand for the bytes 80 to FF.
    if 0xDC80 <= ord(letter) <= 0xDCFF:
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return "?", error.start + 1


def flush() -> str:
    """Write out the buffer of standard output; return why that fails, empty if it does not.

    Afterwards the buffer is empty, so that nothing can fail later.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The buffer is discarded, or Python would fail once more when it ends.
        discard()  # its reader has closed the pipe: it has all it wanted
    except (OSError, ValueError) as error:
        discard()
        return str(getattr(error, "strerror", None) or error)
    return ""


def discard() -> None:
    """Discard everything that is written to standard output from now on."""
    with contextlib.suppress(OSError):
        # The descriptor itself is replaced, so buffers of other wrappers go nowhere either.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
