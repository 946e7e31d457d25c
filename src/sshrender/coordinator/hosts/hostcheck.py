"""Checks every host as ``render`` would, without a job: whether it is usable, and if not, why.

The checks are in the order of their causes: those after a failed one cannot be known.
"""

from __future__ import annotations

import queue
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sshrender.coordinator.hosts.connection import HostSpoke, LinkFailed
from sshrender.coordinator.hosts.handshake import check_host, fingerprint_of, seen_folder
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.coordinator.workers.localcanary import LocalCanary
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint, difference, is_tied, most_common_fingerprint
from sshrender.core.records import Host
from sshrender.core.states import HostState
from sshrender.job.folder import JobFolder
from sshrender.job.nonce import Nonce
from sshrender.renderers.encoders import ZLIB
from sshrender.storage.files import read_when_visible
from sshrender.transports.interface import FilesFailed, LinkClosed, Refusal
from sshrender.transports.messages import Hello, Trouble

CHECK_TIMEOUT = 60.0
"""Seconds for all hosts together, added to the longest time to connect; each host's own limits are
shorter."""

LITTLE_SPACE = 64 << 20
LARGE_SKEW = 60.0
"""Seconds. No decision depends on a host's clock, but its log files would be hard to compare with
ours."""

CHECKS = (
    "name",
    "tcp",
    "key",
    "login",
    "limits",
    "python",
    "ghostscript",
    "sandbox",
    "san",
    "space",
    "clock",
    "load",
    "encoder",
    "mutool",
    "picture",
)

_USABLE = (HostState.IDLE.value, HostState.BUSY.value)

_FAILS_AT = {
    Refusal.NO_ADDRESS: "name",
    Refusal.CONFIGURATION: "name",
    Refusal.UNREACHABLE: "tcp",
    Refusal.HOST_KEY: "key",
    Refusal.AUTHENTICATION: "login",
    Refusal.LIMITS: "limits",
    Refusal.NO_PYTHON: "python",
    Refusal.SYSTEM: "python",
    Refusal.PROTOCOL: "python",
    Refusal.NO_GHOSTSCRIPT: "ghostscript",
    Refusal.NO_SANDBOX: "sandbox",
    Refusal.SAN: "san",
    Refusal.FILES: "san",
}


FAST_PACKAGE = "libisal2"
"""Debian's package of ISA-L (renderers/encoders/isal.py)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``ok`` None: not known, because an earlier one failed."""

    name: str
    ok: bool | None
    says: str = ""


@dataclass(slots=True)
class HostReport:
    """The result of one host. ``refusal`` is a Refusal's value; memory in bytes, loads in threads.

    ``mutool``: the version of MuPDF's program, for the recipe of that name; empty: it is not there.
    ``encoder``: what compresses PNG files there, isal or zlib; ``faster_with``: the package that would
    make it faster.
    """

    name: str
    state: str
    reason: str = ""
    refusal: str = ""
    checks: list[Check] = field(default_factory=list)
    slots: int = 0
    cores: int = 0
    memory: int = 0
    free_memory: int = 0
    python: str = ""
    ghostscript: str = ""
    others: float = 0.0
    ours: float = 0.0
    canary: str = ""
    fonts: str = ""
    font_groups: dict[str, int] = field(default_factory=dict)
    encoder: str = ""
    faster_with: str = ""
    mutool: str = ""

    @property
    def fingerprint(self) -> HostFingerprint:
        """Return the fingerprint."""
        return HostFingerprint(
            self.ghostscript, self.canary, self.fonts, tuple(self.font_groups.items())
        )


def check_hosts(hosts: Sequence[HostSetup], san: Path) -> Iterator[HostReport]:
    """Yield each host's report as it arrives. Raises OSError if the SAN cannot be written from here."""
    # A folder of its own with a random name: it is a job's folder, so hosts are checked as for a job.
    folder = JobFolder(san / f".hosts-{secrets.token_hex(6)}")
    folder.create()
    try:
        yield from _prepare(hosts, folder, Nonce.create(folder))
    finally:
        # Whatever hosts have left there; an error leaves a hidden folder that nothing reads.
        shutil.rmtree(folder.path, ignore_errors=True)


def _prepare(hosts: Sequence[HostSetup], folder: JobFolder, nonce: Nonce) -> Iterator[HostReport]:
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    links = ConnectionPool(hosts, "hosts", inbox, is_check=True)
    waiting = {setup.plan.name: (setup, links.take(setup)) for setup in hosts}
    for setup, link in waiting.values():
        link.send(
            "prepare",
            folder=seen_folder(setup, folder.name),
            scratch=setup.scratch,
            nonce_file=nonce.path.name,
            nonce=nonce.token,
            sandbox=setup.sandbox,
            slots=0,  # no renderers: only the checks
            leaves=True,
        )
    try:
        yield from _collect(waiting, inbox, folder)
    finally:
        for _, link in waiting.values():
            link.close()


def _collect(
    waiting: dict[str, Any], inbox: queue.SimpleQueue[Any], folder: JobFolder
) -> Iterator[HostReport]:
    left = set(waiting)
    deadline = (
        time.monotonic() + CHECK_TIMEOUT + max(setup.connect_timeout for setup, _ in waiting.values())
    )
    # The deadline ends the loop, as a host may send heartbeats and never its hello.
    while left and time.monotonic() < deadline:
        try:
            item = inbox.get(timeout=1.0)
        except queue.Empty:
            continue
        name = item.link.host
        report = _report(waiting[name][0], item, folder)
        if name in left and report is not None:
            left.remove(name)
            yield report
    for name in sorted(left):
        yield _failed(name, Refusal.UNREACHABLE, "no answer in time")


def _report(setup: HostSetup, item: HostSpoke | LinkFailed, folder: JobFolder) -> HostReport | None:
    """Return the report that an item of the inbox makes possible; None if it makes none."""
    name = setup.plan.name
    if isinstance(item, LinkFailed):
        return _failed(name, item.refusal, item.reason)
    # Frees the place of the message, as the loop does.
    item.link.message_taken()
    if isinstance(item.message, Trouble):
        if item.message.refusal is None:
            # The trouble may pass, so the host is lost. Its Python works: it has sent this message.
            return _failed(name, Refusal.UNREACHABLE, item.message.reason, "python")
        return _failed(name, item.message.refusal, item.message.reason)
    if not isinstance(item.message, Hello):
        # Heartbeats and other messages say nothing about the checks.
        return None
    try:
        # For hosts without a SAN, files are what matters: the channel is opened once.
        if setup.san is None:
            item.link.files(setup.connect_timeout).close()
    except (FilesFailed, LinkClosed) as failed:
        return _failed(name, Refusal.FILES, str(failed))
    san = item.message.san
    unread = _unread(folder.work / san.left) if san is not None and san.left else ""
    return _answered(setup, item.message, unread)


def _unread(left: Path) -> str:
    """Read a file that a host left as it leaves pages; return why that fails, else an empty text."""
    try:
        read_when_visible(left)
    except OSError as error:
        return f"this machine cannot read what it writes there: {error.strerror}"
    return ""


def _failed(name: str, refusal: Refusal, reason: str, check: str = "") -> HostReport:
    """Return the report of a host that cannot be used. ``check``: which failed, if not the usual one."""
    state = HostState.LOST if refusal.may_come_back else HostState.REFUSED
    checks = _checks_up_to(check or _FAILS_AT[refusal], reason)
    return HostReport(name, state.value, reason, refusal.value, checks)


def _checks_up_to(failing: str, reason: str) -> list[Check]:
    at = CHECKS.index(failing)
    # The checks are in the order of causes: what comes before the failed one has passed.
    passed = [Check(name, True) for name in CHECKS[:at]]
    return [*passed, Check(failing, False, reason), *(Check(name, None) for name in CHECKS[at + 1 :])]


def _answered(setup: HostSetup, hello: Hello, unread: str = "") -> HostReport:
    checked = check_host(setup.plan.name, hello, setup.san)
    if isinstance(checked, ev.HostRefused):
        report = _failed(setup.plan.name, Refusal(checked.refusal), checked.reason)
    elif unread:
        report = _failed(setup.plan.name, Refusal.SAN, unread)
    else:
        report = _usable(setup, hello)
    report.slots = setup.plan.slots or hello.slots
    report.cores, report.memory, report.free_memory = hello.cores, hello.memory, hello.free_memory
    report.python, report.ghostscript = hello.python, hello.ghostscript or ""
    report.others, report.ours = hello.others, hello.ours
    report.encoder, report.mutool = hello.encoder, hello.mutool
    report.faster_with = FAST_PACKAGE if hello.encoder == ZLIB else ""
    found = fingerprint_of(hello)
    report.canary, report.fonts, report.font_groups = found.canary, found.fonts, dict(found.groups)
    return report


def compare(reports: Sequence[HostReport]) -> None:
    """Compare what usable hosts render, and refuse those that differ from most, as a run would.

    A tie is decided by what this machine renders itself. Other fonts are only a remark: they matter only
    to documents that do not embed theirs.
    """
    usable = [report for report in reports if report.state in _USABLE and report.canary]
    if not usable:
        return
    fingerprints = {report.name: report.fingerprint for report in usable}
    # Rendering the page here takes seconds, so only a tie is worth it.
    own = LocalCanary(lambda _event: None).fingerprint() if is_tied(fingerprints.values()) else None
    reference = most_common_fingerprint(fingerprints, own)
    for report in usable:
        why = difference(report.fingerprint, reference, do_fonts_matter=False)
        if why:
            report.state, report.reason, report.refusal = "refused", why, Refusal.PICTURE.value
        says = why or difference(report.fingerprint, reference, do_fonts_matter=True)
        report.checks = [
            Check("picture", not says, says) if check.name == "picture" else check
            for check in report.checks
        ]


def _usable(setup: HostSetup, hello: Hello) -> HostReport:
    # The scheduler's own record, so that its rule for the load is the same.
    host = Host(setup.plan, cores=max(1, hello.cores), others=hello.others)
    is_idle = setup.plan.ignores_load or host.others_per_core < setup.plan.idle_below
    busy = f"other people's load is {host.others_per_core:.2f} per core" + (
        "" if is_idle else f" (used below {setup.plan.idle_below:g})"
    )
    checks = [Check(name, True) for name in CHECKS[: CHECKS.index("san")]]
    checks += [
        Check("san", True, "" if setup.san is not None else "not mounted: files are copied by SFTP")
    ]
    checks += [_space(hello), _clock(hello), Check("load", is_idle, busy), _encoder(hello)]
    checks.append(_mutool(hello))
    # Without it nothing can be compared, and compare() leaves this as it is.
    fails = not hello.canary and "its Ghostscript did not render the test page"
    checks.append(Check("picture", False if fails else None, fails or ""))
    state = HostState.IDLE if is_idle else HostState.BUSY
    return HostReport(setup.plan.name, state.value, "" if is_idle else busy, checks=checks)


def _space(hello: Hello) -> Check:
    free = f"{hello.temporary_free >> 20} MiB for temporary files"
    if not hello.temporary_free:
        free += ": their folder (TMPDIR, else /tmp) is full or cannot be used"
    return Check("space", hello.temporary_free >= LITTLE_SPACE, free)


def _encoder(hello: Hello) -> Check:
    """Return a remark: every host has an encoder."""
    faster = f"; {FAST_PACKAGE} makes it faster" if hello.encoder == ZLIB else ""
    return (
        Check("encoder", True, f"{hello.encoder}{faster}") if hello.encoder else Check("encoder", None)
    )


def _mutool(hello: Hello) -> Check:
    """Return a remark: only a recipe needs it."""
    missing = "not installed; mupdf-tools has it, for --recipe mutool"
    return Check("mutool", True if hello.mutool else None, hello.mutool or missing)


def _clock(hello: Hello) -> Check:
    if hello.clock is None:
        return Check("clock", None)
    skew = hello.clock - time.time()
    return Check("clock", abs(skew) < LARGE_SKEW, f"{round(skew):+d} s from ours")
