"""Runs the commands of an engine: on this machine, or on another one over ssh. Every call is bounded."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

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

# Grouped by what needs them: any program, Slurm, HTCondor, PBS, Grid Engine.
_KEPT = (
    *("HOME", "USER", "LOGNAME", "PATH", "SHELL", "LANG", "TZ", "SSH_AUTH_SOCK", "KRB5CCNAME"),
    *("LD_LIBRARY_PATH", "SLURM_CONF", "CONDOR_CONFIG", "PBS_CONF_FILE", "PBS_DEFAULT", "PBS_SERVER"),
    *("PBS_EXEC", "SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"),
)
"""What the commands need to find their server. sbatch passes its environment on to the job: an inherited
SLURM_CPU_BIND makes it three times slower."""


class EngineCalls:
    """Runs commands. ``via``: the words of an ssh command to where they are; none: this machine."""

    def __init__(self, via: Sequence[str] = ()) -> None:
        self.via = tuple(via)

    def __call__(self, command: Command, timeout: float = CALL_TIMEOUT) -> Answer:
        """Return the answer. Raises EngineUnavailable; SubmissionRefused if there is no such program."""
        words = list(command.words)
        if self.via:
            words = [*self.via, shlex.join(words)]  # ssh hands one line to a shell there
        try:
            done = subprocess.run(
                words,
                input=command.stdin.encode(),
                capture_output=True,
                timeout=timeout,
                # Variables named SBATCH_…, SQUEUE_… or PBS_… outside of this list would change options
                # of the commands.
                env=kept(os.environ),
                # ``/``: PBS and Grid Engine note the current folder as that of the job, and a node may
                # lack it.
                cwd="/",
                start_new_session=True,
                check=False,
            )
        except FileNotFoundError:
            # FileNotFoundError is an OSError, so it comes before it: a missing program does not appear
            # by waiting.
            raise SubmissionRefused(f"{words[0]} is not installed here") from None
        except subprocess.TimeoutExpired:
            raise EngineUnavailable(f"{words[0]} gave no answer in {timeout:g} s") from None
        except OSError as error:
            raise EngineUnavailable(f"{words[0]}: {error.strerror}") from None
        out, err = (data[:MAX_ANSWER].decode("utf-8", "replace") for data in (done.stdout, done.stderr))
        answer = Answer(done.returncode, out, err)
        # 127: the shell on the other machine found no such program (POSIX).
        if self.via and done.returncode == 127:
            raise SubmissionRefused(f"{command.words[0]} is not installed there: {answer.reason}")
        # An error of ssh itself (ssh(1)); sbatch exits so for a bad option.
        if self.via and done.returncode == 255 and "sbatch:" not in err:
            raise EngineUnavailable(f"ssh: {answer.reason}")
        return answer


def kept(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an engine's command."""
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(("LC_", "_CONDOR_"))
    }
