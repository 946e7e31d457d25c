"""How jobs of the queue end that do not simply end well."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests import pdfs
from tests.cli.conftest import Paced
from tests.conftest import Run, Start
from tests.entries import delivered, lines_of
from tests.stretch import wait_until


def _folder(home: Path, name: str) -> Path:
    (found,) = home.glob(f".local/state/sshrender/{name}-*")
    return found


def _journal(home: Path, name: str) -> list[dict[str, Any]]:
    return lines_of(_folder(home, name) / "journal.jsonl")


def _await_pages(home: Path, name: str, count: int) -> None:
    """Wait until so many pages of a job are on record as delivered."""
    journals = f".local/state/sshrender/{name}-*/journal.jsonl"
    wait_until(lambda: len(delivered(home.glob(journals))) >= count, what=f"{count} pages")


def _await_request(home: Path, name: str, operation: str) -> None:
    """Wait until the coordinator of a job has been asked for this."""

    def is_asked() -> bool:
        return any(entry.get("op") == operation for entry in _journal(home, name))

    wait_until(is_asked, what=operation)


def _state(sshrender: Run, name: str) -> str:
    return str(json.loads(sshrender("status", name, "--json").stdout)["state"])


def test_a_job_that_is_held_meanwhile_keeps_no_other_waiting(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    """It gives its place away, and who comes from cron does not wait for its release."""
    paced(0.5, last=6)
    pdfs.write(home / "long.pdf", pdfs.numbered(30))
    pdfs.write(home / "other.pdf", pdfs.numbered(3))
    assert sshrender("submit", "long.pdf", "--priority", "9").returncode == 0
    assert sshrender("submit", "other.pdf").returncode == 0
    with start("coordinate", "--once", "--jobs", "1", stderr=subprocess.DEVNULL) as once:
        _await_pages(home, "long", 3)
        assert sshrender("hold", "long").returncode == 0
        _await_request(home, "long", "hold")
        paced(0)
        assert once.wait(120) == 0
    assert (_state(sshrender, "long"), _state(sshrender, "other")) == ("held", "done")
    assert sshrender("release", "long").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    assert _state(sshrender, "long") == "done"
    sent = [entry["page"] for entry in _journal(home, "long") if entry["type"] == "page_delivered"]
    assert sorted(sent) == list(range(1, 31))


def test_a_job_whose_pages_cannot_be_put_together_is_not_over(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    paced(0.5, last=2)
    pdfs.write(home / "five.pdf", pdfs.numbered(5))
    in_the_way = home / "out" / "five.zip"
    words = ("-r", "36", "-o", "out", "--assemble", "zip")
    assert sshrender("submit", "five.pdf", *words).returncode == 0
    with start("coordinate", "--once", stderr=subprocess.DEVNULL) as once:
        _await_pages(home, "five", 1)
        (in_the_way / "something").mkdir(parents=True)
        paced(0)
        assert once.wait(120) == 6
    assert _state(sshrender, "five") == "queued"
    (in_the_way / "something").rmdir()
    in_the_way.rmdir()
    assert sshrender("coordinate", "--once").returncode == 0
    assert (_state(sshrender, "five"), in_the_way.is_file()) == ("done", True)
    assert len([entry for entry in _journal(home, "five") if entry["type"] == "page_sent"]) == 5


def test_a_job_that_is_wanted_elsewhere_meanwhile_is_delivered_there(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    paced(0.3, last=6)
    pdfs.write(home / "long.pdf", pdfs.numbered(30))
    assert sshrender("submit", "long.pdf", "-o", "here").returncode == 0
    with start("coordinate", "--once", stderr=subprocess.DEVNULL) as once:
        _await_pages(home, "long", 1)
        assert sshrender("alter", "long", "-o", "there").returncode == 0
        _await_request(home, "long", "alter")
        paced(0)
        assert once.wait(120) == 0
    assert len(list((home / "there").glob("page-*.png"))) == 30
    assert [path.name for path in home.glob("*here/.sshrender-*")] == []
    delivered = [entry for entry in _journal(home, "long") if entry["type"] == "page_delivered"]
    assert len(delivered) == 30


def test_what_is_typed_is_added_to_what_the_submitter_wished(sshrender: Run, home: Path) -> None:
    pdfs.write(home / "five.pdf", pdfs.numbered(5))
    assert sshrender("submit", "five.pdf", "-r", "36", "--retries", "5").returncode == 0
    assert sshrender("resume", "five", "--page-timeout", "50s").returncode == 0
    wishes = json.loads((_folder(home, "five") / "attributes.json").read_text())["wishes"]
    assert wishes == {"retries": 5, "page_timeout": 50.0}
