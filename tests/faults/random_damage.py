"""Documents damaged at random; a seed tells which and how."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tests.faults.odd_documents import packed, sound

Damage = Callable[[random.Random, bytes], bytes]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """Some bytes are others."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 3, 10, 40))):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def cut(rng: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(20, len(data))]


def holed(rng: random.Random, data: bytes) -> bytes:
    """A piece is missing from the middle."""
    at, size = _piece(rng, data)
    return data[:at] + data[at + size :]


def blanked(rng: random.Random, data: bytes) -> bytes:
    """A piece was never written: zeros, or what an erased disk holds."""
    at, size = _piece(rng, data)
    return data[:at] + rng.choice((b"\0", b"\xff", b" ")) * size + data[at + size :]


def doubled(rng: random.Random, data: bytes) -> bytes:
    """A piece is there twice."""
    at, size = _piece(rng, data)
    return data[: at + size] + data[at:]


def swapped(rng: random.Random, data: bytes) -> bytes:
    """Two pieces have changed places."""
    size = rng.randrange(1, len(data) // 4)
    a = rng.randrange(len(data) // 2 - size)
    b = rng.randrange(len(data) // 2, len(data) - size)
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


def misnumbered(rng: random.Random, data: bytes) -> bytes:
    """Some numbers are others."""
    share = rng.choice((0.01, 0.03, 0.1))
    values = (b"0", b"1", b"2", b"6", b"7", b"-1", b"17", b"300", b"65536", b"99999999", b"0.5", b"1e9")

    def other(match: re.Match[bytes]) -> bytes:
        return rng.choice(values) if rng.random() < share else match[0]

    return re.sub(rb"\d+", other, data)


def misnamed(rng: random.Random, data: bytes) -> bytes:
    """A word of the format stands where another one stood."""
    words = re.findall(rb"/\w+|endobj|obj|stream|endstream|xref|trailer|null|<<|>>|\[|\]|\d+ 0 R", data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        old = rng.choice(words)
        spots = [match.start() for match in re.finditer(re.escape(old), data)]
        if spots:
            at = rng.choice(spots)
            data = data[:at] + rng.choice(words) + data[at + len(old) :]
    return data


def mangled(rng: random.Random, data: bytes) -> bytes:
    """A transfer in text mode: line ends changed, or the eighth bit lost, from some place on."""
    at = rng.randrange(len(data))
    head, tail = data[:at], data[at:]
    how = rng.randrange(4)
    if how == 0:
        return head + tail.replace(b"\n", b"\r\n")
    if how == 1:
        return head + tail.replace(b"\n", b"")
    if how == 2:
        return head + bytes(byte & 0x7F for byte in tail)
    return head + tail.decode("latin-1").encode("utf-8")


def buried(rng: random.Random, data: bytes) -> bytes:
    """Something stands before it and after it."""
    return rng.randbytes(rng.randrange(1, 900)) + data + rng.randbytes(rng.randrange(3000))


def _piece(rng: random.Random, data: bytes) -> tuple[int, int]:
    at = rng.randrange(9, len(data) - 1)
    return at, min(rng.choice((1, 5, 20, 100, 400)), len(data) - at)


DAMAGES: tuple[Damage, ...] = (
    flipped,
    cut,
    holed,
    blanked,
    doubled,
    swapped,
    misnumbered,
    misnamed,
    mangled,
    buried,
)


def damaged(seed: int) -> tuple[str, bytes]:
    """A document that is damaged in the seed's way: what was done to it, and it."""
    rng = random.Random(seed)
    data, done = rng.choice((sound, packed))(), []
    for _ in range(rng.choice((1, 1, 1, 2))):
        damage = rng.choice(DAMAGES)
        data = damage(rng, data)
        done.append(damage.__name__)
    return "-".join(done), data
