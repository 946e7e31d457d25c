"""Jobs that several coordinators share, and what must be true of each of them at the end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.journal import history
from sshrender.job.journal.journal import read_journal
from sshrender.job.output.publish import page_name
from sshrender.job.spec import load_spec
from sshrender.job.status import jobstatus
from tests import pdfs
from tests.entries import entries_of, lines_of
from tests.lab.coordinators import Machine, submitted
from tests.lab.farm import Farm

Entry = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One of the jobs, as its folder on the SAN tells it."""

    folder: JobFolder
    entries: list[Entry]
    status: dict[str, Any]

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind."""
        return [entry for entry in self.entries if entry["type"] == kind]

    def row(self) -> str:
        """Its line in the table."""
        runs = self.of("run_started")
        begun = datetime.fromisoformat(runs[0]["time"])
        seconds = (datetime.fromisoformat(self.entries[-1]["time"]) - begun).total_seconds()
        who = " ".join(run["coordinator"].partition(" ")[0] for run in runs)
        failed = len(self.of("attempt_failed")) + len(self.of("page_returned"))
        pages = self.status["pages"]["total"]
        return f"{self.folder.name:14} {pages:5} {failed:7} {len(runs):5} {seconds:8.1f}  {who}"


class Office:
    """Where the jobs are submitted and asked for; it coordinates none."""

    def __init__(self, farm: Farm, hosts: Path, jobs: int, pages: int) -> None:
        """*jobs*: at least six. *pages*: of each document, or some more."""
        self.machine = Machine(farm, "office", hosts)
        self._farm = farm
        folder = farm.root / "documents"
        folder.mkdir()
        self._documents = [
            str(pdfs.write(folder / f"d{n:02}.pdf", pdfs.numbered(pages + n, width=200 + n)))
            for n in range(jobs)
        ]
        self.names: list[str] = []
        self.held = ""

    def submit_most(self) -> None:
        """Most of them plain ones, and three that are urgent."""
        documents = self._documents
        self.names += self._submit(*documents[:-5])
        self.names += self._submit(*documents[-5:-2], "--priority", "5")

    def submit_the_others(self) -> None:
        """One that comes after another, and one that is held."""
        documents = self._documents
        self.names += self._submit(documents[-2], "--after", self.names[-2])
        self.names += self._submit(documents[-1], "--hold")
        self.held = self.names[-1]
        assert len(set(self.names)) == len(documents)

    def _submit(self, *words: str) -> list[str]:
        # A folder for each: of one document alone, -o is the folder of its pages itself.
        names = [Path(word).stem for word in words if word.endswith(".pdf")]
        output = "/mnt/san/out" if len(names) > 1 else f"/mnt/san/out/{names[0]}-pages"
        return submitted(self.machine.say("submit", *words, "-r", "30", "-o", output))

    def release(self) -> None:
        """The one that is held may go on."""
        said = self.machine.say("release", self.held)
        assert said.returncode == 0, said.stderr

    def unfinished(self) -> list[str]:
        """The jobs that have not come to an end."""
        return [name for name in self.names if not jobattributes.load(self.folder(name)).over]

    def who_has_begun(self) -> str:
        """The machine that coordinates the first job of which a page is there; empty: there is none."""
        for name in self.names:
            entries = lines_of(self.folder(name).journal)
            if any(entry["type"] == "page_delivered" for entry in entries):
                return str(entries[0]["coordinator"]).partition(" ")[0]
        return ""

    def folder(self, name: str) -> JobFolder:
        """Of a job."""
        return JobFolder(self._farm.san / name)

    def jobs(self) -> list[Job]:
        """What has become of them."""
        said = self.machine.say("status", "--json")
        assert said.returncode == 0, said.stderr
        told = {status["job"]: status for status in json.loads(said.stdout)["jobs"]}
        assert sorted(told) == sorted(self.names)
        return [
            Job(self.folder(name), lines_of(self.folder(name).journal), told[name])
            for name in self.names
        ]


def check(job: Job, farm: Farm) -> None:
    """The job is done: every page delivered once, whole, and as its journal says."""
    assert job.status["state"] == "done", job.status
    total = job.status["pages"]["total"]
    assert job.status["pages"] == {
        "total": total,
        "done": total,
        "suspect": 0,
        "failed": 0,
        "missing": 0,
    }
    names = [page_name(page, total, "png") for page in range(1, total + 1)]
    digests = _check_pages(job, names)
    _check_output(farm.san / Path(job.status["output"]).relative_to(farm.san_inside), digests)
    check_epochs(job)
    _check_replay(job)


def _check_pages(job: Job, names: list[str]) -> dict[str, str]:
    """Each proved page is whole, and what the journal says of it: the digests of their files."""
    digests = {path.name: _digest(path) for path in job.folder.pages.iterdir()}
    assert sorted(digests) == names
    for name in names:
        with Image.open(job.folder.pages / name) as picture:
            picture.load()
    told = job.of("page_delivered")
    assert sorted({entry["file"] for entry in told}) == names
    for entry in told:
        assert entry["sha256"] == digests[entry["file"]], entry
    assert max(Counter(entry["page"] for entry in told).values()) == 1, "a page was delivered twice"
    return digests


def _check_output(output: Path, digests: dict[str, str]) -> None:
    found = {path.name: _digest(path) for path in output.iterdir() if not path.name.startswith(".")}
    assert found == digests


def check_epochs(job: Job) -> None:
    """An epoch is one coordinator's, and so are the attempts that are named after it."""
    epochs = [run["epoch"] for run in job.of("run_started")]
    assert len(set(epochs)) == len(epochs), [run["coordinator"] for run in job.of("run_started")]
    assert epochs == sorted(epochs)
    attempts = [entry["attempt"] for entry in job.of("page_sent")]
    assert len(set(attempts)) == len(attempts)
    current = 0
    for entry in job.entries:
        current = entry["epoch"] if entry["type"] == "run_started" else current
        if entry["type"] == "page_sent":
            assert entry["attempt"].startswith(f"{current}."), "a coordinator that was fenced off wrote"


def _check_replay(job: Job) -> None:
    """The journal tells the same each time, and what ``status`` tells."""
    spec = load_spec(job.folder)
    assert spec is not None
    first, again = (
        jobstatus.of(job.folder, spec, list(read_journal(job.folder.journal)), None, found)
        for found in (jobattributes.load(job.folder), jobattributes.load(job.folder))
    )
    assert first.as_json() == again.as_json()
    assert (first.state, first.pages) == (job.status["state"], job.status["pages"])
    pages = history.of(entries_of(job.entries)).pages
    assert sorted(pages) == list(range(1, spec.document.pages + 1))
    assert pages == history.of(entries_of(job.entries)).pages


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
