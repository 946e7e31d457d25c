"""Other programs draw: ready recipes, one's own, several steps, a shell, and what is fallen back to."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader

from sshrender.runner.host import hostfacts
from tests import pdfs
from tests.conftest import Run


@pytest.fixture
def five(home: Path) -> Path:
    """Five pages of 200 by 100 points."""
    return pdfs.write(home / "five.pdf", pdfs.numbered(5))


def _config(home: Path, text: str) -> None:
    (home / "sshrender.toml").write_text(text)


def _summary(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "Traceback" not in answer.stderr
    return dict(json.loads(answer.stdout))


def _manifest(summary: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads((Path(summary["job_dir"]) / "manifest.json").read_text()))


@pytest.mark.parametrize("name", ["mutool", "pdftoppm"])
def test_ready_recipes_draw_every_page(sshrender: Run, home: Path, five: Path, name: str) -> None:
    answer = sshrender("render", five, "--recipe", name, "-r", "72", "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    files = sorted((home / "out").iterdir())
    assert [path.name for path in files] == [f"page-{number:04d}.png" for number in range(1, 6)]
    for path in files:
        with Image.open(path) as picture:
            assert picture.size == (200, 100)
    assert len({path.read_bytes() for path in files}) == 5
    assert _summary(answer)["suspect_pages"] == []
    pages = _manifest(_summary(answer))["pages"]
    version = hostfacts.mutool_version() if name == "mutool" else ""
    assert {(page["renderer"], page["renderer_version"]) for page in pages} == {(name, version)}
    again = sshrender("render", five, "--recipe", name, "-r", "72", "-o", "out", "--json")
    assert again.returncode == 0
    assert _summary(again)["hosts"][0]["pages"] == 0


def test_a_recipe_of_ones_own_with_ghostscripts_own_options(
    sshrender: Run, home: Path, five: Path
) -> None:
    _config(
        home,
        """
        [recipes.grey]
        command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=tiffgray", "-r{dpi}",
                   "-dFirstPage={page}", "-dLastPage={page}", "-sOutputFile={output}", "{document}"]
        extension = "tif"
        """,
    )
    answer = sshrender("render", five, "--recipe", "grey", "-r", "72", "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    with Image.open(home / "out" / "page-0003.tif") as picture:
        assert (picture.mode, picture.size) == ("L", (200, 100))


OCR = """
[recipes.ocr]
steps = [
  ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pnggray", "-r300",
   "-dFirstPage={page}", "-dLastPage={page}", "-sOutputFile={scratch}/page.png", "{document}"],
  ["tesseract", "{scratch}/page.png", "{stem}", "--dpi", "300", "KIND"],
]
extension = "EXTENSION"
"""


def test_drawn_and_then_read_by_tesseract(sshrender: Run, home: Path) -> None:
    document = pdfs.write(home / "two.pdf", pdfs.numbered(2, 300, 200))
    _config(home, OCR.replace("KIND", "txt").replace("EXTENSION", "txt"))
    answer = sshrender("render", document, "--recipe", "ocr", "-o", "text", "--json")
    assert answer.returncode == 0, answer.stderr
    assert "page 2" in (home / "text" / "page-0002.txt").read_text()
    _config(home, OCR.replace("KIND", "pdf").replace("EXTENSION", "pdf"))
    answer = sshrender("render", document, "--recipe", "ocr", "-o", "pdf", "--json")
    assert answer.returncode == 0, answer.stderr
    assert "page 1" in PdfReader(home / "pdf" / "page-0001.pdf").pages[0].extract_text()


def test_no_shell_unless_asked_for(sshrender: Run, home: Path) -> None:
    """A document's name cannot become a command, with a shell or without."""
    document = pdfs.write(home / "$(touch evil);`touch evil`.pdf", pdfs.numbered(2))
    _config(
        home,
        """
        [recipes.script]
        shell = 'pdftoppm -png -r "$dpi" -f "$page" -l "$page" "$document" | cat > "$output"'
        extension = "png"
        """,
    )
    answer = sshrender("render", document, "--recipe", "script", "-r", "72", "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    answer = sshrender("render", document, "--recipe", "pdftoppm", "-r", "72", "-o", "too", "--json")
    assert answer.returncode == 0, answer.stderr
    assert not list(home.rglob("evil"))
    assert not any(path.name == "evil" for path in Path(_summary(answer)["job_dir"]).rglob("*"))


FUSSY = """
[recipes.fussy]
shell = '''
if [ "$number" = 3 ]; then echo "error: not that page" >&2; exit 7; fi
pdftoppm -png -singlefile -r "$dpi" -f "$page" -l "$page" "$document" "$stem"
'''
extension = "png"
"""


def test_what_one_renderer_cannot_draw_the_next_one_does(sshrender: Run, home: Path, five: Path) -> None:
    _config(home, FUSSY + 'fallback = ["mutool", "ghostscript"]\n')
    answer = sshrender("render", five, "--recipe", "fussy", "-r", "72", "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    summary = _summary(answer)
    drawn = {page["page"]: page["renderer"] for page in _manifest(summary)["pages"]}
    assert drawn == {1: "fussy", 2: "fussy", 3: "mutool", 4: "fussy", 5: "fussy"}
    told = sshrender("why", summary["job"], "--page", "3").stdout
    assert "is rendered by mutool from now on: the script ended with exit code 7" in told


def test_without_anything_to_fall_back_to_the_page_has_failed(
    sshrender: Run, home: Path, five: Path
) -> None:
    _config(home, FUSSY)
    answer = sshrender(
        "render", five, "--recipe", "fussy", "--retries", "1", "-r", "72", "-o", "out", "--json"
    )
    assert answer.returncode == 3
    (failed,) = _summary(answer)["failed_pages"]
    assert failed["page"] == 3
    assert "exit code 7" in failed["reason"]
    assert "not that page" in failed["reason"]
    saved = sshrender(
        "render",
        five,
        "--recipe",
        "fussy",
        "--fallback",
        "ghostscript",
        "-r",
        "72",
        "-o",
        "o2",
        "--json",
    )
    assert saved.returncode == 0, saved.stderr


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('shell = "true"', "no_output"),
        ('shell = "echo nothing > \\"$output\\""', "bad_output"),
        ('shell = "sleep 600"', "timeout"),
        ("shell = \"python3 -c 'x = bytearray(400 << 20); import time; time.sleep(600)'\"", "memory"),
    ],
)
def test_the_same_limits_and_proofs_hold(
    sshrender: Run, home: Path, five: Path, body: str, kind: str
) -> None:
    _config(home, f'[recipes.bad]\n{body}\nextension = "png"\n')
    limit = "3s" if kind == "timeout" else "600s"
    words = ["--pages", "1", "--retries", "1", "--page-timeout", limit, "--page-memory", "200M"]
    answer = sshrender("render", five, "--recipe", "bad", *words, "--json", "-o", "out")
    assert answer.returncode == 3, answer.stderr
    assert _summary(answer)["failed_pages"][0]["kind"] == kind


@pytest.mark.parametrize(
    ("config", "words", "hint"),
    [
        ("", ["--recipe", "mutol"], "did you mean mutool?"),
        ('[recipes.x]\ncommand = ["x", "{pgae}"]\nextension = "png"', [], "did you mean {page}?"),
        ('[recipes.x]\ncommand = ["x"]\nshell = "x"\nextension = "png"', [], "exactly one"),
        ('[recipes.x]\ncommand = ["x"]\nextension = "xyz"', [], "add format"),
        ('[recipes.x]\ncomand = ["x"]\nextension = "png"', [], "did you mean command?"),
        (
            "",
            ["--recipe", "mutool", "--fallback", "ghostscript", "--device", "jpeg"],
            "no equal of it, only of png16m and pnggray",
        ),
    ],
)
def test_mistakes_in_recipes_are_named(
    sshrender: Run, home: Path, five: Path, config: str, words: list[str], hint: str
) -> None:
    _config(home, config)
    answer = sshrender("render", five, *words)
    assert answer.returncode == 2
    assert hint in answer.stderr


def test_a_program_that_is_not_there_is_said_to_be_missing(
    sshrender: Run, home: Path, five: Path
) -> None:
    _config(home, '[recipes.x]\ncommand = ["no-such-program"]\nextension = "png"\n')
    answer = sshrender("render", five, "--recipe", "x", "--json")
    assert answer.returncode == 7
    assert "recipe x needs no-such-program" in answer.stderr


def test_a_password_goes_to_a_recipe_in_a_file_or_not_at_all(
    sshrender: Run, home: Path, five: Path
) -> None:
    secret = pdfs.protect(five, home / "secret.pdf", "open sesame")
    (home / "password").write_text("open sesame\n")
    refused = sshrender("render", secret, "--recipe", "pdftoppm", "--password-file", "password")
    assert refused.returncode == 2
    assert "has no {password_file}" in refused.stderr
    _config(
        home,
        """
        [recipes.own]
        shell = '''
        pdftoppm -png -singlefile -r "$dpi" -f "$page" -l "$page" -upw "$(cat "$password_file")" \\
          "$document" "$stem"
        '''
        extension = "png"
        """,
    )
    words = ["--recipe", "own", "--password-file", "password", "-r", "72", "-o", "out", "--json"]
    answer = sshrender("render", secret, *words)
    assert answer.returncode == 0, answer.stderr
    assert len(list((home / "out").iterdir())) == 5
    left = [
        path
        for path in Path(os.environ["TMPDIR"]).glob("sshrender-*/password")
        if os.access(path, os.R_OK)
    ]
    assert left == []


@pytest.mark.parametrize("kind", ["pdf", "tiff", "zip", "cbz"])
def test_all_pages_in_one_file(sshrender: Run, home: Path, five: Path, kind: str) -> None:
    words = ["-r", "72", "-o", "out", "--assemble", kind, "--json"]
    answer = sshrender("render", five, *words)
    assert answer.returncode == 0, answer.stderr
    target = home / "out" / f"five.{kind}"
    assert _summary(answer)["assembled"] == str(target)
    assert target.stat().st_size > 1000
    inode = target.stat().st_ino
    assert sshrender("render", five, *words).returncode == 0
    assert target.stat().st_ino == inode


def test_a_file_of_some_pages_is_not_made(sshrender: Run, home: Path, five: Path) -> None:
    _config(home, FUSSY)
    words = ["--recipe", "fussy", "--retries", "1", "-o", "out", "--assemble", "zip", "--json"]
    answer = sshrender("render", five, *words)
    assert answer.returncode == 3
    assert "no zip was made: 1 page missing" in answer.stderr
    assert _summary(answer)["assembled"] is None
    refused = sshrender("render", five, "--device", "psdrgb", "--assemble", "pdf")
    assert refused.returncode == 2
    assert "it cannot hold psd" in refused.stderr
