"""Every fault of the matrix: nothing is lost, nothing is left, the run ends by itself, and resumes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import pdfs
from tests.faults.matrix import FAULTS, Fault
from tests.faults.night import Morning, Night
from tests.lab.plugin import FarmFactory

PAGES = 80


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages that take two hosts some seconds."""
    folder = tmp_path_factory.mktemp("document")
    return pdfs.write(folder / "big.pdf", pdfs.numbered(PAGES, 600.0, 800.0))


@pytest.fixture(scope="module")
def reference(document: Path) -> Path:
    """The same pages by plain Ghostscript."""
    folder = document.parent / "reference"
    folder.mkdir()
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r150"]
    subprocess.run([*command, f"-sOutputFile={folder}/page-%04d.png", str(document)], check=True)
    return folder


def _rows() -> list[object]:
    marks = {True: (), False: (pytest.mark.matrix,)}
    return [pytest.param(fault, id=fault.name, marks=marks[fault.is_fast]) for fault in FAULTS]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", _rows())
def test_nothing_is_lost(
    farm_factory: FarmFactory,
    document: Path,
    reference: Path,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    night = Night(farm_factory(fault.hosts), document, reference, fault.words)
    morning = _disturbed(night, fault)
    record_property("moved_on", round(morning.moved_on, 1))
    assert morning.code == fault.code, morning.stderr
    if fault.code != -9:
        night.check_pages(morning)
        _check_reason(morning, fault)
    night.check_hosts_are_free()
    if fault.code:
        _check_resumed(night)
    assert len(night.delivered()) == PAGES
    night.check_no_page_twice()
    assert night.again().code == 0


def _disturbed(night: Night, fault: Fault) -> Morning:
    if fault.after == 0:
        fault.breaks(night)
        night.start()
    else:
        night.start()
        night.await_pages(fault.after)
        fault.breaks(night)
    return night.finish()


def _check_reason(morning: Morning, fault: Fault) -> None:
    (host,) = [host for host in morning.summary["hosts"] if host["name"] == "node1"]
    assert fault.host_says in f"{host['state']} {host['reason']}"


def _check_resumed(night: Night) -> None:
    before = len(night.delivered())
    morning = night.again()
    assert morning.code == 0, morning.stderr
    night.check_pages(morning)
    assert sum(host["pages"] for host in morning.summary["hosts"]) <= PAGES - before
