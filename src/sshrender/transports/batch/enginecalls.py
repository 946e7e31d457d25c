"""Runs the commands of an engine: on this machine, or on another one over ssh. Every call is bounded."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence

from sshrender.transports import childprocess
from sshrender.transports.batch import loginhost
from sshrender.transports.batch.engines.interface import (
    Answer,
    Command,
    EngineUnavailable,
    SubmissionRefused,
)

CALL_TIMEOUT = 30.0
"""Seconds: squeue gives up after 9 s without its controller (measured), a busy qsub took 0.1 s."""

MAX_ANSWER = 64 << 20
"""Bytes: TORQUE prints 1.6 kB for each job of the server."""


class EngineCalls:
    """Runs commands. ``via``: the words of an ssh command to where they are; none: this machine.

    ``server``: of PBS, if it is not the default one.
    """

    def __init__(self, via: Sequence[str] = (), server: str = "") -> None:
        self.via = tuple(via)
        self._server = server

    def __call__(self, command: Command, timeout: float = CALL_TIMEOUT) -> Answer:
        """Return the answer. Raises EngineUnavailable; SubmissionRefused if there is no such program."""
        # TORQUE and OpenPBS ask this server then, also for ids that name another one (pbs(1B)).
        server = ["env", f"PBS_DEFAULT={self._server}", f"PBS_SERVER={self._server}"]
        words = [*(server if self._server else ()), *command.words]
        if not self.via:
            answer = _run(words, command.stdin, timeout)
            if self._server and answer.code == 127:
                raise SubmissionRefused(f"{command.words[0]} is not installed here: {answer.reason}")
            return answer
        marker = f"sshrender-{secrets.token_hex(8)}"
        answer = _run([*self.via, loginhost.remote_line(words, marker)], command.stdin, timeout)
        out = loginhost.behind(marker, answer.out)
        err = loginhost.behind(marker, answer.err)
        if out is None:
            raise EngineUnavailable(f"ssh: {answer.reason}")
        answer = Answer(answer.code, out, answer.err if err is None else err)
        # 127: env found no such program (POSIX).
        if answer.code == 127:
            raise SubmissionRefused(f"{command.words[0]} is not installed there: {answer.reason}")
        # An error of ssh itself (ssh(1)), as of a broken connection. sbatch exits so for a bad option.
        if answer.code == 255 and "sbatch:" not in answer.err:
            raise EngineUnavailable(f"ssh: {answer.reason}")
        return answer


def _run(words: Sequence[str], stdin: str, timeout: float) -> Answer:
    """Run a command in a session of its own, and end all of it after ``timeout`` seconds."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Variables named SBATCH_…, SQUEUE_… or PBS_… outside of this list would change options of
            # the commands.
            env=kept(os.environ),
            # ``/``: PBS and Grid Engine note the current folder as that of the job, and a node may lack
            # it.
            cwd="/",
            start_new_session=True,
        )
    except FileNotFoundError:
        # FileNotFoundError is an OSError, so it comes before it: a missing program does not appear by
        # waiting.
        raise SubmissionRefused(f"{words[0]} is not installed here") from None
    except OSError as error:
        raise EngineUnavailable(f"{words[0]}: {error.strerror}") from None
    with process:
        try:
            streams = process.communicate(stdin.encode(), timeout)
        except subprocess.TimeoutExpired:
            # The group: a ProxyCommand of ssh, or a wrapper of a site, would keep the pipes open.
            childprocess.end_group(process)
            raise EngineUnavailable(f"{words[0]} gave no answer in {timeout:g} s") from None
    out, err = (data[:MAX_ANSWER].decode("utf-8", "replace") for data in streams)
    return Answer(process.returncode, out, err)


def kept(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an engine's command."""
    return {
        name: value
        for name, value in environ.items()
        if name in loginhost.KEPT or name.startswith(loginhost.KEPT_PREFIXES)
    }
