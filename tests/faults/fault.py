"""What a row of the matrix is, and the deeds that several rows share."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.night import Morning, Night

FEWEST, FEW, MANY = 24, 80, 500
"""Pages of a job: a second for two hosts, some seconds, and half a minute."""

Deed = Callable[[Night], object]
Check = Callable[[Night, Morning], object]


@dataclass(frozen=True)
class Fault:
    """``after`` pages (0: before the run begins) ``breaks`` is done; the run must end with ``code``.

    ``then`` is what happens, in words, for docs/faults.md. ``prepares`` comes before all else.
    ``host_says`` must stand in node1's state or reason in the end. ``is_fast``: part of ``make test``.
    ``code`` None: the process could not say. ``checks``: what else must be true.
    """

    name: str
    then: str
    breaks: Deed = lambda night: None
    after: int = 0
    code: int | None = 0
    host_says: str = ""
    prepares: Deed = lambda night: None
    checks: Check = lambda night, morning: None
    words: tuple[str, ...] = ()
    hosts: int = 2
    pages: int = FEW
    is_fast: bool = False
    inventory: Mapping[str, Any] = field(default_factory=dict)


def node(night: Night) -> Any:
    """The host that things happen to; the other one is well."""
    return night.farm["node1"]


def every(deed: Callable[[Any], object]) -> Deed:
    """The same on every host."""

    def do(night: Night) -> None:
        for host in night.farm.hosts:
            deed(host)

    return do


def shell(script: str) -> Deed:
    """A script on node1, as root."""
    return lambda night: node(night).exec("bash", "-c", script, check=True)


def for_seconds(seconds: float, begin: Deed, end: Deed) -> Deed:
    """One deed, and after some time the other that ends it."""

    def do(night: Night) -> None:
        begin(night)
        time.sleep(seconds)
        end(night)

    return do


def send(number: signal.Signals, times: int = 1) -> Deed:
    """A signal to the coordinator."""

    def do(night: Night) -> None:
        assert night.process is not None
        for _ in range(times):
            night.process.send_signal(number)
            time.sleep(0.2)

    return do


def kill_connections(night: Night) -> None:
    """The session's sshd processes die; the one that listens does not."""
    node(night).exec("bash", "-c", "pkill -KILL -f 'sshd: artist'")


def bad_sans(*, hosts: int = 0, desk: bool = False) -> Deed:
    """SANs that can fail by name, for the first so many hosts and the desk; see ``san_fails``."""

    def do(night: Night) -> None:
        night.sans = night.farm.bad_sans(*night.farm.hosts[:hosts], desk=desk)

    return do


def san_fails(faults: Mapping[str, Any]) -> Deed:
    """From now on the bad SANs fail so."""

    def do(night: Night) -> None:
        for san in night.sans:
            san.fail(faults)

    return do


def san_hangs(night: Night) -> None:
    """From now on every access to the bad SANs hangs."""
    for san in night.sans:
        san.hang()


def san_goes_on(night: Night) -> None:
    """The servers are back."""
    for san in night.sans:
        san.go_on()


def delivered_by(host: str, at_least: int = 1) -> Check:
    """This host must have delivered so many pages."""

    def check(night: Night, morning: Morning) -> None:
        pages = {each["name"]: each["pages"] for each in morning.summary["hosts"]}
        assert pages[host] >= at_least, pages

    return check


def second(night: Night) -> subprocess.Popen[str]:
    """Start the same command once more, beside the first."""
    process = night.spawn()
    night.rivals.append(process)
    return process
