"""Limits on the memory that the other end of an ssh connection can make this process use.

paramiko trusts the lengths that it receives: a packet may claim 4 GiB before the host key is verified,
the version line has no end, and a channel takes more than its window. Every connection, to jump hosts
too, is made with the classes below. Compression stays off (paramiko offers none by default), so a packet
holds no more than its length says.
"""

from __future__ import annotations

from typing import Any

import paramiko
from paramiko import common

MAX_PACKET = 256 * 1024
"""Bytes of a packet, as OpenSSH has it (packet.c, PACKET_MAX_SIZE). RFC 4253, 6.1, asks for 35000."""

_MAX_OVERHEAD = 128
"""Length field, and the longest MAC."""

MAX_GREETING = 64 * 1024
"""Bytes that may come up to the end of the version line. RFC 4253, 4.2: that line has at most 255."""

MAX_SFTP_PACKET = 64 * 1024
"""Bytes of an answer of the SFTP server; the longest that is requested holds 32 KiB of a file."""


class BoundedPacketizer(paramiko.packet.Packetizer):  # type: ignore[misc]  # paramiko has no types
    """Refuses packets that are longer than OpenSSH allows, before it reads them."""

    _greeting = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Read ``n`` bytes. Raises SSHException when no packet may have so many."""
        # Called by paramiko's reading thread, also for the rest of a packet after its length.
        if n > MAX_PACKET + _MAX_OVERHEAD:
            raise paramiko.SSHException(f"it announces a packet of {n} bytes")
        data: bytes = super().read_all(n, check_rekey)
        return data

    # paramiko reads lines with this method only (Packetizer.readline), and lines come only before the
    # first packet.
    def _read_timeout(self, timeout: float) -> bytes:
        """Only lines before the first packet are read here."""
        data: bytes = super()._read_timeout(timeout)
        self._greeting += len(data)
        if self._greeting > MAX_GREETING:
            raise paramiko.SSHException(f"no version line in {MAX_GREETING} bytes")
        return data


def _require_window(channel: paramiko.Channel, size: int) -> None:
    """Raise SSHException when the peer sends more than the window allows (RFC 4254, 5.2)."""
    # Both buffers share one window (RFC 4254, 5.2).
    waiting = len(channel.in_buffer) + len(channel.in_stderr_buffer)
    if waiting + size > channel.in_window_size:
        raise paramiko.SSHException("it sends more than the channel's window")


def _feed(channel: paramiko.Channel, message: paramiko.Message) -> None:
    data = message.get_binary()
    # Checked before it is stored: paramiko itself would append it to the buffer in any case.
    _require_window(channel, len(data))
    channel._feed(data)


def _feed_extended(channel: paramiko.Channel, message: paramiko.Message) -> None:
    # The message still holds the type of the data, so this counts a few bytes too many: the safe side.
    _require_window(channel, len(message.asbytes()))
    channel._feed_extended(message)


class BoundedTransport(paramiko.Transport):  # type: ignore[misc]  # as above
    """A connection whose packets and channels are bounded."""

    _channel_handler_table = {  # noqa: RUF012 - paramiko has it so
        # The whole table is copied, so that every other message keeps its handler.
        **paramiko.Transport._channel_handler_table,
        common.MSG_CHANNEL_DATA: _feed,
        common.MSG_CHANNEL_EXTENDED_DATA: _feed_extended,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, packetizer_class=BoundedPacketizer)


class BoundedSftp(paramiko.SFTPClient):  # type: ignore[misc]  # as above
    """An SFTP client that refuses answers of more than MAX_SFTP_PACKET bytes."""

    def _read_packet(self) -> tuple[int, bytes]:
        # The length covers the type byte, so 0 is not a packet (draft-ietf-secsh-filexfer-02, 3).
        size = int.from_bytes(self._read_all(4), "big")
        if not 0 < size <= MAX_SFTP_PACKET:
            raise paramiko.SSHException(f"it announces an answer of {size} bytes")
        data: bytes = self._read_all(size)
        return data[0], data[1:]
