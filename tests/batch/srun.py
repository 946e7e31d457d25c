"""A stand-in of Slurm's srun (22.05): a step in the allocation of a job whose holder runs.

Called as ``srun.py PID OPTIONS… COMMAND…``; PID is the first process of the job. As the real one, it
ends with its step and the step with it: whether it is killed or not, and whoever is killed first.
"""

from __future__ import annotations

import contextlib
import getopt
import os
import select
import signal
import subprocess
import sys

LONG = ["jobid=", "overlap", "nodes=", "ntasks=", "cpus-per-task=", "quiet", "unbuffered", "mpi="]


def main(job: int, words: list[str]) -> int:
    try:
        options, command = getopt.getopt(words, "", LONG)
    except getopt.GetoptError as error:
        print(f"srun: unrecognized option '--{error.opt}'", file=sys.stderr)
        return 255
    try:
        holder = os.pidfd_open(job)
    except OSError:
        number = dict(options)["--jobid"]
        print(f"srun: error: Unable to confirm allocation for job {number}: Invalid job id specified")
        return 1
    # The pipe stands for the connection between the client and its step: no bytes go over it.
    client, ours = os.pipe()
    if os.fork():
        os.close(client)
        _, status = os.wait()
        return os.waitstatus_to_exitcode(status)
    os.close(ours)
    os.setsid()
    step = subprocess.Popen(command, start_new_session=True)
    ended = os.pidfd_open(step.pid)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # only the step reads and writes the streams
        os.dup2(null, stream)
    found, _, _ = select.select([holder, client, ended], [], [])
    if ended not in found:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(step.pid, signal.SIGKILL)
        step.wait()
        os._exit(143)
    os._exit(max(0, step.wait()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
