"""Files of a hostile host that would harm the coordinator or a later run cost that host only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.conftest import PROGRAM
from tests.faults.hostile import turn
from tests.faults.test_hostile_host import MEASURED, MEMORY
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.lab.slow import slow_down
from tests.plain import SMOOTHED, page_content

PAGES = 20

HUGE = (
    "for r in renders():\n"
    "    started(r); os.truncate(os.open(r['output'], os.O_CREAT | os.O_WRONLY), 4 << 40)\n"
    "    say('rendered', **report(r, bytes=4 << 40))"
)
HEADER = (
    "for r in renders():\n"
    "    started(r); data = b'P6' + b' ' * 60 + b'x'\n"
    "    open(r['output'], 'wb').write(data)\n"
    "    say('rendered', **report(r, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))"
)
ONE_BYTE = (
    "import struct, zlib\n"
    "def chunk(kind, data):\n"
    "    crc = struct.pack('>I', zlib.crc32(kind + data))\n"
    "    return struct.pack('>I', len(data)) + kind + data + crc\n"
    "for r in renders():\n"
    "    started(r); found = draw(r)\n"
    "    head = open(r['output'], 'rb').read(33)\n"
    "    data = head + MORE + chunk(b'IDAT', DATA) + chunk(b'IEND', b'')\n"
    "    open(r['output'], 'wb').write(data)\n"
    "    found.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())\n"
    "    say('rendered', **found)"
)
SWAP = (
    "import itertools\n"
    "def swap(path):\n"
    "    os.link(path, path + '.page')\n"
    "    for n in itertools.count():\n"
    "        try:\n"
    "            MAKE(path + '.trap'); os.rename(path + '.trap', path)\n"
    "            time.sleep(0.0005)\n"
    "            os.link(path + '.page', path + '.again'); os.rename(path + '.again', path)\n"
    "            time.sleep(0.0005)\n"
    "        except OSError:\n"
    "            return\n"
    "        if n > 2000: return\n"
    "for r in renders():\n"
    "    started(r); found = draw(r)\n"
    "    threading.Thread(target=swap, args=(r['output'],), daemon=True).start()\n"
    "    time.sleep(0.01); say('rendered', **found)"
)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages enough for every host to get some."""
    folder = tmp_path_factory.mktemp("document")
    return pdfs.write(folder / "big.pdf", pdfs.numbered(PAGES, 600.0, 800.0))


def _plain(document: Path, device: str, extension: str) -> dict[str, bytes]:
    """The same pages by plain Ghostscript."""
    out = document.parent / f"page-%04d.{extension}"
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", "-r72", *SMOOTHED]
    subprocess.run([*command, "-o", str(out), str(document)], check=True)
    return {path.name: page_content(path) for path in document.parent.glob(f"page-*.{extension}")}


def _run(farm: Farm, document: Path, *words: str) -> dict[str, Any]:
    command = [*PROGRAM, "render", str(document), "--hosts", str(farm.write_inventory())]
    command += ["-o", str(farm.root / "out"), "-r", "72", "--retries", "30", "--json", *words]
    answer = farm.run([sys.executable, "-c", MEASURED, *command], cwd=farm.root, timeout=110)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert int((farm.root / "memory").read_text()) < MEMORY
    summary: dict[str, Any] = json.loads(answer.stdout)
    return summary


def _delivered(farm: Farm) -> dict[str, bytes]:
    """Every page, none of them through a link."""
    for folder in (farm.root / "out", next(farm.san.glob("big-*")) / "pages"):
        assert [path.name for path in folder.iterdir() if path.is_symlink()] == []
    return {path.name: page_content(path) for path in (farm.root / "out").iterdir()}


def test_files_that_hold_up_a_parser_hold_up_nobody_else(
    farm_factory: FarmFactory, document: Path
) -> None:
    """Sparse files of 4 TiB, and a header that an expression could only refuse after years."""
    farm = farm_factory(4)
    for host, deeds in zip(farm.hosts[1:], (HUGE, HUGE, HEADER), strict=True):
        turn(host, deeds)
    summary = _run(farm, document, "--device", "ppmraw")
    assert _delivered(farm) == _plain(document, "ppmraw", "ppm")
    assert [host["pages"] for host in summary["hosts"]] == [PAGES, 0, 0, 0]


def test_a_png_without_its_pixels_is_not_delivered(farm_factory: FarmFactory, document: Path) -> None:
    """One byte of image data, or a transparency that no decoder takes: assembly needs sound pages."""
    farm = farm_factory(3)
    whole = "DATA = zlib.compress(bytes(800 * 1801)); MORE = chunk(b'tRNS', b'x')"
    for host, deed in zip(
        farm.hosts[1:], ("DATA = b'x'; MORE = b''", f"import zlib; {whole}"), strict=True
    ):
        turn(host, ONE_BYTE.replace("for r in renders", f"{deed}\nfor r in renders"))
    summary = _run(farm, document, "--assemble", "tiff")
    assert (farm.root / "out" / "big.tiff").stat().st_size > 0
    (farm.root / "out" / "big.tiff").unlink()
    assert _delivered(farm) == _plain(document, "png16m", "png")
    assert [host["pages"] for host in summary["hosts"]] == [PAGES, 0, 0]


def test_a_host_that_swaps_its_file_gets_nothing_else_delivered(
    farm_factory: FarmFactory, document: Path
) -> None:
    """Between verification and publishing: for a link to a file that only root reads, and for a FIFO."""
    farm = farm_factory(3)
    slow_down(farm.hosts[0], 0.2)
    secret = farm.root / "secret"
    secret.write_text("root's own")
    secret.chmod(0o600)
    make = f"MAKE = lambda path: os.symlink({str(secret)!r}, path)\n"
    turn(farm.hosts[1], make + SWAP)
    turn(farm.hosts[2], "MAKE = os.mkfifo\n" + SWAP)
    _run(farm, document)
    assert _delivered(farm) == _plain(document, "png16m", "png")


def test_what_is_no_page_in_pages_is_rendered_again_and_charged_to_nobody(
    farm: Farm, document: Path
) -> None:
    """A link, a FIFO, a folder, another content of the same size: what an earlier run may have left."""
    _run(farm, document)
    folder = next(farm.san.glob("big-*")) / "pages"
    plain = _plain(document, "png16m", "png")
    for number in range(1, 5):
        (folder / f"page-{number:04d}.png").unlink()
    (folder / "page-0001.png").symlink_to(farm.root / "out" / "page-0001.png")
    os.mkfifo(folder / "page-0002.png")
    (folder / "page-0003.png").mkdir()
    size = len(plain["page-0004.png"])
    (folder / "page-0004.png").write_bytes(b"x" * size)
    summary = _run(farm, document)
    assert _delivered(farm) == plain
    assert [host["failures"] for host in summary["hosts"]] == [0] * len(farm.hosts)
