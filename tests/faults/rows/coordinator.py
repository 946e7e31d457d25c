"""The machine that runs the job: signals, its terminal, its clock, its journal, a rival."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

from tests.faults.fault import MANY, Fault, for_seconds, second, send
from tests.faults.night import PATIENCE, Morning, Night
from tests.lab.host import faketime
from tests.stretch import wait_until

RESUMES = "nothing runs on within 8 s; the next run renders what is missing"
STOPS = "stops everything on the hosts, keeps what was proved, exits 128+N; the next run resumes"


def _journal_path(night: Night) -> Path:
    (path,) = night.farm.san.glob("*/journal.jsonl")
    return path


def _tear_journal(night: Night) -> None:
    send(signal.SIGKILL)(night)
    with _journal_path(night).open("ab") as file:
        file.write(b'{"schema": 2, "time": "2026-01-01T00:00:00.000Z", "type": "page_deli')


def _damage_journal(night: Night) -> None:
    send(signal.SIGKILL)(night)
    lines = _journal_path(night).read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = b"\x00\xff garbage \xfe\n"
    _journal_path(night).write_bytes(b"".join(lines))


def _clock_ahead(night: Night) -> None:
    night.env |= {"LD_PRELOAD": str(faketime()), "FAKETIME": "+1h"}


def _in_a_terminal(night: Night) -> None:
    """Under script(1), whose end is that of the terminal."""
    night.wraps = lambda command: ["script", "-qfec", shlex.join(command), "/dev/null"]


def _close_terminal(night: Night) -> None:
    send(signal.SIGKILL)(night)


def _with_dashboard(night: Night) -> None:
    """As a person has it: a terminal that can show the dashboard, and the dashboard in it."""
    night.env |= {"TERM": "xterm-256color"}
    _in_a_terminal(night)


def _end_of_run(night: Night) -> str:
    """What its journal says of its end, which comes behind that of the terminal."""
    end, *_ = wait_until(
        lambda: [entry for entry in night.journal() if entry["type"] == "run_ended"],
        PATIENCE,
        "the end of the run",
    )
    return str(end["reason"])


def _was_told(night: Night, morning: Morning) -> None:
    assert _end_of_run(night) == "stopped by SIGHUP (signal 1)"


def _went_on(night: Night, morning: Morning) -> None:
    assert _end_of_run(night) == ""
    assert night.is_complete()


def _into_a_pipe(night: Night) -> None:
    """Its narration goes to a reader that leaves after the first line."""
    night.wraps = lambda command: ["sh", "-c", f"{shlex.join(command)} 2>&1 >{night.out}.json | head -1"]


def _take_over(night: Night) -> None:
    """Frozen for longer than the lease lives, while a second coordinator comes."""
    assert night.process is not None
    night.process.send_signal(signal.SIGSTOP)
    rival = second(night)
    assert rival.wait(timeout=120) == 0
    night.process.send_signal(signal.SIGCONT)


def _start_another(night: Night) -> None:
    second(night)


def _one_was_turned_away(night: Night, morning: Morning) -> None:
    (rival,) = night.rivals
    codes = [morning.code, rival.wait(timeout=60)]
    assert sorted(codes) == [0, 9]


def _kill_whole_group(night: Night) -> None:
    """What a terminal, or systemd, kills: all that we started here as well."""
    assert night.process is not None
    os.killpg(night.process.pid, signal.SIGKILL)


FAULTS = [
    Fault("coordinator/SIGKILL", RESUMES, breaks=send(signal.SIGKILL), after=20, code=-9),
    Fault("coordinator/its whole group killed", RESUMES, breaks=_kill_whole_group, after=20, code=-9),
    Fault("coordinator/SIGTERM", STOPS, breaks=send(signal.SIGTERM), after=20, code=143),
    Fault("coordinator/SIGHUP", STOPS, breaks=send(signal.SIGHUP), after=20, code=129),
    Fault("coordinator/SIGINT", STOPS, breaks=send(signal.SIGINT), after=20, code=130),
    Fault("coordinator/SIGINT twice", STOPS, breaks=send(signal.SIGINT, 2), after=20, code=130),
    Fault(
        "coordinator/stopped for a minute",
        "the hosts end by themselves after 8 s; when it continues they are connected again",
        breaks=for_seconds(60, send(signal.SIGSTOP), send(signal.SIGCONT)),
        after=20,
    ),
    Fault(
        "coordinator/frozen, and its job taken over",
        "another takes the lease after 10 s; the frozen one wakes, finds that and ends with 9",
        breaks=_take_over,
        after=20,
        code=9,
    ),
    Fault(
        "coordinator/terminal gone",
        "as SIGHUP: stops everything; the next run resumes",
        words=("--progress", "plain"),
        prepares=_in_a_terminal,
        breaks=_close_terminal,
        after=20,
        code=-9,
        checks=_was_told,
    ),
    Fault(
        "coordinator/dashboard's terminal gone",
        "nothing: the job continues without a dashboard",
        prepares=_with_dashboard,
        breaks=_close_terminal,
        after=20,
        code=-9,
        checks=_went_on,
    ),
    Fault(
        "coordinator/who reads its stderr goes away",
        "nothing: its progress lines are lost",
        prepares=_into_a_pipe,
        code=None,
    ),
    Fault(
        "coordinator/clock an hour off",
        "nothing: no decision uses another machine's clock",
        prepares=_clock_ahead,
    ),
    Fault(
        "coordinator/journal's last line torn",
        "that line does not count: its page is proved again from its file",
        breaks=_tear_journal,
        after=20,
        code=-9,
    ),
    Fault(
        "coordinator/journal damaged",
        "that line does not count: its page is proved again from its file",
        breaks=_damage_journal,
        after=20,
        code=-9,
    ),
    Fault(
        "coordinator/two started at once",
        "one gets the lease, the other ends with 9",
        prepares=_start_another,
        code=None,
        pages=MANY,  # the other one may be seconds later
        checks=_one_was_turned_away,
    ),
]
