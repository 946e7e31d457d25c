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

SSHRENDER = [sys.executable, "-m", "sshrender"]
PROGRAM = [*SSHRENDER, "render"]
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


LAY = """
import json, pathlib, sys, time
job = pathlib.Path(sys.argv[1])
fields = json.loads((job / "job.json").read_text())
recipe = {"name": "x", "steps": [], "shell": "echo ran > {canary}; exit 1", "extension": "png",
          "format": "png", "complaints": ""}
fields["settings"]["recipes"] = [recipe]
fields["name"] = "evil-12345678"
evil = job.with_name(fields["name"])
evil.mkdir()
for name in ("work", "pages", "parts", "requests", "thumbs"):
    (evil / name).mkdir()
(evil / "work").chmod(0o1777)
(evil / "source.pdf").write_bytes((job / "source.pdf").read_bytes())
attributes = json.loads((job / "attributes.json").read_text())
attributes["wishes"] = {"password_file": sys.argv[2]}
(evil / "attributes.json").write_text(json.dumps(attributes))
(evil / "job.json").write_text(json.dumps(fields))
name = "%020d-%016x" % (time.time_ns(), 7)
asked = {"schema": 1, "op": "cancel", "by": "x", "host": "", "page": 0, "note": "", "id": name}
(job / "requests" / (name + ".json")).write_text(json.dumps(asked))
"""


def test_a_host_that_writes_as_the_owner_has_no_job_run_and_no_request_obeyed(
    farm: Farm, document: Path, tmp_path: Path
) -> None:
    """Where all machines use one user, any host can write anything into any job's folder."""
    secret, canary = tmp_path / "secret", farm.san / "canary"
    secret.write_text("treasure\n")
    words = ["--hosts", str(farm.write_inventory())]
    output = farm.root / "out"
    submit = [*SSHRENDER, "submit", str(document), "-r", "36", "-o", str(output), *words]
    (job,) = farm.run(submit, timeout=60).stdout.split()
    script = LAY.replace("{canary}", f"{farm.san_inside}/canary")
    lay = ["python3", "-c", script, f"{farm.san_inside}/{job}", str(secret)]
    laid = farm.hosts[0].exec(*lay)
    assert laid.returncode == 0, laid.stderr
    answer = farm.run([*SSHRENDER, "coordinate", "--once", *words], timeout=120)
    assert not canary.exists()
    assert answer.returncode == 0, answer.stderr
    assert len(list(output.glob("page-*.png"))) == 3, "the request was obeyed"
    assert "not run: evil-12345678: " in answer.stderr
    assert sorted(path.name for path in (farm.san / "evil-12345678").iterdir()) == sorted(
        ["attributes.json", "job.json", "pages", "parts", "requests", "source.pdf", "thumbs", "work"]
    )
    answer = farm.run([*SSHRENDER, "resume", "evil", *words], timeout=60)
    assert (answer.returncode, "hint: mv " in answer.stderr) == (6, True)
