"""Transfers files over SFTP on an existing SSH connection.

Many reads and writes are in flight at a time: a distant host then costs one round trip, not one per 32
KiB.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import paramiko

from sshrender.storage.files import open_plain
from sshrender.transports.interface import FilesFailed
from sshrender.transports.sshlimits import BoundedSftp

_BLOCK = 1 << 18
_MAX_REQUESTS = 64
"""Requests of 32 KiB in flight: two megabytes, the size of paramiko's window."""


def open_sftp(transport: Any, timeout: float) -> SftpFiles:
    """Open an SFTP session on a connection of paramiko. Raises FilesFailed."""

    def channel() -> Any:
        opened = transport.open_session(timeout=timeout)
        # The channel's own time-out bounds each read and write; paramiko's default is to wait for ever.
        opened.settimeout(timeout)
        opened.invoke_subsystem("sftp")
        return opened

    return SftpFiles(channel)


class SftpFiles:
    """One SFTP channel. See HostFiles."""

    def __init__(self, open_channel: Callable[[], Any]) -> None:
        """Begin a session with the SFTP server behind a channel like paramiko's. Raises FilesFailed."""
        try:
            self._client = BoundedSftp(open_channel())
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise FilesFailed(f"its sshd offers no SFTP: {error or 'the channel was closed'}") from None

    def put(self, source: Path, target: str) -> None:
        """See HostFiles.put."""
        with open_plain(source) as ours:
            try:
                # "x" is O_EXCL: nothing that another user put there is written through.
                with self._client.open(target, "wbx") as theirs:
                    theirs.set_pipelined(True)
                    while block := ours.read(_BLOCK):
                        theirs.write(block)
                # Pipelined writes report no error of their own; the size shows a lost one.
                found = self._client.stat(target).st_size
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise FilesFailed(f"{target}: {_words(error)}") from None
            if found != ours.tell():
                raise FilesFailed(f"{target}: only {found} of {ours.tell()} bytes arrived")

    def get(self, source: str, size: int, target: IO[bytes]) -> None:
        """See HostFiles.get."""
        try:
            with self._client.open(source, "rb") as theirs:
                # The size is given, because prefetch would ask for it with one more round trip.
                theirs.prefetch(size, max_concurrent_requests=_MAX_REQUESTS)
                left = size
                while left:
                    block = theirs.read(min(_BLOCK, left))
                    if not block:
                        # The host reported the size together with the digest; a file that is shorter was
                        # changed since.
                        raise FilesFailed(f"{source}: it ends {left} bytes early")
                    left -= len(block)
                    self._keep(block, target)
        except FileNotFoundError:
            # It is an OSError, so it must come before that: the caller treats a missing file as no fault
            # of the connection.
            raise
        except _LocalError as local:
            raise local.error from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise FilesFailed(f"{source}: {_words(error)}") from None

    @staticmethod
    def _keep(block: bytes, target: IO[bytes]) -> None:
        # Its error concerns this machine. Inside the try it would be taken for an error of the host.
        try:
            target.write(block)
        except OSError as error:
            raise _LocalError(error) from None

    def close(self) -> None:
        """See HostFiles.close."""
        try:
            self._client.close()
        except Exception:  # noqa: BLE001 - closing a broken connection may raise anything, and nothing depends on it
            return


class _LocalError(Exception):
    """The file could not be written on this machine."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error or "the connection broke")
