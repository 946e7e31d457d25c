"""Reads the bodies of requests: bounded in size, and in how slowly they may arrive."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import AsyncIterator, Collection
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from sshrender.web.refusals import Refused
from sshrender.web.settings import Limits

MAX_JSON = 64 << 10
_DIGEST = re.compile(r"sha-256=:?([A-Za-z0-9+/=_-]+?):?")
MAX_LENGTH_DIGITS = 18
"""Most digits of a number in a header: int() of a long text takes long."""


async def chunks(request: Request, limit: int, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body. Raises Refused for one that is too large (413) or too slow (408)."""
    length = request.headers.get("content-length", "")
    # isdigit() is true for "²", too, which int() refuses.
    if length.isascii() and length.isdigit() and int(length[-MAX_LENGTH_DIGITS:]) > limit:
        raise _too_large(limit)
    received, began = 0, time.monotonic()
    stream = request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), limits.body_idle)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _too_slow() from None
        except ClientDisconnect:
            raise Refused(400, "the body ended too early", "send it again") from None
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        seconds = time.monotonic() - began
        if seconds > limits.body_idle and received < limits.body_rate * seconds:
            raise _too_slow()
        if chunk:
            yield chunk


def _too_large(limit: int) -> Refused:
    # The rest of the body is not read, so that the connection cannot be used again.
    return Refused(
        413, f"the body has more than {limit:,} bytes", "send less at a time", {"Connection": "close"}
    )


def _too_slow() -> Refused:
    return Refused(408, "the body arrives too slowly", "send it again", {"Connection": "close"})


async def read_json(
    request: Request, limits: Limits, known: Collection[str] | None = None
) -> dict[str, Any]:
    """Return the object of the body; an empty body is an empty object. Raises Refused.

    With ``known``, other fields are refused: one that is misspelled would do nothing, unnoticed.
    """
    data = b"".join([chunk async for chunk in chunks(request, MAX_JSON, limits)])
    if not data.strip():
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and not _is_text(found):
        raise Refused(400, "the body has text that is not Unicode", "send UTF-8 without surrogates")
    if not isinstance(found, dict):
        raise Refused(400, "the body is not a JSON object", 'send one, as {"dpi": 150}')
    unknown = sorted(found.keys() - set(known)) if known is not None else []
    if unknown:
        there = f"there is {', '.join(known)}" if known else "there is none"
        raise Refused(400, f"{unknown[0][:40]}: not a field of this request; {there}", "leave it out")
    return found


def _is_text(found: dict[str, Any]) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


async def read_form(request: Request, limits: Limits) -> dict[str, str]:
    """Return the fields of a form. Raises Refused."""
    data = b"".join([chunk async for chunk in chunks(request, MAX_JSON, limits)])
    try:
        fields = parse_qs(data.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Refused(400, "the form cannot be read", "send it again") from None
    return {name: values[0] for name, values in fields.items()}


def digest_of(request: Request) -> bytes | None:
    """Return the SHA-256 of a Content-Digest header (RFC 9530); None without one. Raises Refused.

    A header without a usable SHA-256 is refused: its sender believes that the body is compared.
    """
    header = request.headers.get("content-digest")
    if header is None:
        return None
    members = [member.strip() for member in header.split(",")]
    found = [_DIGEST.fullmatch(member) for member in members if member.startswith("sha-256=")]
    text = found[0][1] if len(found) == 1 and found[0] is not None else ""
    try:
        value = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        value = b""
    if len(value) != 32:
        raise Refused(400, "Content-Digest is not a SHA-256", "send sha-256=:BASE64: or none")
    return value
