"""Every device draws what is expected of it, as a slot has it drawn and a coordinator proves it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sshrender.job.verification.verify import Expected, verify
from sshrender.renderers import ghostscript
from sshrender.renderers.devices import DEVICES, Device, colour_space
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.rendering.warmsession import Session
from tests import pdfs

DPI = 36

CRASH = ("psdrgb16", "psdcmyk16")
"""Ghostscript 10.00 dies of signal 11 where these are to make a page smaller."""


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES.keys())
def test_a_device_draws_pages_that_are_proved(tmp_path: Path, device: Device) -> None:
    (tmp_path / "work").mkdir()
    pdfs.write(tmp_path / "two.pdf", pdfs.numbered(2))
    name = f"page-%d.{device.extension}"
    setup = ghostscript.Setup("gs", device.name, str(DPI), "two.pdf", "work", name, (), "test")
    session = Session(setup, ProcessSetup(str(tmp_path), dict(os.environ), 1 << 30))
    try:
        assert session.open(60).value == "2"
        for number in (1, 2):
            session.tell(number)
            shown, box = ghostscript.parse_page_answer(session.answer(60).value)[:2]
            assert box is not None
            picture = verify(tmp_path / "work" / (name % (shown + 1)), Expected(device, DPI, box))
            assert picture.bytes > 0
    finally:
        session.close()


def test_the_table_of_devices_says_what_ghostscript_says(tmp_path: Path) -> None:
    """Which devices can make a page smaller, and in which colours they render."""
    line = (
        "(%s) = mark (%s) cvn finddevice getdeviceprops .dicttomark dup /DownScaleFactor known ="
        " dup /ProcessColorModel known { /ProcessColorModel get } { pop null } ifelse ="
    )
    (tmp_path / "ask.ps").write_text("\n".join(line % (name, name) for name in DEVICES))
    words = ["gs", "-q", "-dNODISPLAY", "-dBATCH", "ask.ps"]
    answer = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
    lines = answer.stdout.split()
    found = {name: (one, other) for name, one, other in zip(*[iter(lines)] * 3, strict=True)}
    assert found.keys() == DEVICES.keys()
    for name, (can_downscale, colours) in found.items():
        is_able = can_downscale == "true" and name not in CRASH
        assert is_able == DEVICES[name].can_downscale, name
        assert colour_space(name) in ("", colours.removeprefix("Device").upper()), name


@pytest.mark.parametrize("name", [name for name, device in DEVICES.items() if device.can_downscale])
def test_a_page_that_a_device_makes_smaller_is_verified(tmp_path: Path, name: str) -> None:
    document, device = pdfs.write(tmp_path / "one.pdf", pdfs.numbered(1)), DEVICES[name]
    words = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={name}", f"-r{DPI}"]
    words += ["-dDownScaleFactor=3", f"-sOutputFile={tmp_path}/made%d", str(document)]
    subprocess.run(words, check=True)
    expected = Expected(device, DPI, (200, 100), downscale=3)
    assert verify(tmp_path / "made1", expected).width in (33, 34)
