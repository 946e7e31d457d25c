"""Make images of the dashboard in every situation, to look at: four sizes, each pane, each screen.

    .venv/bin/python -m docs.pictures.scenes FOLDER [WORD...]      (half a minute; needs Chromium)

The jobs are journals in memory (tests/tui/journals.py), so no host and no Ghostscript is needed. With
words, only the images whose name contains one of them are made.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.tui import journals
from tests.tui.journals import BEGAN, FakeJob, Watcher
from tests.views.chromium import chromium

from sshrender.views.dashboard.app import Dashboard
from sshrender.views.dashboard.styles import Styles

SIZES = ((50, 15), (80, 24), (160, 50), (200, 60))
PAUSE = 0.4
"""Seconds after each key: page images are loaded in a thread."""


class Scene(NamedTuple):
    """A situation, and the keys that lead to what is to be seen."""

    name: str
    owner: Callable[[], Watcher]
    keys: Sequence[str] = ()


def _of(
    make: Callable[[], journals.Journal], coordinator: str = "desk (pid 7)"
) -> Callable[[], Watcher]:
    return lambda: Watcher(FakeJob(make(), 60, coordinator))


SCENES = (
    Scene("pages", _of(journals.eventful)),
    Scene("hosts", _of(journals.eventful), ["2"]),
    Scene("in-work", _of(journals.straggling), ["3"]),
    Scene("in-work-reopening", _of(journals.reopening), ["3"]),
    Scene("log", _of(journals.eventful), ["4"]),
    Scene("log-problems", _of(journals.eventful), ["4", "l"]),
    Scene("help", _of(journals.eventful), ["question_mark"]),
    Scene("palette", _of(journals.eventful), ["ctrl+p"]),
    Scene("image", _of(journals.eventful), ["enter"]),
    Scene("image-zoomed", _of(journals.eventful), ["enter", "n", "plus", "plus", "down"]),
    Scene("failed-page", _of(journals.eventful), ["n", "n"]),
    Scene("drain", _of(journals.eventful), ["2", "d"]),
    Scene("finished", _of(journals.finished, "")),
    Scene("finished-log", _of(journals.finished, ""), ["4"]),
    Scene("paused", _of(journals.paused)),
    Scene("opening", lambda: Watcher(None)),
    Scene("several-documents", journals.several_documents, ["o"]),
    Scene("queue", journals.queue),
    Scene("queue-hosts", journals.queue, ["tab"]),
)


def main() -> None:
    """Make the images that the command line asks for."""
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for scene in SCENES:
            for width, height in SIZES:
                name = f"{scene.name}-{width}x{height}"
                if words and not any(word in name for word in words):
                    continue
                svg = asyncio.run(_shot(scene, (width, height)))
                page = folder / f"{name}.html"
                page.write_text(_page(svg), encoding="utf-8")
                browser.open(page, *_size(svg))
                (folder / f"{name}.png").write_bytes(browser.screenshot())
                page.unlink()


async def _shot(scene: Scene, size: tuple[int, int]) -> str:
    app = Dashboard(scene.owner(), "big.pdf", styles=Styles(), clock=lambda: BEGAN + 10.0)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause(2 * PAUSE)
        for key in scene.keys:
            await pilot.press(key)
            await pilot.pause(PAUSE)
        return app.export_screenshot(title=scene.name)


def _page(svg: str) -> str:
    """Return a page for Chromium. It loads no font from the network."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    head = "<!DOCTYPE html><html data-built=yes><meta charset=utf-8>"
    return f'{head}<body style="margin:0;background:#181a1c">{svg}</body></html>'


def _size(svg: str) -> tuple[int, int]:
    """Return the width and height of an image, in pixels."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    return int(float(found[1])) + 1, int(float(found[2])) + 1


if __name__ == "__main__":
    main()
