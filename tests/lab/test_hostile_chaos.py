"""Random faults, and one host of the farm that attacks: jobs end well, and no coordinator suffers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from sshrender.job.folder import JobFolder
from tests.faults.hostile_at_random import attack_at_random
from tests.lab.farm import Farm
from tests.lab.office import Job, check_epochs
from tests.lab.ordeal import AFTERWARDS, LONG, SEED, SLOTS, Ended, Length, Ordeal, inventory
from tests.lab.plugin import FarmFactory
from tests.lab.vitals import Vitals
from tests.plain import SMOOTHED

EVIL = "node7"
MEMORY = 300 << 20
"""Bytes that one job's coordinator may take with all of its children (issue 13)."""

SILENCE = 5.0
"""Seconds between two heartbeats at most: one is due every 2 s, and two cores run all machines of the
lab. After 6 s a coordinator must not trust its lease any more (job/lease.py)."""


def _endure(farm: Farm, length: Length) -> None:
    secret = farm.root / "secret"
    secret.write_text("only the coordinator may read this\n" * 100)
    secret.chmod(0o600)
    hosts = inventory(farm, {**SLOTS, EVIL: 2})
    attack_at_random(farm[EVIL], SEED, str(secret))
    honest = [host for host in farm.hosts if host.name != EVIL]
    ordeal = Ordeal(farm, hosts, honest, length)
    vitals = Vitals(ordeal.coordinators, lambda: list(farm.san.glob("*/lease")))
    ended = ordeal.run(beside=vitals)
    print(
        f"{sum(_attacked(job) for job in ended.jobs)} pages were sent to the hostile host;"
        f" heartbeats: {len(vitals.gaps)}, longest gap {max(vitals.gaps):.1f} s;"
        f" a coordinator took at most {vitals.most_memory >> 20} MiB"
    )
    _check(farm, ended)
    assert any(_attacked(job) for job in ended.jobs), "the hostile host was never asked for a page"
    assert vitals.most_memory < MEMORY
    assert max(vitals.gaps) < SILENCE


def _check(farm: Farm, ended: Ended) -> None:
    assert "Traceback" not in ended.said, ended.said
    assert not set(ended.said) & set("\x1b\x07\x9b\u202e")
    for job in ended.jobs:
        _check_job(job, farm)
    most = ended.census.most
    assert {name: count for name, count in most.items() if count > SLOTS[name]} == {}


def _check_job(job: Job, farm: Farm) -> None:
    """Every page is delivered as plain Ghostscript renders it, or failed with a reason."""
    pages = job.status["pages"]
    failed = {each["page"]: each for each in job.status["failed_pages"]}
    assert job.status["state"] == ("partial" if failed else "done"), job.status
    assert pages["done"] + pages["suspect"] + len(failed) == pages["total"], job.status
    assert pages["missing"] == 0
    assert all(each["reason"] for each in failed.values())
    output = farm.san / Path(job.status["output"]).relative_to(farm.san_inside)
    _check_folder(job.folder, output, _rendered_plainly(job, farm), set(failed))
    check_epochs(job)


def _check_folder(folder: JobFolder, output: Path, reference: dict[str, Path], failed: set[int]) -> None:
    wanted = {name for number, name in enumerate(sorted(reference), 1) if number not in failed}
    for place in (folder.pages, output):
        found = {path.name: path for path in place.iterdir() if not path.name.startswith(".")}
        assert found.keys() == wanted, place
        for name, path in found.items():
            assert path.is_file(), path
            assert not path.is_symlink(), path
            assert _pixels(path) == _pixels(reference[name]), path


def _rendered_plainly(job: Job, farm: Farm) -> dict[str, Path]:
    place = farm.root / "reference" / job.folder.name
    place.mkdir(parents=True)
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r30", *SMOOTHED]
    target = str(place / "page-%04d.png")
    subprocess.run([*command, "-o", target, str(job.folder.source)], check=True)
    return {path.name: path for path in place.iterdir()}


def _pixels(path: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(path) as image:
        return image.size, image.convert("RGB").tobytes()


def _attacked(job: Job) -> int:
    return sum(entry["host"] == EVIL for entry in job.of("page_sent"))


@pytest.mark.matrix
@pytest.mark.timeout(3 * LONG + AFTERWARDS + 300)
def test_ten_minutes_of_chaos_with_a_hostile_host_spoil_nothing(farm_factory: FarmFactory) -> None:
    _endure(farm_factory(7), Length(seconds=LONG, pages=int(0.75 * LONG), most_between=8.0))
