"""What this machine renders itself, as a run and `hosts` use it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sshrender.coordinator import owncanary, survey
from sshrender.coordinator.owncanary import OwnCanary
from sshrender.coordinator.survey import Check, HostReport
from sshrender.core import events as ev
from sshrender.core.likeness import Look
from sshrender.runner import facts, likeness, limits


def test_this_machine_renders_the_canary_page_as_a_runner_here_does() -> None:
    digest = likeness.picture("gs", limits.environment(dict(os.environ)))
    version = facts.ghostscript_version("gs")
    assert digest
    assert OwnCanary(lambda event: None).look() == Look(version or "", digest)


def test_a_canary_that_hangs_is_ended_with_the_run_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = tmp_path / "began"
    program = tmp_path / "gs"
    script = f'#!/bin/sh\ncase "$*" in --version) echo 10.00.0;; *) : > {began}; exec sleep 99;; esac\n'
    program.write_text(script)
    program.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(owncanary, "PROGRAM", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    heard: list[ev.CanaryRendered] = []
    canary = OwnCanary(heard.append)
    canary.begin()
    while not began.exists():
        time.sleep(0.01)
    assert list(scratch.iterdir())
    canary.stop()
    while not heard:
        time.sleep(0.01)
    assert heard == [ev.CanaryRendered(None)]
    assert list(scratch.iterdir()) == []


def test_without_ghostscript_here_there_is_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owncanary, "PROGRAM", "no-such-ghostscript")
    assert OwnCanary(lambda event: None).look() is None


@pytest.mark.parametrize("own", ["a", "b"])
def test_of_two_hosts_that_differ_hosts_refuses_the_one_that_this_machine_disagrees_with(
    monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    monkeypatch.setattr(OwnCanary, "look", lambda self: Look("10.00.0", own))
    reports = [
        HostReport(name, "idle", checks=[Check("picture", None)], ghostscript="10.00.0", canary=name)
        for name in ("a", "b")
    ]
    survey.compare(reports)
    assert {report.name: report.state for report in reports} == {
        own: "idle",
        "b" if own == "a" else "a": "refused",
    }
