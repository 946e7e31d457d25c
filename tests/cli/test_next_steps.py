"""``status JOB`` and ``why JOB`` say the same next step, and it works when it is typed."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from sshrender.config import keyfile
from sshrender.views import jobproblems, queuewords
from sshrender.views.joblist import next_step
from tests import pdfs
from tests.cli.test_hints import Said, run, type_

WAITING = {
    "held": ([], ["hold", "one"], "sshrender release one-"),
    "cancelled": ([], ["cancel", "one"], "to render the missing pages: sshrender resubmit one-"),
    "later": (
        ["--not-before", "2h"],
        [],
        "to start it now: sshrender alter one-",
    ),
    "after another": (
        ["--after", "two"],
        [],
        "to start it without waiting for others: sshrender alter one-",
    ),
}


def _hint(said: Said) -> str:
    (found,) = re.findall(r"^hint: (.*)$", said.text, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", WAITING)
def test_a_job_that_waits_can_be_started_as_the_hint_says(home: Path, name: str) -> None:
    options, command, step = WAITING[name]
    san = home / "a san"
    san.mkdir()
    for document in ("one", "two"):
        pdfs.write(home / f"{document}.pdf", pdfs.numbered(1))
    assert run("submit", "two.pdf", "--san", san).code == 0
    assert run("submit", "one.pdf", "--san", san, *options).code == 0
    if command:
        assert run(*command, "--san", san).code == 0
    hints = [_hint(run(verb, "one", "--san", san)) for verb in ("status", "why")]
    # pytest's own command line has no --san, which the program's has.
    assert hints[0] == hints[1]
    assert hints[0].startswith(step)
    (word,) = re.findall(r"sshrender (?:.*)$", hints[0])
    assert json.loads(run("why", "one", "--san", san, "--json").text)["hint"].startswith(step)
    done = type_(f"{word} --san '{san}'")
    assert (done.code, done.error) == (0, "")
    # Now the job waits for a coordinator alone.
    assert _hint(run("why", "one", "--san", san)).startswith("sshrender coordinate")


@pytest.mark.parametrize("state", ["held", "paused", "partial", "failed", "cancelled", "queued"])
def test_every_state_in_which_a_job_does_not_go_on_has_a_next_step(state: str) -> None:
    report = {
        "job": "big-12345678",
        "state": state,
        "submitted": "",
        "pages": {"missing": 3},
        "after": [],
        "not_before": "",
    }
    assert re.search(r"sshrender (resume|release|cancel) big-12345678$", next_step(report))


def test_conditions_that_are_met_are_no_longer_named() -> None:
    """A job that ran after the other one, and was interrupted, waits for its coordinator alone."""
    report = {
        "job": "big-12345678",
        "state": "queued",
        "reason": "its coordinator is gone",
        "submitted": "2026-01-01T00:00:00Z",
        "pages": {"missing": 3},
        "after": ["two-12345678"],
        "not_before": "2026-01-01T00:00:00Z",
        "waits": queuewords.UNSTARTED,
    }
    assert next_step(report) == "sshrender coordinate"
    assert next_step({**report, "waits": "next in the queue"}) == ""
    said = [each.cause for each in jobproblems._waiting(report)]
    assert said == ["its coordinator is gone", queuewords.UNSTARTED]
    waiting = [each.cause for each in jobproblems._waiting({**report, "waits": None})]
    assert waiting[:2] == ["its coordinator is gone", "it starts after two-12345678"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_job_of_another_user_is_called_that_and_no_key_is_asked_for(
    san: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who imported the key of another one could not run own jobs any more."""
    pdfs.write(home / "one.pdf", pdfs.numbered(1))
    monkeypatch.setenv("LOGNAME", "daemon")
    assert run("submit", "one.pdf").code == 0
    monkeypatch.setenv("LOGNAME", "root")
    (folder,) = san.glob("one-*")
    shutil.chown(folder, "daemon")
    keyfile.path().unlink()
    assert run("submit", "one.pdf", "-r", "30", "-o", "other").code == 0, (
        "which makes a key of this user"
    )
    name = folder.name
    said = run("resume", name)
    assert said.error == f"{name} is a job of user daemon"
    assert said.hint == f"sudo -u daemon sshrender resume {name} --san {san}"
    whole, why = (run(command, name) for command in ("status", "why"))
    assert "no coordinator of its user has started it yet" in run("status").text
    assert "not run   it is a job of user daemon" in whole.text
    assert "it is not run here: it is a job of user daemon" in why.text
    for text in (whole.text, why.text):
        assert "key" not in text
        assert "hint" not in text, "nothing that this user could type helps"
