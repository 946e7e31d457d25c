"""Files over SFTP, on a connection that is there already.

Reads and writes are many at a time: a far host then costs one round trip, not one for each 32 KiB.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import paramiko

from sshrender.storage.files import open_plain
from sshrender.transports.protocol import FilesFailed
from sshrender.transports.sshlimits import BoundedSftp

_BLOCK = 1 << 18
_AHEAD = 64
"""Requests of 32 KiB on their way: two megabytes, which paramiko's window is too."""


class SftpFiles:
    """See Files. One channel."""

    def __init__(self, transport: Any, timeout: float) -> None:
        """Raises FilesFailed."""
        try:
            channel = transport.open_session(timeout=timeout)
            channel.settimeout(timeout)
            channel.invoke_subsystem("sftp")
            self._client = BoundedSftp(channel)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise FilesFailed(f"its sshd offers no SFTP: {error or 'the channel was closed'}") from None

    def put(self, source: Path, target: str) -> None:
        """See Files.put."""
        with open_plain(source) as ours:
            try:
                with self._client.open(target, "wbx") as theirs:
                    theirs.set_pipelined(True)
                    while block := ours.read(_BLOCK):
                        theirs.write(block)
                found = self._client.stat(target).st_size
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise FilesFailed(f"{target}: {_words(error)}") from None
            if found != ours.tell():
                raise FilesFailed(f"{target}: only {found} of {ours.tell()} bytes arrived")

    def get(self, source: str, size: int, target: IO[bytes]) -> None:
        """See Files.get."""
        try:
            with self._client.open(source, "rb") as theirs:
                theirs.prefetch(size, max_concurrent_requests=_AHEAD)
                left = size
                while left:
                    block = theirs.read(min(_BLOCK, left))
                    if not block:
                        raise FilesFailed(f"{source}: it ends {left} bytes early")
                    left -= len(block)
                    self._keep(block, target)
        except FileNotFoundError:
            raise
        except _OurTrouble as trouble:
            raise trouble.error from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise FilesFailed(f"{source}: {_words(error)}") from None

    @staticmethod
    def _keep(block: bytes, target: IO[bytes]) -> None:
        try:
            target.write(block)
        except OSError as error:
            raise _OurTrouble(error) from None

    def close(self) -> None:
        """See Files.close."""
        try:
            self._client.close()
        except Exception:  # noqa: BLE001 - closing a broken connection may raise anything, and matters to nobody
            return


class _OurTrouble(Exception):
    """It is this machine that could not write."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error or "the connection broke")
