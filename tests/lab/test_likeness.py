"""The same picture from every host: others are refused with the reason, unless that is allowed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.plugin import FarmFactory
from tests.lab.slow import GATE, gated, open_gate_after

PROGRAM = [sys.executable, "-m", "sshrender"]
URW = "/usr/share/fonts/type1/urw-base35"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Twenty pages that ask for Helvetica; ``paced`` hosts take longer than the comparison."""
    return pdfs.write(tmp_path / "text.pdf", pdfs.numbered(20))


@pytest.fixture
def paced(farm_factory: FarmFactory) -> FarmFactory:
    """Make a farm whose hosts take their time for each page, and wait in the middle of a job."""

    def make(hosts: int = 2, **options: Any) -> Farm:
        farm = farm_factory(hosts, **options)
        open_gate_after(farm.hosts, 0.4, 4, GATE)
        return farm

    return make


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """Twenty pages without a font."""
    pages = [pdfs.PdfPage(content=f"1 0 0 rg {number} 10 40 40 re f".encode()) for number in range(20)]
    return pdfs.write(tmp_path / "drawing.pdf", pages)


def _render(farm: Farm, document: Path, *words: str, **states: str) -> tuple[int, dict[str, Any], str]:
    """Render a document. ``states``: of hosts, each reached before the job may end."""
    inventory = farm.write_inventory()
    command = [*PROGRAM, "render", str(document), "--hosts", str(inventory), "-r", "72", "--json"]
    with gated(farm, **states):
        answer = farm.run([*command, "-o", str(farm.root / "out"), *words])
    assert "Traceback" not in answer.stderr
    return answer.returncode, json.loads(answer.stdout or "{}"), answer.stderr


def _host(summary: dict[str, Any], name: str) -> dict[str, Any]:
    (host,) = [host for host in summary["hosts"] if host["name"] == name]
    assert isinstance(host, dict)
    return host


def _without_fonts(host: Host) -> None:
    host.remove(URW)


def _with_another_font(host: Host) -> None:
    host.exec("mkdir", "-p", "/usr/local/share/fonts/house", check=True)
    source = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
    host.exec("cp", source, "/usr/local/share/fonts/house/House.ttf", check=True)


def _with_another_ghostscript(host: Host) -> None:
    host.exec("mv", "/usr/local/bin/gs", "/usr/local/bin/paced-gs", check=True)
    script = (
        '#!/bin/sh\ncase "$*" in --version) echo 10.03.1;; *) exec /usr/local/bin/paced-gs "$@";; esac\n'
    )
    host.install("/usr/local/bin/gs", script)


def test_a_host_with_another_font_set_is_refused_and_named(paced: FarmFactory, text: Path) -> None:
    farm = paced(3)
    _without_fonts(farm["node3"])
    code, summary, stderr = _render(farm, text, node3="refused")
    assert code == 0, stderr
    odd = _host(summary, "node3")
    assert (odd["state"], odd["pages"]) == ("refused", 0)
    assert "renders the test page differently" in odd["reason"]
    assert "urw-base35" in odd["reason"]
    assert "node3 refused" in stderr
    asked = farm.run([*PROGRAM, "hosts", "--hosts", str(farm.root / "hosts.toml")])
    assert "renders the test page differently" in asked.stdout


def test_mixed_pictures_are_allowed_on_demand_and_the_manifest_says_who_drew_what(
    paced: FarmFactory, text: Path
) -> None:
    farm = paced(3)
    _with_another_ghostscript(farm["node3"])
    pins = ("--pin", "5=node1", "--pin", "6=node3")
    code, summary, stderr = _render(farm, text, "--mixed", *pins, node3="sent")
    assert code == 0, stderr
    assert _host(summary, "node3")["pages"] > 0
    manifest = json.loads((Path(farm.san) / summary["job"] / "manifest.json").read_text())
    assert manifest["hosts"]["node3"]["ghostscript"] == "10.03.1"
    drawn = {page["host"]: page["ghostscript"] for page in manifest["pages"]}
    assert drawn["node3"] == "10.03.1"
    assert drawn["node1"] != "10.03.1"


def test_another_ghostscript_is_refused(paced: FarmFactory, text: Path) -> None:
    farm = paced(3)
    _with_another_ghostscript(farm["node2"])
    code, summary, _ = _render(farm, text, node2="refused")
    assert code == 0
    odd = _host(summary, "node2")
    assert odd["state"] == "refused"
    assert "it has Ghostscript 10.03.1, the other hosts have" in odd["reason"]


def test_other_fonts_matter_only_to_a_document_that_lacks_some(
    paced: FarmFactory, text: Path, drawing: Path
) -> None:
    farm = paced(3)
    _with_another_font(farm["node1"])
    code, summary, _ = _render(farm, text, node1="refused")
    assert code == 0
    odd = _host(summary, "node1")
    assert odd["state"] == "refused"
    assert "1 of house" in odd["reason"]
    assert summary["fonts_missing"] == [{"font": "Helvetica", "pages": "1-20"}]
    code, summary, stderr = _render(farm, drawing, "--pin", "1=node1", "-o", str(farm.root / "drawing"))
    assert code == 0, stderr
    assert _host(summary, "node1")["pages"] >= 1
    assert summary["fonts_missing"] == []


def _greets_late(host: Host, seconds: float) -> None:
    script = f'#!/bin/sh\nsleep {seconds:g}\nexec /usr/bin/python3 "$@"\n'
    host.install("/usr/local/bin/python3", script)


def _without_page_7(farm: Farm, job: str) -> None:
    for folder in (farm.san / job / "pages", farm.root / "out"):
        (folder / "page-0007.png").unlink()


def _rendered_by(farm: Farm, job: str) -> set[tuple[str, str]]:
    manifest = json.loads((Path(farm.san) / job / "manifest.json").read_text())
    return {(page["host"], page["ghostscript"]) for page in manifest["pages"]}


def test_a_resumed_job_keeps_its_reference_while_a_host_agrees_with_it(
    paced: FarmFactory, text: Path
) -> None:
    farm = paced(2)
    _with_another_ghostscript(farm["node2"])
    _, summary, _ = _render(farm, text, "--on", "node1")
    _without_page_7(farm, summary["job"])
    code, summary, _ = _render(farm, text, node2="refused")
    assert code == 0
    assert "the other hosts have 10.0" in _host(summary, "node2")["reason"]
    assert {host for host, _ in _rendered_by(farm, summary["job"])} == {"node1"}


def test_a_reference_that_no_host_agrees_with_any_more_is_dropped_and_all_pages_rendered_anew(
    paced: FarmFactory, text: Path
) -> None:
    """The first run was of one liar, or of a machine that was upgraded since."""
    farm = paced(3)
    _with_another_ghostscript(farm["node1"])
    _, summary, _ = _render(farm, text, "--on", "node1")
    _without_page_7(farm, summary["job"])
    code, summary, stderr = _render(farm, text, "--on", "node2,node3")
    assert code == 0, stderr
    by = _rendered_by(farm, summary["job"])
    assert {host for host, _ in by} <= {"node2", "node3"}
    assert "10.03.1" not in {version for _, version in by}
    assert summary["pages"]["done"] == 20


def test_three_hosts_that_greet_late_are_not_refused_for_the_one_that_was_first(
    paced: FarmFactory, text: Path
) -> None:
    """A nearer machine with a newer Ghostscript, or a liar: what it delivered is rendered again."""
    farm = paced(4)
    _with_another_ghostscript(farm["node1"])
    for name in ("node2", "node3", "node4"):
        _greets_late(farm[name], 2.5)
    late = dict.fromkeys(("node2", "node3", "node4"), "idle")
    code, summary, stderr = _render(farm, text, node1="refused", **late)
    assert code == 0, stderr
    odd = _host(summary, "node1")
    assert (odd["state"], odd["pages"]) == ("refused", 0)
    assert all(_host(summary, f"node{n}")["state"] == "idle" for n in (2, 3, 4))
    by = _rendered_by(farm, summary["job"])
    assert "node1" not in {host for host, _ in by}
    told = farm.run(
        [*PROGRAM, "why", summary["job"], "--hosts", str(farm.root / "hosts.toml"), "--page", "1"]
    )
    assert "Traceback" not in told.stderr
    delivered = sorted((farm.root / "out").glob("page-*"))
    published = sorted((farm.san / summary["job"] / "pages").glob("page-*"))
    assert [path.read_bytes() for path in delivered] == [path.read_bytes() for path in published]


def test_pages_with_fonts_that_are_not_embedded_are_named(farm: Farm, text: Path) -> None:
    code, summary, stderr = _render(farm, text)
    assert code == 0
    assert "font not in the PDF, replaced: Helvetica (pages 1-20)" in stderr
    inventory = str(farm.root / "hosts.toml")
    told = farm.run([*PROGRAM, "why", summary["job"], "--page", "3", "--hosts", inventory]).stdout
    assert "Helvetica" in told
    manifest = json.loads((Path(farm.san) / summary["job"] / "manifest.json").read_text())
    assert manifest["fonts_missing"] == [{"font": "Helvetica", "pages": "1-20"}]
