"""With the same switches a warm Ghostscript makes what plain Ghostscript makes, and it is verified."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sshrender.document import boxes
from sshrender.document.opening import read_facts
from sshrender.job import iccprofiles
from sshrender.job.folder import JobFolder
from sshrender.job.spec import RenderSettings
from sshrender.job.verification.verify import Expected, verify
from sshrender.renderers import ghostscript, switches
from sshrender.renderers.appearance import ghostscript_switches, page_box, resolution
from sshrender.renderers.devices import DEVICES, thumbnail_device
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.rendering.warmsession import Session
from tests import pdfs

ICC = Path("/usr/share/color/icc/ghostscript/a98.icc")
"""Of package libgs-common, which ghostscript needs."""

DRAWING = (
    b"BT /F1 24 Tf 20 50 Td (page) Tj ET 0 0 1 rg 50 5 20 10 re f 0.3 w 10 10 m 60 90 120 -60 210 40 c S"
    b" 1 0 0 RG 0 0 m 200 100 l S 0 1 0 0 k 100 60 30 30 re f\n"
)
VEIL = "<< /Type /Annot /Subtype /Square /Rect [10 10 60 60] /IC [1 0 0] /CA 0.5 >>"
PAGES = [
    pdfs.PdfPage((0, 0, 200, 100), DRAWING),
    pdfs.PdfPage((0, 0, 100, 200), DRAWING, "/CropBox [10 10 90 150]"),
    pdfs.PdfPage((0, 0, 300, 300), DRAWING, "/Rotate 90 /TrimBox [10 20 250 150]"),
    pdfs.PdfPage((0, 0, 120, 90), DRAWING, "/UserUnit 2 /ArtBox [0 0 100 60]"),
    pdfs.PdfPage((10, 10, 210, 110), DRAWING, "/CropBox [0 0 400 60] /BleedBox [20 20 50 70]"),
    pdfs.PdfPage((0, 0, 210, 100), DRAWING, f"/Annots [{VEIL}]"),
]
"""Each has another size, and some have boxes: inside of the page, turned, scaled, beyond its edges. The
last one has transparency."""

ORDER = (1, 6, 3, 2, 6, 6, 5, 4, 1)

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "smoothed": {"antialias": 4},
    "crop": {"box": "crop", "antialias": 2},
    "trim": {"box": "trim"},
    "bleed": {"box": "bleed"},
    "art": {"box": "art"},
    "a size": {"size": (400, 500), "antialias": 4},
    "a size, across": {"size": (500, 400), "box": "crop"},
    "two resolutions": {"dpi": 204.0, "vertical_dpi": 98.0},
    "two resolutions and a size": {"dpi": 102.0, "vertical_dpi": 49.0, "size": (300, 200)},
    "JPEG": {"device": "jpeg", "jpeg_quality": 30, "antialias": 4},
    "smaller": {"options": ("-dDownScaleFactor=2",)},
    "smaller than a size": {"options": ("-dDownScaleFactor=3",), "size": (400, 500)},
    "own switches": {"options": ("-dOverprint=/simulate", "-dTextAlphaBits=4", "-dUseCropBox")},
    "a profile": {"options": (f"-sOutputICCProfile={ICC}",), "antialias": 4},
    "a profile and a size": {"options": (f"-sOutputICCProfile={ICC}",), "size": (300, 300)},
    "no units": {"options": ("-dNoUserUnit",)},
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pdfs.write(tmp_path_factory.mktemp("document") / "odd.pdf", PAGES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_warm_ghostscript_makes_what_plain_ghostscript_makes(
    tmp_path: Path, document: Path, case: dict[str, Any]
) -> None:
    """Pages in another order, two again, with a thumbnail in between."""
    typed = case.get("options", ())
    taken = iccprofiles.taken(typed)
    iccprofiles.copy(JobFolder(tmp_path), taken.profiles)
    fields = {**case, "options": taken.options, "profile_name": taken.output_name}
    settings = RenderSettings(**{"device": "png16m", "dpi": 72.0, "pages": "1-6", **fields})
    plain = _plain(settings, typed, document, tmp_path / "plain")
    (tmp_path / "work").mkdir()
    (tmp_path / "odd.pdf").symlink_to(document)
    _, opened = read_facts(document, None)
    assert opened is not None
    box = page_box(settings.appearance, settings.options)
    sizes = list(boxes.walk(opened, 6, [range(1, 7)], box))
    opened.close()
    thumbnails: list[bytes] = []
    session = Session(
        _setup(settings),
        ProcessSetup(str(tmp_path), dict(os.environ), 1 << 30),
        on_thumbnail=lambda _page, data, _seconds: thumbnails.append(data),
    )
    try:
        assert session.open(60).value == "6"
        for number in ORDER:
            session.tell(number, number)
            shown, reported = ghostscript.parse_page_answer(session.answer(60).value)[:2]
            path = tmp_path / "work" / f"page{shown + 1}"
            assert path.read_bytes() == plain[number], number
            size = sizes[number - 1]
            assert size or switches.has_own_size(settings.options)
            assert verify(path, _expected(settings, size or reported)).width > 0
        session.close_document(60)
        assert [data[:2] for data in thumbnails] == [b"\xff\xd8"] * len(ORDER)
    finally:
        session.close()


def _setup(settings: RenderSettings) -> ghostscript.Setup:
    look = settings.appearance
    return ghostscript.Setup(
        "gs",
        settings.device,
        resolution(settings.dpi, look),
        "odd.pdf",
        "work",
        "page%d",
        tuple(ghostscript_switches(look, settings.sent_options)),
        "test",
        thumbnail_device(settings.device),
        iccprofiles.names(settings.options),
        settings.output_profile,
    )


def _expected(settings: RenderSettings, box: tuple[float, float] | None) -> Expected:
    return Expected(
        DEVICES[settings.device],
        settings.dpi,
        box,
        vertical_dpi=settings.vertical_dpi,
        fixed_size=settings.size,
        downscale=switches.downscale(settings.options),
    )


def _plain(
    settings: RenderSettings, typed: Sequence[str], document: Path, folder: Path
) -> dict[int, bytes]:
    """The pages by a command line of Ghostscript, as a user types it."""
    folder.mkdir()
    words = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={settings.device}"]
    across, down = settings.dpi, settings.vertical_dpi or settings.dpi
    words += [f"-r{across:g}x{down:g}"]
    if settings.antialias:
        words += [f"-dTextAlphaBits={settings.antialias}", f"-dGraphicsAlphaBits={settings.antialias}"]
    if settings.box:
        words += [f"-dUse{settings.box.title()}Box"]
    if settings.jpeg_quality is not None:
        words += [f"-dJPEGQ={settings.jpeg_quality}"]
    if settings.size is not None:
        words += [f"-g{settings.size[0]}x{settings.size[1]}", "-dFIXEDMEDIA", "-dPDFFitPage"]
    words += [*typed, f"-sOutputFile={folder}/%d", str(document)]
    subprocess.run(words, check=True, timeout=60, capture_output=True)
    return {int(path.name): path.read_bytes() for path in folder.iterdir()}
