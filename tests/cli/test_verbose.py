"""``-vv`` shows the command lines of ssh and Ghostscript as they are run, without passwords."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from PIL import Image

from sshrender.transports.sshconfig import Overrides, command_line
from tests import pdfs
from tests.conftest import Run

PASSWORD = "open-sesame-7351"


def test_the_command_line_of_ghostscript_is_the_one_that_runs(sshrender: Run, home: Path) -> None:
    program, log = home / "bin" / "gs", home / "log"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\nexec {shutil.which("gs")} "$@"\n')
    program.chmod(0o755)
    pdfs.protect(pdfs.write(home / "open.pdf", pdfs.numbered(1)), home / "locked.pdf", PASSWORD)
    (home / "secret").write_text(PASSWORD)
    line = ("render", "locked.pdf", "-r", "20", "--password-file", "secret", "--no-overview")
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    more = sshrender(*line, "-vv", env=environment)
    assert more.returncode == 0, more.stderr
    (shown,) = re.findall(r"^host localhost: (gs .*)$", more.stderr, re.MULTILINE)
    words = " ".join(shlex.split(shown)[1:])
    assert "--permit-file-write=DISK/NAME.* -sOutputFile=MEMORY/NAME.%d" in words
    disk, memory = r"=\S+/s\w+\.e\w+\.\*", r"=\S+/s\w+\.e\w+\.%d"
    run = re.sub(memory, "=MEMORY/NAME.%d", re.sub(disk, "=DISK/NAME.*", log.read_text())).splitlines()
    assert words in run
    assert "sshrender-runner locked-" in more.stderr
    assert PASSWORD not in more.stderr + more.stdout
    less = sshrender(*line, "-v", env=environment)
    assert "-dSAFER" not in less.stderr
    assert "sshrender-runner" not in less.stderr


def test_the_command_line_of_ssh_has_what_the_inventory_says() -> None:
    assert command_line("node1", Overrides()) == ["ssh", "--", "node1"]
    every = Overrides("10.0.0.9", 2222, "ann", "/home/ann/farm", "/known", "accept-new", "/config")
    words = "ssh -F /config -l ann -p 2222 -i /home/ann/farm -o IdentitiesOnly=yes"
    words += ' -o UserKnownHostsFile="/known" -o GlobalKnownHostsFile=/dev/null'
    words += " -o StrictHostKeyChecking=accept-new -o HostName=10.0.0.9 -- node1"
    assert shlex.join(command_line("node1", every)).replace("'", "") == words


def test_the_mutool_draw_that_is_shown_renders_the_same_pixels(sshrender: Run, home: Path) -> None:
    pdfs.write(home / "two.pdf", pdfs.numbered(2))
    line = ("render", "two.pdf", "--recipe", "mutool", "--device", "pnggray", "-r", "70", "-o", "out")
    more = sshrender(*line, "-vv")
    assert more.returncode == 0, more.stderr
    (shown,) = re.findall(r"^recipe mutool, the same pixels: (.*)$", more.stderr, re.MULTILINE)
    subprocess.run(shlex.split(shown), cwd=home, check=True, stderr=subprocess.DEVNULL)
    for name in ("page-0001.png", "page-0002.png"):
        with Image.open(home / name) as typed, Image.open(home / "out" / name) as rendered:
            assert (typed.mode, typed.size) == (rendered.mode, rendered.size) == ("L", rendered.size)
            assert typed.tobytes() == rendered.tobytes()
