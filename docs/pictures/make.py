"""Make the images of the README from a real run on four hosts, one of which is killed during the run.

    make pictures        (as root, takes a minute; needs what the tests need)

The image of the dashboard is what tmux shows of `render`; the images of the overview are what Chromium
shows of the finished job, and of the file that is mailed. docs/pictures/scenes.py makes images of every
other situation, to look at.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from tests.lab.farm import Farm
from tests.lab.terminal import Terminal
from tests.views.chromium import chromium

HERE = Path(__file__).parent
PDF = Path("/usr/share/debian-reference/debian-reference.en.pdf")
PROGRAM = [sys.executable, "-m", "sshrender"]
SECONDS_AFTER_LOSS = 6.0
"""Until the images are made, so that they show pages delivered after the loss of a host."""

MAX_RUN = 600.0
"""Seconds for the whole run: some take long on a busy machine."""

WIDTH, HEIGHT = 160, 50

_DARK = [(24, 26, 28), (224, 108, 96), (126, 184, 108), (214, 176, 84)]
_DARK += [(104, 156, 214), (190, 130, 200), (96, 184, 190), (200, 200, 196)]
_BRIGHT = [(110, 114, 118), (240, 130, 118), (150, 208, 130), (236, 200, 110)]
_BRIGHT += [(130, 180, 236), (214, 154, 224), (122, 208, 214), (240, 240, 236)]
THEME = TerminalTheme((24, 26, 28), (222, 222, 218), _DARK, _BRIGHT)
"""The sixteen colours of a terminal. Users choose them; these are readable on a dark background."""


def main() -> None:
    """Make all images."""
    with tempfile.TemporaryDirectory(prefix="farm-") as name, Farm(Path(name), 4, cpus=1) as farm:
        _write_svg(_run(farm), WIDTH, HERE / f"dashboard-{WIDTH}x{HEIGHT}.svg")
        (overview,) = farm.san.glob("debian-reference*/overview.html")
        _screenshot(overview, "light", "dark")
        (mailed,) = (farm.root / "out").glob("*-overview.html")
        # Alone in a folder, as in a mail.
        _screenshot(mailed.rename(farm.root / "mailed.html"), "mailed")


def _run(farm: Farm) -> str:
    """Render in a terminal; return what it shows after a host was killed."""
    hosts = str(farm.write_inventory())
    command = [*PROGRAM, "render", str(PDF), "--hosts", hosts, "-o", str(farm.root / "out")]
    command.append("--overview-embed")
    farm["node4"].load(3.0)
    with Terminal(farm, command, width=WIDTH, height=HEIGHT) as terminal:
        terminal.wait_for("running", "■")
        farm["node2"].crash()
        terminal.wait_for("lost")
        terminal.press("Right", "Right", "Right")
        time.sleep(SECONDS_AFTER_LOSS)
        shot = terminal.text(with_colours=True)
        assert terminal.status(MAX_RUN) == 0
    return shot


def _write_svg(shot: str, width: int, path: Path) -> None:
    """Write a terminal's text with its escapes as SVG. The SVG loads no font from the network."""
    console = Console(record=True, width=width, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(shot.rstrip("\n")), no_wrap=True, crop=True)
    svg = console.export_svg(title="sshrender", theme=THEME)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    path.write_text(svg.replace("Fira Code", "DejaVu Sans Mono"), encoding="utf-8")


def _screenshot(overview: Path, *names: str) -> None:
    """Make an image of each name; one that is called dark has dark colours."""
    with chromium() as browser:
        for scheme in names:
            browser.scheme("dark" if scheme == "dark" else "light")
            browser.open(overview, 1200, 760)
            browser.wait_for("[...document.images].slice(0, 16).every((image) => image.complete)")
            time.sleep(0.5)
            (HERE / f"overview-{scheme}.png").write_bytes(browser.screenshot())


if __name__ == "__main__":
    main()
