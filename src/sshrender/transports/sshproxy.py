"""Runs the ProxyCommand of ssh_config as ssh does: by a shell, and ended with the connection.

paramiko's own splits the command into words, so that no variable is replaced, and leaves it running.
"""

from __future__ import annotations

import socket
import subprocess

from sshrender.transports import childprocess

END_TIMEOUT = 1.0
"""Seconds that the status of a command that has closed its streams is waited for."""


class ProxySocket(socket.socket):
    """Our end of the standard streams of a ProxyCommand."""

    def __init__(self, command: str, timeout: float) -> None:
        """Start the command. Raises OSError."""
        self._command = command
        near, far = socket.socketpair()
        # The descriptor moves to this object; ``near`` must not close it when it is collected.
        super().__init__(fileno=near.detach())
        self.settimeout(timeout)
        # Only the command keeps ``far``, so that its end is read as the end of the stream.
        with far:
            self._process = subprocess.Popen(
                # ssh_config(5): it is run with exec, so that no shell stays beside it.
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def end(self) -> str:
        """Return in words that the command has ended by itself; empty while it runs."""
        try:
            # Its end of the socket is closed a moment before its status is known.
            status = self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return ""
        how = "was not found" if status == 127 else f"ended with exit code {status}"
        return f"the ProxyCommand of ssh_config {how}: {self._command}"

    def close(self) -> None:
        """Close the socket, and end the command."""
        super().close()
        # Closing comes first: a command whose input has ended gets the time to end by itself.
        childprocess.end_group(self._process)
