"""What lives longer than a moment does not keep its garbage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import pdfs

_WATCHED = """
import gc, sys
{patch}
import sshrender.__main__ as program
sys.argv[0] = "sshrender"
program.main()
"""
_SAY = "print('collects', gc.isenabled() and gc.get_threshold()[0] <= 2000, file=sys.stderr)"


def _run(folder: Path, patch: str, *words: str) -> str:
    command = [sys.executable, "-c", _WATCHED.format(patch=patch), *words]
    env = {**os.environ, "HOME": str(folder)}
    answer = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, cwd=folder, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stderr


def test_render_and_watch_collect_their_garbage(tmp_path: Path) -> None:
    document = pdfs.write(tmp_path / "doc.pdf", pdfs.numbered(1))
    patch = "import sshrender.coordinator.loop as l\nrun = l.Coordinator.run\n"
    patch += f"def told(self):\n    {_SAY}\n    return run(self)\nl.Coordinator.run = told"
    assert "collects True" in _run(tmp_path, patch, "render", str(document), "-r", "20")
    patch = f"import sshrender.cli.watch as w\ndef told(*rest):\n    {_SAY}\nw._follow = told"
    assert "collects True" in _run(tmp_path, patch, "watch", "doc")


def test_the_collector_is_never_off(tmp_path: Path) -> None:
    patch = "import atexit, os\nend = os._exit\n"
    patch += "def told(code):\n    print('on', gc.isenabled(), file=sys.stderr)\n"
    patch += "    end(code)\nos._exit = told"
    assert "on True" in _run(tmp_path, patch, "--version")
