"""Every fault of the matrix: nothing is lost, nothing is left, the run ends by itself, and resumes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import pdfs
from tests.faults.fault import Fault
from tests.faults.night import Morning, Night
from tests.faults.rows import FAULTS
from tests.lab.plugin import FarmFactory
from tests.plain import SMOOTHED

KNOWS_ITS_PAGES = frozenset({0, 3, 129, 130, 143})
"""Exit codes of a run that saw its own end: the others died, or found another at work."""


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Path, Path]]:
    """So many pages, and the same (or more) by plain Ghostscript: (PDF, folder)."""
    folder = tmp_path_factory.mktemp("documents")
    made: dict[int, tuple[Path, Path]] = {}

    def get(pages: int) -> tuple[Path, Path]:
        if pages not in made:
            document = pdfs.write(folder / f"big{pages}.pdf", pdfs.numbered(pages, 600.0, 800.0))
            made[pages] = document, _reference(document)
        return made[pages]

    return get


def _reference(document: Path) -> Path:
    folder = document.with_suffix("")
    folder.mkdir()
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r150", *SMOOTHED]
    subprocess.run([*command, f"-sOutputFile={folder}/page-%04d.png", str(document)], check=True)
    return folder


def _rows() -> list[object]:
    marks = {True: (), False: (pytest.mark.matrix,)}
    return [pytest.param(fault, id=fault.name, marks=marks[fault.is_fast]) for fault in FAULTS]


@pytest.mark.timeout(500)
@pytest.mark.parametrize("fault", _rows())
def test_nothing_is_lost(
    farm_factory: FarmFactory,
    documents: Callable[[int], tuple[Path, Path]],
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    document, reference = documents(fault.pages)
    farm = farm_factory(fault.hosts)
    night = Night(farm, document, reference, fault.words, fault.inventory, fault.pages)
    morning = _disturbed(night, fault)
    assert fault.code in (None, morning.code), morning.stderr
    fault.checks(night, morning)
    night.check_files()
    if fault.code in KNOWS_ITS_PAGES:
        night.check_account(morning)
        _check_reason(morning, fault)
    night.check_hosts_are_free()
    if not night.is_complete():
        assert fault.code != 0
        morning = _resumed(night)
    record_property("moved_on", round(morning.moved_on, 1))
    assert night.is_complete()
    night.check_no_page_twice()
    assert night.again().code == 0


def _disturbed(night: Night, fault: Fault) -> Morning:
    fault.prepares(night)
    if fault.after == 0:
        fault.breaks(night)
        night.start()
    else:
        night.start()
        night.await_pages(fault.after)
        night.marks["broken"] = time.time()
        fault.breaks(night)
    return night.finish()


def _check_reason(morning: Morning, fault: Fault) -> None:
    (host,) = [host for host in morning.summary["hosts"] if host["name"] == "node1"]
    assert fault.host_says in f"{host['state']} {host['reason']}"


def _resumed(night: Night) -> Morning:
    missing = night.missing()
    morning = night.again()
    assert morning.code == 0, morning.stderr
    night.check_files()
    night.check_account(morning)
    assert sum(host["pages"] for host in morning.summary["hosts"]) <= missing
    return morning
