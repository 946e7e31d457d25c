"""The owner's key on several machines, and jobs that a host laid on the shared folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sshrender.config.settings import resolve
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.queue import requests
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request
from tests import pdfs
from tests.conftest import PROGRAM, Run
from tests.lab.prepared import Prepared

Command = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """
[recipes.copy]
shell = 'cat "$password_file" > {canary}; echo ran >> {canary}; exit 1'
extension = "png"
"""


@pytest.fixture
def document(home: Path) -> Path:
    """Three pages."""
    return pdfs.write(home / "one.pdf", pdfs.numbered(3))


@pytest.fixture
def elsewhere(home: Path, prepared: Prepared) -> Command:
    """Run the program on another machine of the same user, whose home is not shared."""
    other = home / "machine-b"
    other.mkdir()

    def run(*words: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command, env = [*PROGRAM, *map(str, words)], {**os.environ, "HOME": str(other)}
        return prepared.run(command, cwd=other, env=env, text=True, data=given)

    return run


@pytest.mark.usefixtures("san")
def test_another_machine_runs_a_job_once_it_has_the_key(
    sshrender: Run, elsewhere: Command, home: Path, document: Path
) -> None:
    (job,) = sshrender("submit", document, "-r", "20", "-o", home / "out").stdout.split()
    answer = elsewhere("coordinate", "--once")
    assert answer.returncode == 6, "a job is left, and is to be run once the key is here"
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"not run: {job}: ")
    assert "sshrender key show | sshrender key import" in line
    answer = elsewhere("resume", job)
    assert answer.returncode == 6
    assert "this user has no key on this machine" in answer.stderr
    assert "hint: ssh MACHINE sshrender key show | sshrender key import" in answer.stderr
    assert not list(home.glob("out/page-*"))
    answer = elsewhere("status", job)
    assert (answer.returncode, "  not run   " in answer.stdout) == (0, True), "reading needs no key"
    assert "not run" not in sshrender("status", job).stdout
    answer = elsewhere("hold", job)
    assert (answer.returncode, "hint: ssh MACHINE" in answer.stderr) == (6, True)
    shown = sshrender("key", "show")
    assert (shown.returncode, "never copy it" in shown.stderr) == (0, True)
    assert elsewhere("key", "import", given=shown.stdout).returncode == 0
    assert elsewhere("key", "path").stderr == sshrender("key", "path").stderr
    answer = elsewhere("coordinate", "--once")
    assert answer.returncode == 0, answer.stderr
    assert len(list(home.glob("out/page-*.png"))) == 3


def test_a_job_that_a_host_laid_is_not_run_and_gets_no_file_of_this_machine(
    sshrender: Run, elsewhere: Command, home: Path, san: Path, document: Path
) -> None:
    """With a recipe for every host, and the first line of a file here as its password."""
    secret, canary = home / "secret", home / "canary"
    secret.write_text("treasure\n")
    (home / "machine-b" / "sshrender.toml").write_text(RECIPE.format(canary=canary))
    words = ("-r", "20", "--recipe", "copy", "--password-file", secret)
    (job,) = elsewhere("submit", document, *words).stdout.split()
    if "mac" in json.loads((san / job / "job.json").read_text()):
        sshrender("key", "show")  # the owner has a key of his own
    answer = sshrender("coordinate", "--once")
    assert not canary.exists(), canary.read_text()
    assert answer.stderr.startswith(f"not run: {job}: {san / job / 'job.json'} is signed with another")
    assert not (san / job / "journal.jsonl").exists()
    assert not (san / job / "lease").exists()


@pytest.mark.parametrize("part", ["job.json", "attributes.json"])
def test_a_job_that_a_host_changed_is_refused_with_a_command_that_works(
    sshrender: Run, san: Path, document: Path, part: str
) -> None:
    words = ("render", document, "-r", "20", "--pages", "1")
    job = Path(json.loads(sshrender(*words, "--json").stdout)["job_dir"])
    fields = json.loads((job / part).read_text())
    fields["created" if part == "job.json" else "submitted"] = "2026-01-01T00:00:00.000Z"
    (job / part).write_text(json.dumps(fields))
    (job / "manifest.json").unlink()
    for again in (words, ("resume", job.name)):
        answer = sshrender(*again)
        assert answer.returncode == 6, answer.stderr
        assert "was changed after it was signed" in answer.stderr
    hint = next(line for line in answer.stderr.splitlines() if line.startswith("hint: "))
    command = hint.removeprefix("hint: ").partition(";")[0]
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    assert sshrender(*words).returncode == 0
    assert json.loads(sshrender("status", "--json").stdout)["jobs"][0]["job"] == job.name


def _unsign(job: Path) -> None:
    """As a version before there were signatures has written it."""
    for path in (job / "job.json", job / "attributes.json", *job.glob(".epochs/attributes.json.*")):
        fields = json.loads(path.read_text())
        fields.pop("mac", "")  # two names may be of one file
        path.write_text(json.dumps(fields))


@pytest.mark.parametrize("command", ["render", "submit"])
def test_a_job_of_a_version_that_did_not_sign_is_signed_by_who_has_its_document(
    sshrender: Run, san: Path, document: Path, command: str
) -> None:
    words = (document, "-r", "20", "--pages", "1")
    job = Path(json.loads(sshrender("render", *words, "--json").stdout)["job_dir"])
    _unsign(job)
    (job / "source.pdf").unlink()
    (job / "source.pdf").write_bytes(b"%PDF-1.4 what a host would have rendered")
    page = next(job.glob("pages/page-*")).stat()
    assert sshrender("resume", job.name).returncode == 6, "it has not the owner's copy"
    answer = sshrender("coordinate", "--once")
    assert (answer.returncode, answer.stderr[:8]) == (0, "not run:"), "any host can lay such a file"
    answer = sshrender(command, *words)
    assert answer.returncode == 0, answer.stderr
    (line,) = (line for line in answer.stderr.splitlines() if "not signed" in line)
    assert line.startswith(f"{job.name} was not signed; it is created again from ")
    assert (job / "source.pdf").read_bytes() == document.read_bytes()
    assert sshrender("resume", job.name).returncode == 0
    assert next(job.glob("pages/page-*")).stat().st_ino == page.st_ino, "it is not rendered again"
    assert "not signed" not in sshrender("render", *words).stderr


@pytest.mark.parametrize("home_of", ["/nonexistent-home", "/dev/null"])
def test_a_user_without_a_writable_home_renders_and_can_do_so_again(
    sshrender: Run, home: Path, san: Path, document: Path, home_of: str
) -> None:
    """Service users have such a home. Nothing is made in its place, by root neither."""
    env = {"HOME": home_of}
    words = ("render", document, "-r", "20", "--pages", "1")
    for _ in range(2):
        answer = sshrender(*words, env=env)
        assert answer.returncode == 0, answer.stderr
        (line,) = (line for line in answer.stderr.splitlines() if "only this run" in line)
        assert "export XDG_CONFIG_HOME=" in line
        assert not Path("/nonexistent-home").exists()
    (job,) = (path.parent.name for path in san.glob("*/job.json"))
    assert sshrender("resume", job, env=env).returncode == 6
    answer = sshrender("submit", document, "-r", "20", env=env)
    assert (answer.returncode, "export XDG_CONFIG_HOME=" in answer.stderr) == (2, True)
    assert sshrender(*words).returncode == 0, "who has a key makes the job theirs"
    assert sshrender("resume", job).returncode == 0


def test_a_job_whose_folder_has_another_name_is_not_resumed(
    sshrender: Run, san: Path, document: Path
) -> None:
    (job,) = sshrender("submit", document, "-r", "20").stdout.split()
    (san / job).rename(san / "two-12345678")
    answer = sshrender("resume", "two")
    assert (answer.returncode, "hint: mv " in answer.stderr) == (6, True)


def test_a_job_whose_attributes_are_lost_is_not_resumed(
    sshrender: Run, san: Path, document: Path
) -> None:
    """They may have held a sandbox, or hosts to avoid."""
    (job,) = sshrender("submit", document, "-r", "20").stdout.split()
    (san / job / "attributes.json").unlink()
    answer = sshrender("resume", job)
    assert (answer.returncode, "has no attributes.json" in answer.stderr) == (6, True)
    assert sshrender("render", document, "-r", "20").returncode == 0


def test_another_key_is_not_replaced_unasked(sshrender: Run, elsewhere: Command, home: Path) -> None:
    ours, theirs = sshrender("key", "show").stdout, elsewhere("key", "show").stdout
    file = home / "theirs"
    file.write_text(theirs)
    answer = sshrender("key", "import", file)
    assert (answer.returncode, "key import --force" in answer.stderr) == (2, True)
    assert sshrender("key", "show").stdout == ours
    assert sshrender("key", "import", "--force", file).returncode == 0
    assert sshrender("key", "show").stdout == theirs
    assert elsewhere("key", "import", "-", given=theirs).returncode == 0, "it has it already"
    answer = sshrender("key", "import", home / "one.pdf")
    assert (answer.returncode, "No such file" in answer.stderr) == (2, True)


def test_a_site_runs_configured_recipes_only_where_it_says_so(
    sshrender: Run, home: Path, san: Path, document: Path
) -> None:
    canary = home / "canary"
    (home / "own.toml").write_text(RECIPE.format(canary=canary))
    words = ("-r", "20", "--recipe", "copy", "--config", home / "own.toml")
    (job,) = sshrender("submit", document, *words).stdout.split()
    (home / "sshrender.toml").write_text('recipes_allowed = "configured"\n')
    answer = sshrender("resume", job)
    assert (answer.returncode, canary.exists()) == (2, False)
    assert f"recipe copy of {job} is not in the configuration of this machine" in answer.stderr
    answer = sshrender("resume", job, "--config", home / "own.toml", "--retries", "1")
    assert (answer.returncode, canary.exists()) == (3, True), answer.stderr


@pytest.mark.parametrize("word", ["x/../../treasure", "../treasure", "/etc/treasure"])
def test_clean_removes_no_file_that_a_host_names(
    sshrender: Run, home: Path, san: Path, document: Path, word: str
) -> None:
    (job,) = sshrender("submit", document, "-r", "20", "-o", home / "out").stdout.split()
    (home / "out" / ".sshrender-x").mkdir()
    treasure = home / "treasure"
    treasure.write_text("precious")
    place = san / job / "attributes.json"
    fields = {**json.loads(place.read_text()), "over": "cancelled", "output_marker": word}
    place.write_text(json.dumps(fields))
    answer = sshrender("clean", job)
    assert treasure.exists(), answer.stderr
    assert answer.returncode == 6


def test_a_copy_of_a_request_is_not_obeyed(sshrender: Run, san: Path, document: Path) -> None:
    """Any host can keep one, and put it back when it likes."""
    (job,) = sshrender("submit", document, "-r", "20").stdout.split()
    folder = JobFolder(san / job)
    path = requests.ask(folder, Request(Operation.CANCEL, "ann@desk"))
    data = path.read_bytes()
    assert sshrender("release", job).returncode == 0
    assert jobattributes.load(folder).over == "cancelled"
    assert sshrender("resubmit", job).returncode == 0
    path.write_bytes(data)
    assert sshrender("coordinate", "--once").returncode == 0
    assert jobattributes.load(folder).over == "done"


@pytest.mark.parametrize(("site", "found"), [("bwrap", "bwrap"), ("none", "none")])
def test_a_job_does_not_lower_the_sandbox_of_a_site(home: Path, site: str, found: str) -> None:
    (home / "sshrender.toml").write_text(f'sandbox = "{site}"\n')
    assert resolve({}, environ={}, job={"sandbox": "none"}).settings.sandbox == found
