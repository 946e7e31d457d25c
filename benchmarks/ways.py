"""Defines the ways to render a document: the command of each, and where its pages are."""

from __future__ import annotations

import hashlib
import platform
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.lab import Farm
from tests.plain import SMOOTHED, page_content

from benchmarks.measure import BenchmarkError, CpuGroup
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalentries import PageDelivered, PageSent

CHUNK = 20
DOCUMENT = "document.pdf"
DEVICE = "png16m"
_PART_FILE = re.compile(r"from(\d+)-(\d+)\.png")
_PAGE_FILE = re.compile(r"(?:page|other)-(\d+)\.png")


@dataclass(frozen=True)
class Setting:
    """What all ways have in common."""

    farm: Farm
    pages: int
    dpi: int
    cores: int
    antialias: str = "none"
    """``none``, or ``auto`` as the option of that name."""
    every: int = 1
    """Of so many pages one is compared."""
    group: CpuGroup | None = None

    @property
    def is_smoothed(self) -> bool:
        """Whether edges are smoothed (``--antialias auto`` up to 200 dpi)."""
        return self.antialias == "auto" and self.dpi <= 200

    def inside(self, name: str) -> str:
        """Return the path of a file on the SAN, which is the same on the desk and on the hosts."""
        return f"{self.farm.san_inside}/{name}"


def ghostscript(setting: Setting, first: int, last: int, folder: str) -> list[str]:
    """Return the command that renders some pages. Ghostscript always numbers its files from 1."""
    return [
        "gs",
        *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={DEVICE}", f"-r{setting.dpi}"),
        *(SMOOTHED if setting.is_smoothed else ()),
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
    return _at_once(_commands(setting, folder, _part(setting)))


def _part(setting: Setting) -> int:
    """Return how many pages each core gets."""
    return -(-setting.pages // setting.cores)


def _at_once(commands: Sequence[str]) -> list[str]:
    started = [f'{command} & all="$all $!"' for command in commands]
    return ["sh", "-c", "\n".join([*started, "for one in $all; do wait $one || exit 1; done"])]


def _ranges(setting: Setting) -> list[tuple[int, int]]:
    size = _part(setting)
    firsts = range(1, setting.pages + 1, size)
    return [(first, min(first + size - 1, setting.pages)) for first in firsts]


def _mutool_draw(setting: Setting, folder: str) -> list[str]:
    """Render one contiguous part on each core by MuPDF."""
    words = ["mutool", "draw", "-q", "-r", str(setting.dpi)]
    # Without -A it smooths with 8 bits (mutool draw -h).
    words += [] if setting.is_smoothed else ["-A", "0"]
    words += ["-o", setting.inside(folder) + "/other-%d.png", setting.inside(DOCUMENT)]
    return _at_once([shlex.join([*words, f"{first}-{last}"]) for first, last in _ranges(setting)])


def _pdftoppm(setting: Setting, folder: str) -> list[str]:
    """Render one contiguous part on each core by Poppler."""
    words = ["pdftoppm", "-png", "-r", str(setting.dpi)]
    words += [] if setting.is_smoothed else ["-aa", "no", "-aaVector", "no"]
    ends = [setting.inside(DOCUMENT), setting.inside(folder) + "/other"]
    return _at_once(
        [
            shlex.join([*words, "-f", str(first), "-l", str(last), *ends])
            for first, last in _ranges(setting)
        ]
    )


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
        *("--dpi", str(setting.dpi), "--pages", f"1-{setting.pages}"),
    ]


def _sshrender_default(setting: Setting, folder: str, **defaults: object) -> list[str]:
    # As plain Ghostscript, which the other ways run.
    like_plain = ("--device", DEVICE, "--antialias", setting.antialias)
    return [*_sshrender(setting, folder, **defaults), *like_plain]


def _sshrender_ghostscript(setting: Setting, folder: str) -> list[str]:
    """Render with the files that Ghostscript itself writes."""
    return [*_sshrender_default(setting, folder), "--encoder", "ghostscript"]


def _sshrender_mutool(setting: Setting, folder: str) -> list[str]:
    """Render by MuPDF, which is kept warm."""
    return [*_sshrender(setting, folder), "--recipe", "mutool"]


def _sshrender_bare(setting: Setting, folder: str) -> list[str]:
    """Render without thumbnails: the difference is their cost."""
    return [*_sshrender_default(setting, folder), "--no-overview"]


def _sshrender_transferred(setting: Setting, folder: str) -> list[str]:
    """Render without a SAN: the document and the pages travel by SFTP."""
    return _sshrender_default(setting, folder, san=False)


WAYS: dict[str, Callable[[Setting, str], list[str]]] = {
    "plain": _plain,
    "parallel-page": _parallel_page,
    "parallel-chunk": _parallel_chunk,
    "mutool-draw": _mutool_draw,
    "pdftoppm": _pdftoppm,
    "sshrender": _sshrender_default,
    "sshrender-bare": _sshrender_bare,
    "sshrender-zlib": _sshrender_default,
    "sshrender-ghostscript": _sshrender_ghostscript,
    "sshrender-mutool": _sshrender_mutool,
    "sshrender-transferred": _sshrender_transferred,
}

WITHOUT_ISAL = frozenset({"sshrender-zlib"})
"""Ways whose hosts lack ISA-L, so that they compress by zlib."""

LIBISAL = f"/usr/lib/{platform.machine()}-linux-gnu/libisal.so.2"
"""Where Debian's package libisal2 has the library (``dpkg -L libisal2``)."""

OTHER_RENDERERS = frozenset({"mutool-draw", "pdftoppm", "sshrender-mutool"})
"""Ways whose pages are not Ghostscript's, so that they are not compared with them."""


def delivered(folder: Path, every: int = 1) -> dict[int, str]:
    """Return the SHA-256 of what each page in a way's folder shows (tests/plain.py).

    Only one of ``every`` pages is read; the digests of the others are empty.
    """
    digests = {}
    for file in folder.iterdir():
        if part := _PART_FILE.fullmatch(file.name):
            number = int(part[1]) + int(part[2]) - 1
        elif page := _PAGE_FILE.fullmatch(file.name):
            number = int(page[1])
        else:
            continue
        is_read = number % every == 0
        digests[number] = hashlib.sha256(page_content(file)).hexdigest() if is_read else ""
    return digests


class Moments(NamedTuple):
    """Wall-clock seconds: when the first page was sent to a host, and the last one delivered."""

    first_sent: float
    last_delivered: float


def moments(san: Path) -> Moments:
    """Return the moments of a run of sshrender, from its journal."""
    for journal in san.glob("*/journal.jsonl"):
        entries = list(read_journal(journal))
        sent = [entry.moment.timestamp() for entry in entries if isinstance(entry, PageSent)]
        done = [entry.moment.timestamp() for entry in entries if isinstance(entry, PageDelivered)]
        if sent and done:
            return Moments(sent[0], done[-1])
    raise BenchmarkError("no journal on the SAN tells of a page sent")
