"""Defines the ways to render a document: the command of each, and where its pages are."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import Farm
from tests.plain import page_content

from benchmarks.measure import BenchmarkError
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalentries import PageSent

CHUNK = 20
DOCUMENT = "document.pdf"
DEVICE = "png16m"
_PART_FILE = re.compile(r"from(\d+)-(\d+)\.png")
_PAGE_FILE = re.compile(r"page-(\d+)\.png")


@dataclass(frozen=True)
class Setting:
    """What all ways have in common."""

    farm: Farm
    pages: int
    dpi: int
    cores: int

    def inside(self, name: str) -> str:
        """Return the path of a file on the SAN, which is the same on the desk and on the hosts."""
        return f"{self.farm.san_inside}/{name}"


def ghostscript(setting: Setting, first: int, last: int, folder: str) -> list[str]:
    """Return the command that renders some pages. Ghostscript always numbers its files from 1."""
    return [
        "gs",
        *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={DEVICE}", f"-r{setting.dpi}"),
        *(f"-dFirstPage={first}", f"-dLastPage={last}"),
        f"-sOutputFile={setting.inside(folder)}/from{first}-%d.png",
        setting.inside(DOCUMENT),
    ]


def _commands(setting: Setting, folder: str, size: int) -> list[str]:
    """Return one shell command for every ``size`` pages."""
    return [
        shlex.join(ghostscript(setting, first, min(first + size - 1, setting.pages), folder))
        for first in range(1, setting.pages + 1, size)
    ]


def _plain(setting: Setting, folder: str) -> list[str]:
    """Render one contiguous part on each core: the fastest way with gs alone."""
    parts = _commands(setting, folder, -(-setting.pages // setting.cores))
    started = [f'{command} & all="$all $!"' for command in parts]
    return ["sh", "-c", "\n".join([*started, "for one in $all; do wait $one || exit 1; done"])]


def _parallel(setting: Setting, folder: str, size: int) -> list[str]:
    """Use GNU parallel with one slot on every host, as sshrender has in the inventory."""
    home = setting.farm.home / ".parallel"
    home.mkdir(exist_ok=True)
    (home / "will-cite").touch()
    jobs = setting.farm.root / f"{folder}.commands"
    jobs.write_text("".join(f"{command}\n" for command in _commands(setting, folder, size)))
    hosts = ",".join(f"1/{host.name}" for host in setting.farm.hosts)
    ssh = shlex.join(["ssh", "-F", str(setting.farm.ssh_config)])
    return ["parallel", "--ssh", ssh, "-S", hosts, "-j1", "--halt", "now,fail=1", "-a", str(jobs)]


def _parallel_page(setting: Setting, folder: str) -> list[str]:
    return _parallel(setting, folder, 1)


def _parallel_chunk(setting: Setting, folder: str) -> list[str]:
    return _parallel(setting, folder, CHUNK)


def _sshrender(setting: Setting, folder: str, **defaults: object) -> list[str]:
    inventory = setting.farm.write_inventory(slots=1, defaults=defaults)
    return [
        *(sys.executable, "-m", "sshrender", "render", setting.inside(DOCUMENT)),
        *("--hosts", str(inventory), "-o", setting.inside(folder)),
        # As plain Ghostscript, which the other ways run.
        *("--dpi", str(setting.dpi), "--device", DEVICE, "--antialias", "none"),
    ]


def _sshrender_bare(setting: Setting, folder: str) -> list[str]:
    """Render without thumbnails: the difference is their cost."""
    return [*_sshrender(setting, folder), "--no-overview"]


def _sshrender_transferred(setting: Setting, folder: str) -> list[str]:
    """Render without a SAN: the document and the pages travel by SFTP."""
    return _sshrender(setting, folder, san=False)


WAYS: dict[str, Callable[[Setting, str], list[str]]] = {
    "plain": _plain,
    "parallel-page": _parallel_page,
    "parallel-chunk": _parallel_chunk,
    "sshrender": _sshrender,
    "sshrender-bare": _sshrender_bare,
    "sshrender-transferred": _sshrender_transferred,
}


def delivered(folder: Path) -> dict[int, str]:
    """Return the SHA-256 of what every page in a way's folder shows (tests/plain.py)."""
    digests = {}
    for file in folder.iterdir():
        if part := _PART_FILE.fullmatch(file.name):
            number = int(part[1]) + int(part[2]) - 1
        elif page := _PAGE_FILE.fullmatch(file.name):
            number = int(page[1])
        else:
            continue
        digests[number] = hashlib.sha256(page_content(file)).hexdigest()
    return digests


def first_page_sent(san: Path) -> float:
    """Return when sshrender sent its first page to a host, in wall-clock seconds, from its journal."""
    for journal in san.glob("*/journal.jsonl"):
        for entry in read_journal(journal):
            if isinstance(entry, PageSent):
                return entry.moment.timestamp()
    raise BenchmarkError("no journal on the SAN tells of a page sent")
