"""``sshrender coordinate``: renders all queued and abandoned jobs, on any machine."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from sshrender.api.jobworkermessages import MAX_CONCURRENT_JOBS
from sshrender.cli import hintcommands, jsonresult, options, statusline
from sshrender.process import gctuning
from sshrender.views import safeprint
from sshrender.views.text import count

_lock = threading.Lock()
"""Serializes the output of several threads, one for each job."""


def coordinate(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="End when no job is waiting any more (for cron).")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option("--jobs", help="Run this many jobs at the same time.", metavar="N", min=1, max=64),
    ] = MAX_CONCURRENT_JOBS,
    hosts: options.Hosts = None,
    san: options.San = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    log_file: options.LogFile = None,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Render all jobs in the queue, and those whose coordinator has died.

    The command runs until it is stopped; with --once, until no job is waiting. Any number of machines
    may run it at the same time. When one dies, another continues its jobs.
    """
    from sshrender.api.queue import ENDING_SIGNALS, QueueRun
    from sshrender.config.settings import resolve

    gctuning.begin()  # this may run for months
    settings = resolve(options.typed(context), config).settings
    run = QueueRun(settings, config, say, max_jobs=jobs, is_once=once, wants_summaries=json_)

    def end(number: int, frame: FrameType | None) -> None:
        run.stop(number)

    for number in ENDING_SIGNALS:
        # nohup(1) has HUP ignored, and that must stay so.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    statusline.answer(lambda: _in_words(run.working))
    result = run.run()
    code = result.exit_code
    jsonresult.narrate_cpu_limit(code)
    if json_:
        code = jsonresult.put({"jobs": result.summaries}, code, is_run=True)
    raise typer.Exit(code)


def _in_words(jobs: Sequence[str]) -> str:
    return f"sshrender coordinate: {count(len(jobs), 'job')} in work" + ", ".join(["", *jobs])


def say(line: str) -> None:
    """Print a line about a job. A full log, or one without a reader, does not stop the queue."""
    with _lock, contextlib.suppress(OSError):
        safeprint.note(hintcommands.in_line_of_job(line), flush=True)
