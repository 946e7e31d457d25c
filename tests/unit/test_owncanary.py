"""What this machine renders itself, as a run and `hosts` use it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from sshrender.coordinator.hosts import hostcheck
from sshrender.coordinator.hosts.hostcheck import Check, HostReport
from sshrender.coordinator.workers import localcanary
from sshrender.coordinator.workers.localcanary import LocalCanary
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint, combined, difference
from sshrender.renderers import ghostscript
from sshrender.renderers.encoders import png
from sshrender.renderers.encoders.raster import Raster
from sshrender.runner import handshake
from sshrender.runner.host import fingerprint, hostfacts, processlimits
from sshrender.runner.host.loadmeasurement import LoadMeter
from sshrender.runner.wire import Wire
from tests.plain import SMOOTHED

ENVIRON = processlimits.environment(dict(os.environ))


def test_this_machine_renders_the_canary_page_as_a_runner_here_does() -> None:
    found = fingerprint.run_ghostscript("gs", ENVIRON, blank=("png16m", "150"))
    version = hostfacts.ghostscript_version("gs")
    assert found.canary
    assert LocalCanary(lambda event: None).fingerprint() == HostFingerprint(version or "", found.canary)


@pytest.mark.parametrize(
    ("device", "dpi"), [("png16m", "150"), ("pnggray", "72.5"), ("pngmono", "204x98")]
)
def test_the_blank_page_after_the_canary_is_that_of_a_renderer_of_its_own(
    device: str, dpi: str, tmp_path: Path
) -> None:
    found = fingerprint.run_ghostscript("gs", ENVIRON, blank=(device, dpi))
    words = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", f"-r{dpi}"]
    words += [*SMOOTHED, "-sOutputFile=blank.png", "-c", "<< /PageSize [9 9] >> setpagedevice showpage"]
    subprocess.run(words, cwd=tmp_path, check=True)
    expected = png.chunks_before_pixels((tmp_path / "blank.png").read_bytes())
    assert png.chunks_before_pixels(found.blank) == expected
    assert b"pHYs" in expected


def test_what_is_known_of_a_blank_page_is_used_for_the_same_renderer_alone() -> None:
    blank = png.beginning(Raster(9, 9, 3, 8, 0), png.chunk(b"pHYs", b"known")) + png.chunk(b"IDAT", b"")
    host = handshake.HandshakeFacts(Wire(1, "m"), {}, LoadMeter())
    host._blank, host._blank_page = ("png16m", "150"), blank
    same = ghostscript.Setup("gs", "png16m", "150", "source.pdf", "work", "", (*SMOOTHED,), "tag")
    assert host.chunks(same) == png.chunk(b"pHYs", b"known")
    assert host.chunks(same._replace(dpi="300")) is None
    assert host.chunks(same._replace(device="pnggray")) is None
    assert host.chunks(same._replace(options=("-dRenderIntent=1",))) is None
    assert host.chunks(same._replace(profile=("printer.icc", "profile.icc"))) is None
    host._blank_page = b""
    assert host.chunks(same) is None, "the renderer wrote none"


def test_a_job_of_mutool_is_compared_by_what_mutool_renders() -> None:
    """And one that falls back to Ghostscript by both."""
    digest = fingerprint.mutool_digest(ENVIRON)
    version = f"mutool {hostfacts.mutool_version()}"
    assert digest
    mutool = HostFingerprint(version, digest)
    own = LocalCanary(lambda event: None, with_ghostscript=False, with_mutool=True).fingerprint()
    assert own == mutool
    ghostscript = HostFingerprint("10.00.0", "a" * 64, "fonts", (("urw", 3),))
    both = combined(ghostscript, mutool)
    assert both.ghostscript == f"10.00.0 and {version}"
    assert both._replace(ghostscript="", canary="") == ghostscript._replace(ghostscript="", canary="")
    assert both.canary not in ("", mutool.canary, ghostscript.canary)
    assert combined(ghostscript, mutool._replace(canary="")).canary == ""
    assert combined(None, None) == HostFingerprint()
    other = difference(mutool._replace(ghostscript="mutool 1.0"), mutool, do_fonts_matter=False)
    assert other == f"it has mutool 1.0, the other hosts have {version}"
    other = difference(mutool._replace(canary="b" * 64), mutool, do_fonts_matter=False)
    assert other.endswith("its mutool is another build")


def test_a_canary_that_hangs_is_ended_with_the_run_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = tmp_path / "began"
    program = tmp_path / "gs"
    script = f'#!/bin/sh\ncase "$*" in --version) echo 10.00.0;; *) : > {began}; exec sleep 99;; esac\n'
    program.write_text(script)
    program.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(localcanary, "PROGRAM", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    heard: list[ev.CanaryRendered] = []
    canary = LocalCanary(heard.append)
    canary.begin()
    while not began.exists():
        time.sleep(0.01)
    assert list(scratch.iterdir())
    canary.stop()
    while not heard:
        time.sleep(0.01)
    assert heard == [ev.CanaryRendered(None)]
    assert list(scratch.iterdir()) == []


def test_without_ghostscript_here_there_is_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localcanary, "PROGRAM", "no-such-ghostscript")
    assert LocalCanary(lambda event: None).fingerprint() is None


@pytest.mark.parametrize("own", ["a", "b"])
def test_of_two_hosts_that_differ_hosts_refuses_the_one_that_this_machine_disagrees_with(
    monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    monkeypatch.setattr(LocalCanary, "fingerprint", lambda self: HostFingerprint("10.00.0", own))
    reports = [
        HostReport(name, "idle", checks=[Check("picture", None)], ghostscript="10.00.0", canary=name)
        for name in ("a", "b")
    ]
    hostcheck.compare(reports)
    assert {report.name: report.state for report in reports} == {
        own: "idle",
        "b" if own == "a" else "a": "refused",
    }
