"""What a coordinator delivers when it takes a job up, while another one may have it already."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from sshrender.coordinator import pagerestoration
from sshrender.job.journal.history import PageRecord
from sshrender.job.output import publish
from sshrender.job.output.outputclaim import OutputClaim
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.verify import Expected
from sshrender.renderers.devices import DEVICES


def _page(path: Path, colour: str) -> bytes:
    Image.new("RGB", (100, 100), colour).save(path, "PNG")
    return path.read_bytes()


def test_a_late_recall_leaves_the_page_that_took_the_place_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, output = tmp_path / "pages", tmp_path / "out"
    pages.mkdir()
    output.mkdir()
    name = "page-0001.png"
    outvoted, right = _page(pages / name, "red"), _page(tmp_path / "right", "white")
    record = PageRecord(1, name, len(outvoted), hashlib.sha256(outvoted).hexdigest(), 100, 100)
    plan: Any = SimpleNamespace(
        folder=SimpleNamespace(pages=pages),
        output=output,
        device=DEVICES["png16m"],
        spec=SimpleNamespace(settings=SimpleNamespace(dpi=72.0, recipes=())),
        reading=SimpleNamespace(box=lambda page: (100.0, 100.0)),
        request=SimpleNamespace(limits=SimpleNamespace(page_memory=1 << 30)),
        claim=OutputClaim(),
        expected=lambda box, *, is_sized: Expected(
            device=DEVICES["png16m"], dpi=72.0, box=box, bytes=None, sha256=None, is_sized=is_sized
        ),
    )
    real = publish.deliver

    def deliver(page: int, target: Path, sha256: str) -> bool:
        if not target.exists():  # as if this coordinator had been stopped here
            (pages / name).rename(tmp_path / "as the user has it")
            (pages / name).write_bytes(right)
            target.write_bytes(right)
        return real(page, target, sha256)

    monkeypatch.setattr(publish, "deliver", deliver)
    with pytest.raises(VerificationFailed, match="replaced"):
        pagerestoration._deliver(plan, record)
    assert (output / name).read_bytes() == right
