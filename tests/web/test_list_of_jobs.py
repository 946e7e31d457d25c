"""The list of jobs: places in the queue, which all views have in common, and dates."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sshrender.api.joblistsource import JobListSource
from sshrender.api.statusreports import job_report, job_reports
from sshrender.job.folder import JobFolder
from sshrender.views.dashboard.source import JobLine, Listed
from tests import pdfs
from tests.views.chromium import Browser
from tests.web.serving import Client
from tests.web.test_jobs import _events
from tests.web.test_pages import Page

OTHER_USER = 65534


def _job(client: Client, name: str, **options: object) -> str:
    upload = client.upload(pdfs.build(pdfs.numbered(2)), name)
    return str(client.call("POST", f"/api/v1/uploads/{upload}/complete", options).json()["job"])


def _of_another_user(folder: JobFolder) -> None:
    os.chown(folder.path, OTHER_USER, -1)


def _written_by_a_host(folder: JobFolder) -> None:
    fields = json.loads(folder.attributes.read_text())
    folder.attributes.write_text(json.dumps({**fields, "priority": 7}))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            _of_another_user, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chown")
        ),
        _written_by_a_host,
    ],
)
def test_every_view_shows_the_same_place(
    alice: Client, san: Path, change: Callable[[JobFolder], None]
) -> None:
    """Jobs that no coordinator of this user runs are before no job of this user."""
    change(JobFolder(san / _job(alice, "foreign.pdf")))
    jobs = [_job(alice, "urgent.pdf"), _job(alice.as_("bob"), "bobs.pdf"), _job(alice, "last.pdf")]
    words = ["no coordinator has started it yet"]
    words += [f"{before}, {words[0]}" for before in ("1 job before it", "2 jobs before it")]
    expected = dict(zip(jobs, zip((1, 2, 3), words, strict=True), strict=True))
    operator = alice.as_("olga")
    listed = operator.call("GET", "/api/v1/queue").json()["jobs"]
    assert {
        row["name"]: (row["place"], row["waits"]) for row in listed if row["name"] in jobs
    } == expected
    in_status = {report.name: report for report in job_reports(san, {})}
    for name, place in expected.items():
        row = operator.call("GET", f"/api/v1/jobs/{name}").json()
        assert (row["queue_place"], row["waits"]) == place
        assert row["position"] == place[0]
        _, event = next(_events(operator, f"/api/v1/jobs/{name}/events"))
        assert (event["position"], event["waits"]) == place
        for report in (in_status[name], job_report(san, name).report):
            assert (report.queue_place, report.waits) == place


DATES = """[...document.querySelectorAll('.job time')].map(
    (each) => [each.textContent, each.title, each.dateTime])"""


def test_dates_are_told_as_how_long_ago_with_the_date_itself(
    browser: Browser, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages = {-40: "just now", 130: "2 minutes ago", 3 * 3600 + 60: "3 hours ago", 90_000: "yesterday"}
    times = [datetime.fromtimestamp(time.time() - age, UTC) for age in (*ages, 30 * 86400)]
    lines = [
        JobLine(f"job-{at}", f"job-{at}", "queued", submitted=moment.isoformat())
        for at, moment in enumerate(times)
    ]
    monkeypatch.setattr(JobListSource, "read", lambda _: Listed(tuple(lines), ()))
    browser.call("Emulation.setTimezoneOverride", timezoneId="UTC")
    Page(browser, alice, "olga").open("")
    browser.wait_for("document.querySelectorAll('.job time').length === 5")
    found = browser.run(DATES)
    whole = [f"{moment.day} {moment:%b %Y, %H:%M}" for moment in times]
    told = [*ages.values(), whole[-1]]
    assert found == [
        [*each] for each in zip(told, whole, [line.submitted for line in lines], strict=True)
    ]
