"""Asks every host what ``render`` would ask it, without a job: is it usable, and if not, why?

The checks stand in the order of their causes: what comes after the one that fails cannot be known.
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
from sshrender.coordinator.hosts.handshake import judge, look, seen_folder
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.plan import HostSetup
from sshrender.coordinator.workers.localcanary import LocalCanary
from sshrender.core import events as ev
from sshrender.core import fingerprint
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.records import Host
from sshrender.core.states import HostState
from sshrender.job.folder import JobFolder
from sshrender.job.nonce import Nonce
from sshrender.transports.messages import Hello, Trouble
from sshrender.transports.protocol import FilesFailed, LinkClosed, Refusal

PATIENCE = 60.0
"""Seconds for the whole survey after its last handshake began; one host's own limits are shorter."""

LITTLE_SPACE = 64 << 20
LARGE_SKEW = 60.0
"""Seconds. Nothing is decided by a host's clock, but its log files will be hard to read beside ours."""

CHECKS = (
    "name",
    "tcp",
    "key",
    "login",
    "python",
    "ghostscript",
    "sandbox",
    "san",
    "space",
    "clock",
    "load",
    "picture",
)

_USABLE = (HostState.IDLE.value, HostState.BUSY.value)

_FAILS_AT = {
    Refusal.NO_ADDRESS: "name",
    Refusal.CONFIGURATION: "name",
    Refusal.UNREACHABLE: "tcp",
    Refusal.HOST_KEY: "key",
    Refusal.AUTHENTICATION: "login",
    Refusal.NO_PYTHON: "python",
    Refusal.PROTOCOL: "python",
    Refusal.NO_GHOSTSCRIPT: "ghostscript",
    Refusal.NO_SANDBOX: "sandbox",
    Refusal.SAN: "san",
    Refusal.FILES: "san",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One question. ``ok`` None: not known, because an earlier one failed."""

    name: str
    ok: bool | None
    says: str = ""


@dataclass(slots=True)
class HostReport:
    """What a host is now. ``refusal`` is a Refusal's value; memory in bytes, loads in threads."""

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

    @property
    def look(self) -> HostFingerprint:
        """What its pictures depend on."""
        return HostFingerprint(
            self.ghostscript, self.canary, self.fonts, tuple(self.font_groups.items())
        )


def survey(hosts: Sequence[HostSetup], san: Path) -> Iterator[HostReport]:
    """Each host's report as it comes in. Raises OSError where the SAN cannot be written from here."""
    folder = JobFolder(san / f".hosts-{secrets.token_hex(6)}")
    folder.create()
    try:
        yield from _ask(hosts, folder, Nonce.create(folder))
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


def _ask(hosts: Sequence[HostSetup], folder: JobFolder, nonce: Nonce) -> Iterator[HostReport]:
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    links = ConnectionPool(hosts, "hosts", inbox)
    waiting = {setup.plan.name: (setup, links.take(setup)) for setup in hosts}
    for setup, link in waiting.values():
        link.send(
            "prepare",
            folder=seen_folder(setup, folder.name),
            scratch=setup.scratch,
            nonce_file=nonce.path.name,
            nonce=nonce.token,
            sandbox=setup.sandbox,
            slots=0,
        )
    try:
        yield from _listen(waiting, inbox)
    finally:
        for _, link in waiting.values():
            link.close()


def _listen(waiting: dict[str, Any], inbox: queue.SimpleQueue[Any]) -> Iterator[HostReport]:
    left = set(waiting)
    deadline = time.monotonic() + PATIENCE + max(setup.connect_timeout for setup, _ in waiting.values())
    while left and time.monotonic() < deadline:
        try:
            item = inbox.get(timeout=1.0)
        except queue.Empty:
            continue
        name = item.link.host
        report = _report(waiting[name][0], item)
        if name in left and report is not None:
            left.remove(name)
            yield report
    for name in sorted(left):
        yield _failed(name, Refusal.UNREACHABLE, "no answer in time")


def _report(setup: HostSetup, item: HostSpoke | LinkFailed) -> HostReport | None:
    """What an item says of its host; None when it says nothing of that."""
    name = setup.plan.name
    if isinstance(item, LinkFailed):
        return _failed(name, item.refusal, item.reason)
    item.link.taken()
    if isinstance(item.message, Trouble):
        return _failed(name, Refusal.SAN, item.message.reason)
    if not isinstance(item.message, Hello):
        return None
    try:
        if setup.san is None:
            item.link.files(setup.connect_timeout).close()
    except (FilesFailed, LinkClosed) as failed:
        return _failed(name, Refusal.FILES, str(failed))
    return _greeted(setup, item.message)


def _failed(name: str, refusal: Refusal, reason: str) -> HostReport:
    state = HostState.LOST if refusal.may_come_back else HostState.REFUSED
    return HostReport(
        name, state.value, reason, refusal.value, _checks_up_to(_FAILS_AT[refusal], reason)
    )


def _checks_up_to(failing: str, reason: str) -> list[Check]:
    at = CHECKS.index(failing)
    passed = [Check(name, True) for name in CHECKS[:at]]
    return [*passed, Check(failing, False, reason), *(Check(name, None) for name in CHECKS[at + 1 :])]


def _greeted(setup: HostSetup, hello: Hello) -> HostReport:
    verdict = judge(setup.plan.name, hello, setup.san)
    if isinstance(verdict, ev.HostRefused):
        report = _failed(setup.plan.name, Refusal(verdict.refusal), verdict.reason)
    else:
        report = _usable(setup, hello)
    report.slots = setup.plan.slots or hello.slots
    report.cores, report.memory, report.free_memory = hello.cores, hello.memory, hello.free_memory
    report.python, report.ghostscript = hello.python, hello.ghostscript or ""
    report.others, report.ours = hello.others, hello.ours
    seen = look(hello)
    report.canary, report.fonts, report.font_groups = seen.canary, seen.fonts, dict(seen.groups)
    return report


def compare(reports: Sequence[HostReport]) -> None:
    """Compare what usable hosts render: a host that differs from most of them is refused, as by a run.

    Where they are even, what this machine renders itself decides. Fonts alone are a remark: they matter
    only to documents that lack some.
    """
    usable = [report for report in reports if report.state in _USABLE and report.canary]
    if not usable:
        return
    looks = {report.name: report.look for report in usable}
    own = LocalCanary(lambda event: None).look() if fingerprint.is_tied(looks.values()) else None
    rule = fingerprint.ruling(looks, own)
    for report in usable:
        why = fingerprint.difference(report.look, rule, do_fonts_matter=False)
        if why:
            report.state, report.reason, report.refusal = "refused", why, Refusal.PICTURE.value
        says = why or fingerprint.difference(report.look, rule, do_fonts_matter=True)
        report.checks = [
            Check("picture", not says, says) if check.name == "picture" else check
            for check in report.checks
        ]


def _usable(setup: HostSetup, hello: Hello) -> HostReport:
    host = Host(setup.plan, cores=max(1, hello.cores), others=hello.others)
    is_idle = setup.plan.ignores_load or host.others_per_core < setup.plan.idle_below
    busy = f"other people's load is {host.others_per_core:.2f} per core" + (
        "" if is_idle else f" (used below {setup.plan.idle_below:g})"
    )
    checks = [Check(name, True) for name in CHECKS[: CHECKS.index("san")]]
    checks += [Check("san", True, "" if setup.san is not None else "none: files travel by SFTP")]
    checks += [_space(hello), _clock(hello), Check("load", is_idle, busy), Check("picture", None)]
    state = HostState.IDLE if is_idle else HostState.BUSY
    return HostReport(setup.plan.name, state.value, "" if is_idle else busy, checks=checks)


def _space(hello: Hello) -> Check:
    free = f"{hello.temporary_free >> 20} MiB for temporary files"
    return Check("space", hello.temporary_free >= LITTLE_SPACE, free)


def _clock(hello: Hello) -> Check:
    if hello.clock is None:
        return Check("clock", None)
    skew = hello.clock - time.time()
    return Check("clock", abs(skew) < LARGE_SKEW, f"{skew:+.0f} s beside ours")
