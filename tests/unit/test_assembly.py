"""One file of all pages: in order, without a loss, page by page."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from pypdf import PdfReader

from sshrender.job.assembly.assemble import KINDS, assemble, can_hold
from sshrender.job.folder import JobFolder
from sshrender.job.journal.history import PageRecord
from sshrender.job.lease import LeaseLost
from sshrender.renderers.devices import DEVICES
from tests import pdfs

LOSSLESS = [
    "png16m",
    "pnggray",
    "pngmono",
    "png256",
    "png16",
    "tiff24nc",
    "tiffg4",
    "tiffgray",
    "bmp16m",
]
LOSSLESS += ["ppmraw", "pbmraw", "pcx24b", "jpeg", "jpeggray"]


def _pages(folder: Path, device: str, count: int = 4) -> JobFolder:
    """A job's pages, drawn by plain Ghostscript."""
    job = JobFolder(folder / "job")
    job.path.mkdir()
    job.create()
    source = pdfs.write(folder / "source.pdf", pdfs.numbered(count, 150, 90))
    name = f"{job.pages}/page-%04d.{DEVICES[device].extension}"
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", "-r72"]
    subprocess.run([*command, f"-sOutputFile={name}", str(source)], check=True)
    return job


def _records(job: JobFolder) -> list[PageRecord]:
    """Out of order: it is not the order of delivery that counts."""
    found = []
    for number, path in enumerate(sorted(job.pages.iterdir()), 1):
        with Image.open(path) as picture:
            size = picture.size
        data = path.read_bytes()
        found.append(PageRecord(number, path.name, len(data), hashlib.sha256(data).hexdigest(), *size))
    return found[::-1]


def _same(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox() is None


@pytest.mark.parametrize("device", LOSSLESS)
def test_a_pdf_holds_each_pages_pixels(tmp_path: Path, device: str) -> None:
    job = _pages(tmp_path, device)
    target = assemble(job, _records(job), tmp_path / "all.pdf", "pdf", (72, 72))
    reader = PdfReader(target, strict=True)
    assert [tuple(map(float, page.mediabox[2:])) for page in reader.pages] == [(150.0, 90.0)] * 4
    subprocess.run(["pdfimages", "-png", str(target), str(tmp_path / "out")], check=True)
    for drawn, path in zip(sorted(tmp_path.glob("out-*")), sorted(job.pages.iterdir()), strict=True):
        with Image.open(drawn) as found, Image.open(path) as page:
            assert _same(found, page), path.name
    shown = subprocess.run(
        ["gs", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=nullpage", str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "error" not in (shown.stdout + shown.stderr).lower()


def test_pages_of_two_resolutions_are_as_large_as_they_print(tmp_path: Path) -> None:
    job = _pages(tmp_path, "pnggray")
    target = assemble(job, _records(job), tmp_path / "all.pdf", "pdf", (144, 36))
    boxes = [page.mediabox for page in PdfReader(target, strict=True).pages]
    assert [(float(box.width), float(box.height)) for box in boxes] == [(75.0, 180.0)] * 4


@pytest.mark.parametrize("device", ["jpeg", "jpegcmyk"])
def test_jpeg_is_copied_and_not_compressed_again(tmp_path: Path, device: str) -> None:
    job = _pages(tmp_path, device)
    target = assemble(job, _records(job), tmp_path / "all.pdf", "pdf", (72, 72))
    data = target.read_bytes()
    assert all(path.read_bytes() in data for path in job.pages.iterdir())
    plain, again = (_shown(path, tmp_path) for path in (tmp_path / "source.pdf", target))
    difference = ImageStat.Stat(ImageChops.difference(plain, again)).mean
    assert max(difference) < 20, "the colours are not turned around"


def _shown(document: Path, folder: Path) -> Image.Image:
    stem = folder / f"shown-{document.stem}"
    command = ["pdftoppm", "-r", "72", "-f", "1", "-l", "1", "-singlefile", str(document), str(stem)]
    subprocess.run(command, check=True)
    with Image.open(stem.with_suffix(".ppm")) as picture:
        return picture.copy()


def test_what_is_transparent_becomes_white_paper(tmp_path: Path) -> None:
    job = _pages(tmp_path, "pngalpha")
    target = assemble(job, _records(job), tmp_path / "all.pdf", "pdf", (72, 72))
    subprocess.run(["pdfimages", "-png", str(target), str(tmp_path / "out")], check=True)
    with Image.open(tmp_path / "out-000.png") as page:
        assert page.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("device", [*LOSSLESS[:8], "pngalpha", "tiff32nc"])
def test_a_tiff_holds_each_pages_pixels(tmp_path: Path, device: str) -> None:
    job = _pages(tmp_path, device)
    target = assemble(job, _records(job), tmp_path / "all.tiff", "tiff", (72, 72))
    with Image.open(target) as tiff:
        assert getattr(tiff, "n_frames", 1) == 4
        for number, path in enumerate(sorted(job.pages.iterdir())):
            tiff.seek(number)
            with Image.open(path) as page:
                assert _same(tiff, page), path.name
        assert [round(float(side)) for side in tiff.info["dpi"]] == [72, 72]


@pytest.mark.parametrize("kind", ["zip", "cbz"])
def test_an_archive_holds_the_files_themselves_in_order(tmp_path: Path, kind: str) -> None:
    job = _pages(tmp_path, "png16m", 12)
    target = assemble(job, _records(job), tmp_path / f"all.{kind}", kind, (72, 72))
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"page-{number:04d}.png" for number in range(1, 13)]
        for path in job.pages.iterdir():
            assert archive.read(path.name) == path.read_bytes()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_pages_make_the_same_file_and_only_once(tmp_path: Path, kind: str) -> None:
    job = _pages(tmp_path, "png16m")
    target = tmp_path / f"all.{kind}"
    assemble(job, _records(job), target, kind, (72, 72))
    first, written = target.read_bytes(), target.stat().st_ino
    assemble(job, _records(job), target, kind, (72, 72))
    assert target.stat().st_ino == written
    target.unlink()
    assemble(job, _records(job), target, kind, (72, 72))
    assert target.read_bytes() == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


MANY = """
import hashlib, sys
from pathlib import Path
from sshrender.job.assembly.assemble import assemble
from sshrender.job.folder import JobFolder
from sshrender.job.journal.history import PageRecord
job = JobFolder(Path(sys.argv[1]))
data = (job.pages / "page-0001.png").read_bytes()
size, digest = len(data), hashlib.sha256(data).hexdigest()
del data
records = [PageRecord(n, "page-0001.png", size, digest, 2000, 2000) for n in range(1, 81)]
for kind in ("pdf", "zip"):
    assemble(job, records, job.path.parent / f"all.{kind}", kind, (600, 600))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def test_a_large_file_is_written_page_by_page(tmp_path: Path) -> None:
    """Eighty pages of four megabytes do not lie in memory together.

    By VmHWM (proc(5)), for ru_maxrss of a process starts at what the one that forked it had.
    """
    job = JobFolder(tmp_path / "job")
    job.path.mkdir()
    job.create()
    Image.effect_noise((2000, 2000), 90).save(job.pages / "page-0001.png")
    answer = subprocess.run(
        [sys.executable, "-c", MANY, str(job.path)], capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) < 200
    for made in (tmp_path / "all.pdf", tmp_path / "all.zip"):
        assert made.stat().st_size > 250 * (1 << 20)
        made.unlink()


def test_what_a_kind_cannot_hold_is_known_beforehand() -> None:
    assert not can_hold("pdf", "psd")
    assert not can_hold("tiff", "text")
    assert all(can_hold("zip", device.format) for device in DEVICES.values())


def test_a_coordinator_that_lost_its_job_writes_no_assembled_file(tmp_path: Path) -> None:
    """Nor does it account for one that it has just written."""
    job = _pages(tmp_path, "png16m")
    target = tmp_path / "all.zip"
    target.write_text("its successor's")

    def lost() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        assemble(job, _records(job), target, "zip", (72, 72), lost)
    assert target.read_text() == "its successor's"
    looks = iter((lambda: None, lost))
    with pytest.raises(LeaseLost):
        assemble(job, _records(job), target, "zip", (72, 72), lambda: next(looks)())
    assert not (job.path / "assembled-zip.json").exists()
    assert not list(tmp_path.glob(".all.zip.*"))
