"""The network between coordinator and hosts."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.fault import (
    FEWEST,
    MANY,
    Deed,
    Fault,
    delivered_by,
    for_seconds,
    kill_connections,
    node,
)
from tests.faults.night import Night

RELAY = Path(__file__).parents[1] / "relay.py"
SLOW = 'tc qdisc add dev "$1" root tbf rate 64kbit burst 4kb latency 400ms'
LOSSY = "-m statistic --mode random --probability 0.3 -j DROP"


def _iptables(*rules: str) -> Deed:
    return lambda night: node(night)._iptables(*rules)


def _cut(night: Night) -> None:
    node(night).cut()


def _heal(night: Night) -> None:
    node(night).heal()


def _ssh_config(text: str) -> Deed:
    """What ssh_config says before what it says for the farm."""

    def do(night: Night) -> None:
        path = night.farm.root / "ssh_config_first"
        path.write_text(text + night.farm.ssh_config.read_text())
        night.words += ["--ssh-config", str(path)]

    return do


FAULTS = [
    Fault(
        "wire/cable pulled",
        "lost after 8 s of silence; its pages go elsewhere; its runner kills all within 8 s as well",
        breaks=_cut,
        after=10,
        host_says="no message for",
    ),
    Fault(
        "wire/cable pulled and put back",
        "lost after 8 s of silence, connected again when it is back",
        breaks=for_seconds(12, _cut, _heal),
        after=10,
    ),
    Fault(
        "wire/cable loose for two seconds",
        "nothing: TCP sends again",
        breaks=for_seconds(2, _cut, _heal),
        after=10,
    ),
    Fault(
        "wire/what it sends is lost",
        "half open: lost after 8 s of silence, at either end",
        breaks=_iptables("-I OUTPUT -o eth0 -j DROP"),
        after=10,
    ),
    Fault(
        "wire/what we send is lost",
        "half open: lost after 8 s of silence, at either end",
        breaks=_iptables("-I INPUT -i eth0 -j DROP"),
        after=10,
    ),
    Fault(
        "wire/30 % loss",
        "slow there: the host gets what it can take; lost if it falls silent",
        breaks=_iptables(f"-I INPUT -i eth0 {LOSSY}"),
        after=5,
    ),
    Fault(
        "wire/200 ms delay",
        "nothing: a second's work is queued on each host",
        prepares=_ssh_config(f"Host node*\n  ProxyCommand {sys.executable} {RELAY} %h %p 0.1\n"),
        pages=MANY,
        checks=delivered_by("node1", 30),
    ),
    Fault(
        "wire/64 kbit a second",
        "nothing but slowness there: pages travel over the SAN",
        breaks=lambda n: n.farm._world.tools(SLOW, "veth1"),
        after=5,
    ),
    Fault(
        "wire/sshd restarted",
        "nothing: sessions live on",
        breaks=lambda n: node(n).sshd_config(MaxSessions="9"),
        after=10,
        pages=FEWEST,
        is_fast=True,
    ),
    Fault(
        "wire/connection closed",
        "lost at once, its runner ends; connected again after 3 s",
        breaks=kill_connections,
        after=10,
    ),
    Fault(
        "wire/jump host dies",
        "the hosts behind it are lost at once; the others go on",
        prepares=_ssh_config("Host node1\n  ProxyJump node3\n"),
        breaks=lambda n: n.farm["node3"].crash(),
        after=10,
        hosts=3,
        words=("--on", "node[1-2]"),
        host_says="lost",
    ),
]
