"""Every device draws what is expected of it, as a slot has it drawn and a coordinator proves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sshrender.job.verification.verify import Expected, verify
from sshrender.renderers import ghostscript
from sshrender.renderers.devices import DEVICES, Device
from sshrender.runner.warmsession import Session
from tests import pdfs

DPI = 36


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES.keys())
def test_a_device_draws_pages_that_are_proved(tmp_path: Path, device: Device) -> None:
    (tmp_path / "work").mkdir()
    pdfs.write(tmp_path / "two.pdf", pdfs.numbered(2))
    name = f"page-%d.{device.extension}"
    setup = ghostscript.Setup("gs", device.name, str(DPI), "two.pdf", "work", name, (), "test")
    session = Session(setup, str(tmp_path), "sshrender-token", 1 << 30, dict(os.environ))
    try:
        assert session.open(60).value == "2"
        for number in (1, 2):
            session.tell(number)
            shown, box = ghostscript.parse_page_answer(session.answer(60).value)
            assert box is not None
            picture = verify(tmp_path / "work" / (name % (shown + 1)), Expected(device, DPI, box))
            assert picture.bytes > 0
    finally:
        session.close()
