"""What other people's files may do: nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pdfs
from tests.lab.farm import Farm

PROGRAM = [sys.executable, "-m", "sshrender", "render"]
SOMEBODY = 12345


def _render(farm: Farm, document: Path, *words: str) -> subprocess.CompletedProcess[str]:
    hosts = farm.write_inventory()
    output = ["-o", str(farm.root / "out"), "-r", "36"]
    return farm.run([*PROGRAM, str(document), "--hosts", str(hosts), *output, *words])


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Three pages."""
    return pdfs.write(tmp_path / "doc.pdf", pdfs.numbered(3))


def test_a_job_s_folder_that_somebody_else_has_made_is_not_used(farm: Farm, document: Path) -> None:
    """Who knows the document knows the job's name, and could put in its folder what he likes."""
    assert _render(farm, document).returncode == 0
    (folder,) = farm.san.iterdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    answer = _render(farm, document)
    assert answer.returncode == 6
    assert "made by another user" in answer.stderr
    assert "hint: ls -ld" in answer.stderr


def test_a_link_in_the_place_of_the_job_s_folder_is_not_followed(farm: Farm, document: Path) -> None:
    assert _render(farm, document).returncode == 0
    (folder,) = farm.san.iterdir()
    folder.rename(farm.root / "elsewhere")
    folder.symlink_to(farm.root / "elsewhere")
    assert _render(farm, document).returncode == 6


@pytest.mark.parametrize(("mode", "job", "work"), [(0o1777, 0o755, 0o1777), (0o700, 0o700, 0o700)])
def test_a_job_is_as_open_as_its_san_and_its_work_folder_sticky(
    farm: Farm, document: Path, mode: int, job: int, work: int
) -> None:
    shared = farm.san / "shared"
    shared.mkdir()
    shared.chmod(mode)
    words = ("--san", f"{farm.san_inside}/shared", "--wait", "5s")
    _render(farm, document, *words)
    (folder,) = shared.iterdir()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_dir()}
    assert stat.S_IMODE(folder.stat().st_mode) == job
    assert modes.pop("work") == work
    assert modes == dict.fromkeys((".epochs", "pages", "parts", "requests", "thumbs"), job)


@pytest.mark.parametrize(("name", "option"), [("sshrender.toml", "--config"), ("hosts.toml", "--hosts")])
def test_configuration_of_somebody_else_in_the_current_folder_is_not_used_unasked(
    farm: Farm, document: Path, tmp_path: Path, name: str, option: str
) -> None:
    """It may name an ssh_config, and that a program to run."""
    here = tmp_path / "here"
    here.mkdir()
    canary = here / "canary"
    (here / "ssh_config").write_text(f"Host *\n  ProxyCommand touch {canary}\n")
    (here / "sshrender.toml").write_text('dpi = 36\nssh_config = "ssh_config"\n')
    (here / "hosts.toml").write_text(f'[san]\npath = "{farm.san_inside}"\n[[hosts]]\nname = "x"\n')
    os.chown(here / name, SOMEBODY, SOMEBODY)
    answer = farm.run([*PROGRAM, str(document), "-o", str(farm.root / "out")], cwd=here)
    assert answer.returncode == 2
    assert "belongs to another user" in answer.stderr
    assert f"{option} {name}" in answer.stderr
    assert not canary.exists()
