"""The shared folder and the output: full, gone, hanging, lying."""

from __future__ import annotations

from pathlib import Path

from tests.faults.fault import (
    MANY,
    Fault,
    bad_sans,
    delivered_by,
    for_seconds,
    kill_connections,
    node,
    san_fails,
    san_goes_on,
    san_hangs,
)
from tests.faults.night import Morning, Night

READ_ONLY = dict.fromkeys(("write", "create", "mkdir", "unlink", "link", "rename"), "EROFS")
FULL = {"write": "ENOSPC"}
LATE = {"late": {"match": "*/work/p0*", "seconds": 3}}
PAUSES = "the job pauses, no failure is counted; it continues within seconds of the return"


def _another_folder(night: Night) -> None:
    """A folder of the SAN's name that is not the SAN, with the job's folder in it."""
    node(night).san("gone")
    (job,) = (path.name for path in night.farm.san.iterdir() if (path / "job.json").exists())
    node(night).exec("mkdir", "-p", f"/mnt/san/{job}/work", check=True)
    node(night).exec("chmod", "-R", "777", "/mnt/san", check=True)
    kill_connections(night)


def _small_output(night: Night) -> None:
    mount = f"mkdir {night.out} && mount -t tmpfs -o size=200k,mode=777 out {night.out}"
    night.farm._world.tools(mount)
    night.shown = Path(f"/proc/{night.farm._world.pid}/root{night.out}")


def _grow_output(night: Night) -> None:
    night.farm._world.tools(f"mount -o remount,size=400m {night.out}")


def _was_paused(night: Night, morning: Morning) -> None:
    assert "storage failed" in morning.stderr
    assert "storage works again" in morning.stderr


FAULTS = [
    Fault(
        "storage/full, then freed",
        PAUSES,
        prepares=bad_sans(hosts=2, desk=True),
        breaks=for_seconds(10, san_fails(FULL), san_fails({})),
        after=10,
        checks=_was_paused,
    ),
    Fault(
        "storage/read-only on one host",
        "its failures are the storage's; as the SAN is well seen from here, it is refused after three",
        prepares=bad_sans(hosts=1),
        breaks=san_fails(READ_ONLY),
        after=10,
        host_says="cannot write to the shared folder",
    ),
    Fault(
        "storage/read-only everywhere, then writable",
        PAUSES,
        prepares=bad_sans(hosts=2, desk=True),
        breaks=for_seconds(10, san_fails(READ_ONLY), san_fails({})),
        after=10,
        checks=_was_paused,
    ),
    Fault(
        "storage/unmounted on one host",
        "its output is not used; its pages are rendered elsewhere",
        breaks=lambda n: node(n).san("gone"),
        after=10,
    ),
    Fault(
        "storage/not there from the start",
        "refused with that reason",
        breaks=lambda n: node(n).san("gone"),
        host_says="shared folder",
    ),
    Fault(
        "storage/another folder of the name",
        "refused: it does not hold the word that we wrote into the job's folder",
        breaks=_another_folder,
        after=10,
        pages=MANY,
        host_says="shared folder",
    ),
    Fault(
        "storage/hangs on one host",
        "the host says so after 10 s and is left; its pages go elsewhere; tried again later",
        prepares=bad_sans(hosts=1),
        breaks=san_hangs,
        after=10,
        pages=MANY,
        host_says="does not answer",
        checks=lambda night, morning: san_goes_on(night),
    ),
    Fault(
        "storage/hangs on one host from the start",
        "the host says so after 10 s and is left",
        prepares=bad_sans(hosts=1),
        breaks=san_hangs,
        pages=MANY,
        host_says="does not answer",
        checks=lambda night, morning: san_goes_on(night),
    ),
    Fault(
        "storage/hangs here, then answers",
        f"seen after 10 s; {PAUSES}",
        prepares=bad_sans(desk=True),
        breaks=for_seconds(20, san_hangs, san_goes_on),
        after=10,
        checks=_was_paused,
    ),
    Fault(
        "storage/hangs everywhere, then answers",
        f"seen after 10 s; {PAUSES}",
        prepares=bad_sans(hosts=2, desk=True),
        breaks=for_seconds(20, san_hangs, san_goes_on),
        after=10,
    ),
    Fault(
        "storage/files appear late",
        "waited for, up to 70 s: the page is there, only not yet seen",
        prepares=bad_sans(desk=True),
        breaks=san_fails(LATE),
        checks=delivered_by("node1"),
    ),
    Fault(
        "storage/fsync fails on one host",
        "a page that may not be safe is not reported; the host is refused after three",
        prepares=bad_sans(hosts=1),
        breaks=san_fails({"fsync": "EIO"}),
        after=10,
        host_says="cannot write to the shared folder",
    ),
    Fault(
        "storage/fsync fails here, then works",
        PAUSES,
        prepares=bad_sans(desk=True),
        breaks=for_seconds(10, san_fails({"fsync": "EIO"}), san_fails({})),
        after=10,
        checks=_was_paused,
    ),
    Fault(
        "storage/rename reports an error though it worked",
        "nothing: one looks again",
        prepares=bad_sans(hosts=2, desk=True),
        breaks=san_fails({"renamed": "EIO"}),
        checks=delivered_by("node1"),
    ),
    Fault(
        "storage/output disk full, then freed",
        PAUSES,
        prepares=_small_output,
        breaks=for_seconds(8, lambda n: None, _grow_output),
        after=5,
        checks=_was_paused,
    ),
]
