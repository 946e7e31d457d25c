"""Verify the files of hosts in a process of its own: one open file at a time, one answer for each.

A file may be hostile, or merely broken: whatever it does to a parser, looping and eating memory
included, happens here. The process gets descriptors and opens nothing; it can start nothing and write
no file. It ends when its socket does.

A request is a packet of JSON with the file's descriptor (unix(7), SCM_RIGHTS): the fields of Expected,
``size``, and ``seconds`` of CPU time. The answer is a packet: ``found`` (a PageImage), ``failed`` (why
it is not the page) or ``error`` (an errno and what it means: the storage could not be read).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from typing import Any

from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.verify import Expected, verify_open
from sshrender.renderers.devices import Device

MEMORY = 1 << 30
"""Bytes of address space: twice what inflating a large PNG at once takes; all else is read in pieces."""

MAX_PACKET = 16384
OPEN_FILES = 32


def main() -> None:
    """Answer requests until there are no more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the coordinator decides when this ends
    # The number of the descriptor, which the parent has passed on.
    channel = socket.socket(fileno=int(sys.argv[1]))
    # Set here and not by the parent: a preexec function is not safe with threads.
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        _limit(kind, 0)
    while True:
        packet, descriptors, _, _ = socket.recv_fds(channel, MAX_PACKET, 1)
        # An empty packet: the parent has closed its end.
        if not packet:
            return
        channel.send(json.dumps(_answer(json.loads(packet), descriptors[0])).encode())


def _limit(kind: int, value: int, *, is_soft: bool = False) -> None:
    """Lower a limit; if the user's own is lower, that one stays."""
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, hard if is_soft else allowed))


def _answer(request: dict[str, Any], descriptor: int) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # The time that the process has used so far counts towards RLIMIT_CPU.
    used = int(usage.ru_utime + usage.ru_stime)
    # is_soft: the soft limit is raised again for the next request, up to the hard one.
    _limit(resource.RLIMIT_CPU, used + 1 + int(request["seconds"]), is_soft=True)
    try:
        found = verify_open(descriptor, request["size"], _expected(request))
    except VerificationFailed as failed:
        return {"failed": str(failed)[:500]}
    except OSError as error:
        return {"error": [error.errno, error.strerror]}
    # MemoryError comes from RLIMIT_AS: it is the file that asks for so much.
    except MemoryError:
        return {"failed": "it takes more memory than a verification may use"}
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of a parser is its own fault
        return {"failed": f"{type(error).__name__}: {error}"[:500]}
    finally:
        os.close(descriptor)
    return {"found": list(found)}


def _expected(request: dict[str, Any]) -> Expected:
    box, fixed = request["box"], request["fixed_size"]
    return Expected(
        device=Device(*request["device"]),
        dpi=request["dpi"],
        box=None if box is None else (box[0], box[1]),
        bytes=request["bytes"],
        sha256=request["sha256"],
        is_sized=request["is_sized"],
        vertical_dpi=request["vertical_dpi"],
        fixed_size=None if fixed is None else (fixed[0], fixed[1]),
        downscale=request["downscale"],
        adjust_width=request["adjust_width"],
    )


if __name__ == "__main__":
    main()
