"""The people whose machines these are."""

from __future__ import annotations

import time

from tests.faults.fault import MANY, Fault, delivered_by, node
from tests.faults.night import Morning, Night
from tests.lab.slow import pace

WORK = "for i in 1 2 3; do nice -n 19 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo $!; done"
YIELD_TIMEOUT = 8.0
"""Seconds: a heartbeat, the smoothing of scans (loadmeasurement.py), and the grace of a page."""


def _work(night: Night) -> None:
    """Somebody starts three programs that compute, at the lowest priority: it is his machine."""
    node(night).exec("bash", "-c", f"({WORK}) >/tmp/owner", check=True)
    night.marks["came"] = time.time()
    time.sleep(12)


def _come_and_go(night: Night) -> None:
    _work(night)
    node(night).exec("bash", "-c", "kill -KILL $(cat /tmp/owner)", check=True)
    night.marks["went"] = time.time()


def _yielded(night: Night, morning: Morning) -> None:
    busy = [e for e in night.journal() if e["type"] == "host_state" and e["state"] == "busy"]
    assert busy
    assert night.seconds_of(busy[0]) - night.marks["came"] < YIELD_TIMEOUT
    delivered = [e for e in night.journal() if e["type"] == "page_delivered" and e["host"] == "node1"]
    came, went = night.marks["came"], night.marks.get("went", float("inf"))
    late = [e for e in delivered if came + YIELD_TIMEOUT < night.seconds_of(e) < went]
    assert late == []


def _came_back(night: Night, morning: Morning) -> None:
    _yielded(night, morning)
    delivered = [e for e in night.journal() if e["type"] == "page_delivered" and e["host"] == "node1"]
    assert any(night.seconds_of(e) > night.marks["went"] for e in delivered)


FAULTS = [
    Fault(
        "owner/returns and leaves again",
        "seen within seconds: takes no more pages, hands back what waits, gets 2 s for what runs; "
        "used again when it is idle",
        # The job lasts until the owner has left, and a while longer.
        prepares=lambda n: pace(n.farm.hosts, 0.15),
        breaks=_come_and_go,
        after=10,
        pages=MANY,
        checks=_came_back,
    ),
    Fault(
        "owner/returns and stays",
        "the others do the rest",
        breaks=lambda n: node(n).load(8.0),
        after=10,
        pages=MANY,
        host_says="load",
        checks=delivered_by("node2", 100),
    ),
]
