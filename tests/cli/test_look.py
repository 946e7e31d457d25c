"""How pages look, by options: the bytes of plain Ghostscript, part of the job, and what recipes do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from sshrender.config import recipes
from sshrender.config.recipeappearance import AppearanceRequest
from tests import pdfs
from tests.conftest import Run
from tests.plain import page_content
from tests.unit.test_switches_warm import DRAWING, ICC


@pytest.fixture
def boxed(home: Path) -> Path:
    """Four pages, some of them with boxes."""
    pages = [pdfs.PdfPage((0, 0, 200, 100 + 10 * number), DRAWING) for number in (1, 2)]
    pages += [pdfs.PdfPage((0, 0, 200, 300), DRAWING, "/Rotate 90 /CropBox [10 10 190 150]")]
    pages += [pdfs.PdfPage((0, 0, 100, 200), DRAWING, "/CropBox [20 20 400 150]")]
    return pdfs.write(home / "boxed.pdf", pages)


@pytest.mark.parametrize("size", [(), ("--size", "400x300px")], ids=["as the page says", "one size"])
def test_every_option_gives_what_ghostscript_gives_and_is_recorded(
    sshrender: Run, home: Path, boxed: Path, size: tuple[str, ...]
) -> None:
    """In parts, and with a profile that is named as its user sees it."""
    (home / "my paper.icc").write_bytes(ICC.read_bytes())
    words = ["render", boxed, "--box", "crop", "--dpi", "102x49", "--antialias", "2", "--split", "2"]
    words += ["--gs-option", "-sOutputICCProfile=my paper.icc", "--gs-option", "-dOverprint=/simulate"]
    words += [*size, "-o", "out", "--json"]
    answer = sshrender(*words)
    assert answer.returncode == 0, answer.stderr
    (home / "plain").mkdir()
    gs = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r102x49", "-dUseCropBox"]
    gs += ["-dTextAlphaBits=2", "-dGraphicsAlphaBits=2", "-dOverprint=/simulate"]
    gs += ["-g400x300", "-dFIXEDMEDIA", "-dPDFFitPage"] if size else []
    gs += ["-sOutputICCProfile=my paper.icc", "-sOutputFile=plain/page-%04d.png", "boxed.pdf"]
    subprocess.run(gs, cwd=home, check=True)
    assert _content(home / "out") == _content(home / "plain")

    job = Path(json.loads(answer.stdout)["job_dir"])
    manifest = json.loads((job / "manifest.json").read_text())
    found = manifest["settings"]
    assert (found["dpi"], found["vertical_dpi"], found["antialias"], found["box"]) == (
        102,
        49,
        2,
        "crop",
    )
    assert found["size"] == ([400, 300] if size else None)
    profile = next(job.glob("profile-*.icc"))
    assert profile.read_bytes() == ICC.read_bytes()
    assert found["options"] == [f"-sOutputICCProfile={profile.name}", "-dOverprint=/simulate"]
    for page in manifest["pages"]:
        with Image.open(job / "pages" / page["file"]) as image:
            assert image.size == (page["width"], page["height"])


def test_a_recipe_fits_the_page_into_a_size(sshrender: Run, home: Path, boxed: Path) -> None:
    words = ["--recipe", "mutool", "--size", "150x150px", "--antialias", "none", "--pages", "1"]
    answer = sshrender("render", boxed, *words, "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    with Image.open(home / "out" / "page-0001.png") as image:
        assert image.width == 150 > image.height


def test_pdftoppm_has_two_resolutions(tmp_path: Path) -> None:
    """The words that the recipe gets are words that the program knows."""
    page = pdfs.PdfPage((0, 0, 100, 200), DRAWING, "/CropBox [10 20 90 150]")
    document = pdfs.write(tmp_path / "one.pdf", [page])
    request = AppearanceRequest(dpi=(102, 49), box="crop", antialias="4")
    fields = {"document": str(document), "page": "1", "stem": str(tmp_path / "made")}
    step = recipes.as_sent(["pdftoppm"], {}, request)[0]["steps"][0]
    subprocess.run([word.format(**fields) for word in step], check=True)
    with Image.open(tmp_path / "made.png") as image:
        assert abs(image.width - 80 * 102 / 72) <= 1
        assert abs(image.height - 130 * 49 / 72) <= 1


def test_a_refused_switch_is_a_mistake_of_usage(sshrender: Run, boxed: Path) -> None:
    answer = sshrender("render", boxed, "--gs-option", "-dNOSAFER")
    assert answer.returncode == 2
    assert "--gs-option -dNOSAFER: -dNOSAFER is not allowed: it decides what" in answer.stderr
    assert "\nhint: " in answer.stderr


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: page_content(path) for path in folder.iterdir()}
