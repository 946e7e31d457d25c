"""Proofs: every device's real output passes, anything cut, damaged or of another size does not."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from sshrender.job.verification import pagefile
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.verify import Expected, verify, verify_bytes
from sshrender.renderers.devices import DEVICES
from sshrender.renderers.switches import adjust_width
from tests import pdfs

BOX = (203.0, 101.0)
DPI = 50


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = pdfs.text_page(1, *BOX)
    return pdfs.write(tmp_path_factory.mktemp("proof") / "one.pdf", [page])


def _draw(document: Path, device: str, folder: Path) -> Path:
    out = folder / f"{device}-%d"
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", f"-r{DPI}"]
        + [f"-sOutputFile={out}", str(document)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return folder / f"{device}-1"


@pytest.mark.parametrize("name", ["tiffg4", "tiffcrle", "tifflzw"])
@pytest.mark.parametrize(("points", "adjust"), [(595, 1), (595, 0), (595, 2000), (710, 1), (300, 1)])
def test_a_fax_has_the_width_that_ghostscript_gives_it(
    tmp_path: Path, name: str, points: int, adjust: int
) -> None:
    """At 204 dpi, the resolution of fax machines, Ghostscript makes their width of a near one."""
    document = pdfs.write(tmp_path / "page.pdf", pdfs.numbered(1, points, 100))
    switches = [f"-dAdjustWidth={adjust}"] if adjust != 1 and DEVICES[name].adjusts_width else []
    page = tmp_path / "page.tif"
    command = ["gs", "-q", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={name}", "-r204x98", *switches]
    subprocess.run([*command, "-o", str(page), str(document)], check=True)
    width = adjust_width(switches) if DEVICES[name].adjusts_width else 0
    expected = Expected(DEVICES[name], 204, (points, 100), vertical_dpi=98, adjust_width=width)
    assert verify(page, expected).width > 0
    wrong = expected._replace(box=(points * 1.1, 100), adjust_width=0)
    with pytest.raises(VerificationFailed):
        verify(page, wrong)


@pytest.mark.parametrize("name", DEVICES)
def test_what_a_device_writes_is_proved_and_a_piece_of_it_is_not(
    document: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _draw(document, name, tmp_path)
    expected = Expected(DEVICES[name], DPI, BOX)
    picture = verify(path, expected)
    monkeypatch.setattr(pagefile, "WHOLE", 0)
    assert verify(path, expected) == picture  # piece by piece, as a large one
    shrink = DEVICES[name].shrink
    assert abs(picture.width - BOX[0] * DPI / 72 / shrink) <= 1
    assert abs(picture.height - BOX[1] * DPI / 72 / shrink) <= 1
    data = path.read_bytes()
    for keep in (1, 10, len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(VerificationFailed):
            verify_bytes(data[:keep], expected)
    with pytest.raises(VerificationFailed):
        verify_bytes(data, Expected(DEVICES[name], DPI, (BOX[0] + 10, BOX[1])))
    with pytest.raises(VerificationFailed):
        verify_bytes(data, Expected(DEVICES[name], DPI, (BOX[0], BOX[1] * 2)))


def test_another_digest_or_size_than_reported_is_refused(document: Path, tmp_path: Path) -> None:
    path = _draw(document, "png16m", tmp_path)
    device = DEVICES["png16m"]
    size = path.stat().st_size
    with pytest.raises(VerificationFailed, match="size"):
        verify(path, Expected(device, DPI, BOX, size + 1, None))
    with pytest.raises(VerificationFailed, match="content"):
        verify(path, Expected(device, DPI, BOX, size, "0" * 64))


def test_a_flipped_byte_in_a_png_is_found_without_a_digest(document: Path, tmp_path: Path) -> None:
    data = bytearray(_draw(document, "png16m", tmp_path).read_bytes())
    data[len(data) // 2] ^= 0x10
    with pytest.raises(VerificationFailed):
        verify_bytes(bytes(data), Expected(DEVICES["png16m"], DPI, BOX))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "folder"])
def test_only_a_regular_file_is_a_page(document: Path, tmp_path: Path, kind: str) -> None:
    """A storage failure would pause the whole job, so it is the page that fails."""
    path = tmp_path / "trap"
    if kind == "link":
        path.symlink_to(_draw(document, "png16m", tmp_path))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.mkdir()
    with pytest.raises(VerificationFailed):
        verify(path, Expected(DEVICES["png16m"], DPI, BOX))


def test_a_file_that_shrinks_while_it_is_looked_at_is_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagefile, "WHOLE", 0)
    path = tmp_path / "page"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file:
        data = pagefile.PageFile(file.fileno(), 100)
        assert data.read(90, 10) == b"x" * 10
        os.truncate(path, 50)
        with pytest.raises(VerificationFailed):
            data.read(40, 20)


def test_a_tiff_of_two_pages_is_no_page(tmp_path: Path) -> None:
    document = pdfs.write(tmp_path / "two.pdf", pdfs.numbered(2))
    out = tmp_path / "both.tif"
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=tiffg4", f"-r{DPI}"]
        + [f"-sOutputFile={out}", str(document)],
        capture_output=True,
        check=True,
    )
    with pytest.raises(VerificationFailed, match="more than one page"):
        verify(out, Expected(DEVICES["tiffg4"], DPI, (200, 100)))
