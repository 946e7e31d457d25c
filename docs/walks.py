"""Three walks through the program, module by module, as tables of docs/architecture.md.

A step is either called by the module of an earlier step, which then imports it (perhaps through others),
or it takes up what an earlier step has left in a queue, on the wire or in a file. So no walk climbs: a
module never calls one that calls it. tests/house/test_walks.py holds that.
"""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """What ``module`` does. ``after``: the module that calls it, or that left what ``medium`` names."""

    module: str
    after: str
    does: str
    medium: str = ""


PAGE = (
    Step("cli.render", "", "parses the command, calls the api, turns the result into an exit code"),
    Step("api.runcontext", "cli.render", "reads settings and inventory, opens the job and runs it"),
    Step("coordinator.jobopening", "api.runcontext", "stages the document and writes the job's folder"),
    Step(
        "document.reading",
        "coordinator.jobopening",
        "has a child process read facts, and sizes and fonts later",
    ),
    Step("job.spec", "coordinator.jobopening", "writes `job.json`, signed"),
    Step(
        "coordinator.jobrun", "api.runcontext", "takes the lease and reads what earlier runs delivered"
    ),
    Step(
        "coordinator.loop",
        "coordinator.jobrun",
        "hands events to the scheduler, carries out its commands",
    ),
    Step(
        "core.scheduler", "coordinator.loop", "decides: `RenderPage(page 7, host node03, attempt 1.12)`"
    ),
    Step("coordinator.hosts.router", "coordinator.loop", "turns the command into a message"),
    Step("coordinator.hosts.connection", "coordinator.hosts.router", "writes the message as one line"),
    Step("runner.main", "coordinator.hosts.connection", "reads the line on the host", "wire"),
    Step(
        "runner.rendering.slot",
        "runner.main",
        "takes the next page from its queue, names the file in `work/`",
    ),
    Step(
        "runner.rendering.warmsession", "runner.rendering.slot", "asks the warm Ghostscript for the page"
    ),
    Step(
        "renderers.ghostscript",
        "runner.rendering.warmsession",
        "knows the dialogue: lines to write, lines to expect",
    ),
    Step(
        "runner.rendering.finalizer", "runner.rendering.slot", "syncs the file, hashes it and reports it"
    ),
    Step(
        "coordinator.hosts.connection",
        "runner.rendering.finalizer",
        "reads and checks the report",
        "wire",
    ),
    Step("coordinator.loop", "coordinator.hosts.connection", "takes the report from its queue", "queue"),
    Step("coordinator.hosts.messagehandlers", "coordinator.loop", "turns the report into an event"),
    Step("core.scheduler", "coordinator.loop", "decides: `VerifyPage`"),
    Step(
        "coordinator.workers.verifier",
        "coordinator.loop",
        "takes the page in a thread, tries again what is not visible yet, flushes",
    ),
    Step(
        "coordinator.workers.pagedelivery",
        "coordinator.workers.verifier",
        "verifies, publishes and delivers the page",
    ),
    Step(
        "job.verification.verify",
        "coordinator.workers.pagedelivery",
        "checks the file, in a child process",
    ),
    Step(
        "job.output.publish", "coordinator.workers.pagedelivery", "gives it its final name in `pages/`"
    ),
    Step("coordinator.loop", "coordinator.workers.verifier", "takes the result from its queue", "queue"),
    Step(
        "coordinator.journalrecorder",
        "coordinator.loop",
        "records `page_delivered`, shows it to the views",
    ),
    Step("job.journal.journal", "coordinator.journalrecorder", "appends the line to `journal.jsonl`"),
)

REQUEST = (
    Step("views.dashboard.requestkeys", "", "the user presses `d`: drain the selected host"),
    Step(
        "views.dashboard.source",
        "views.dashboard.requestkeys",
        "the interface for requests of a dashboard",
    ),
    Step(
        "api.dashboardsource",
        "views.dashboard.source",
        "implements it for a job in a folder",
        "protocol",
    ),
    Step(
        "job.queue.requests", "api.dashboardsource", "signs the request and writes it into `requests/`"
    ),
    Step(
        "coordinator.workers.requestpoller",
        "job.queue.requests",
        "lists `requests/` on any machine",
        "file",
    ),
    Step(
        "job.queue.queueoperations",
        "coordinator.workers.requestpoller",
        "records in `attributes.json` what lasts",
    ),
    Step("coordinator.loop", "coordinator.workers.requestpoller", "takes it from its queue", "queue"),
    Step("core.scheduler", "coordinator.loop", "dispatches `DrainRequested` to its handler"),
    Step("core.hosttransitions", "core.scheduler", "changes the host's state, recalls its pages"),
)

JOB = (
    Step("cli.submit", "", "parses the command, calls the api, prints the job's name"),
    Step("api.submission", "cli.submit", "opens the job, and queues it"),
    Step("coordinator.jobopening", "api.submission", "stages the document and writes `job.json`"),
    Step("job.jobattributes", "api.submission", "writes `attributes.json`: the job is queued"),
    Step("cli.coordinate", "job.jobattributes", "runs on any machine, and calls the api", "file"),
    Step("api.queue", "cli.coordinate", "runs the queue until it is empty or the command is stopped"),
    Step("coordinator.queuedispatcher", "api.queue", "starts, watches and ends jobs"),
    Step("job.queue.queuescanner", "coordinator.queuedispatcher", "finds the job in the shared folder"),
    Step("core.queueorder", "coordinator.queuedispatcher", "decides which job comes next"),
    Step("api.jobprocess", "api.queue", "starts a process for the job and sends it an order"),
    Step("api.jobworker", "api.jobprocess", "opens the job again, in that process", "pipe"),
    Step("api.runcontext", "api.jobworker", "reads the settings of the job and runs it"),
    Step("coordinator.jobrun", "api.runcontext", "takes the lease"),
    Step("coordinator.loop", "coordinator.jobrun", "renders the pages, as in the first walk"),
    Step("coordinator.outcome", "coordinator.loop", "sums up: state, exit code, failed pages"),
    Step("job.output.manifest", "coordinator.jobrun", "writes `manifest.json`"),
    Step("coordinator.overviewwriter", "api.runcontext", "writes `overview.html`"),
    Step("coordinator.notification", "api.runcontext", "sends mail and runs `on_done`"),
    Step("api.jobprocess", "api.jobworker", "reads how the job ended", "pipe"),
)

WALKS = {"walk-page": PAGE, "walk-request": REQUEST, "walk-job": JOB}


def table(steps: tuple[Step, ...]) -> str:
    """Return a walk as a table in Markdown."""
    lines = ["| | module | reached from | what it does |", "|--:|---|---|---|"]
    for number, step in enumerate(steps, 1):
        origin = f"`{step.after}`" if step.after else "the user"
        if step.medium:
            origin += f", by {step.medium}"
        lines.append(f"| {number} | `{step.module}` | {origin} | {step.does} |")
    return "\n".join(lines) + "\n"
