"""Slurm: sbatch, squeue, scancel, scontrol, sinfo. Read in 20.11 to 24.05; measured with 22.05.8.

``squeue --json`` is not used: before 24.05.1 it ignores every filter (22.05: 3.7 kB for each job of the
cluster), and its fields change with each version.
"""

from __future__ import annotations

from collections.abc import Sequence

from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayHandle,
    ArrayRequest,
    Command,
    Element,
    ElementState,
    EngineUnavailable,
    Node,
    SubmissionRefused,
    WrongEngine,
    clean,
    hours,
    is_number,
    mebibytes,
    number,
    ranges,
    require,
)

_FIELDS = "%F|%K|%T|%N|%S|%j|%r"
"""Array, index, state, node, expected start, name, reason: the last may hold any text."""

_STATES = {
    "PENDING": ElementState.WAITING,
    "REQUEUED": ElementState.WAITING,
    "REQUEUE_HOLD": ElementState.HELD,
    "SPECIAL_EXIT": ElementState.HELD,
    "CONFIGURING": ElementState.WAITING,
    "RUNNING": ElementState.RUNNING,
    "SUSPENDED": ElementState.RUNNING,
    "STOPPED": ElementState.RUNNING,
    "RESIZING": ElementState.RUNNING,
    "SIGNALING": ElementState.RUNNING,
    "STAGE_OUT": ElementState.ENDING,
    "COMPLETING": ElementState.ENDING,
}
"""squeue(1), JOB STATE CODES. Every other one is an end."""

# Slurm has no state for held jobs: they are pending for one of these reasons (squeue(1), JOB REASON
# CODES).
_HELD = frozenset({"JobHeldUser", "JobHeldAdmin"})

_STUCK = "launch fail"
"""A batch script that could not be started is held: ``launch failed requeued held``, or after several
starts ``launch failure limit exceeded requeued held``, with underscores in later versions. A slurmd
that answers later than MessageTimeout (10 s) suffices (seen with 22.05)."""

_SIZE = ("invalid job array specification", "maxsubmitjob", "job violates accounting/qos policy")
"""Refusals that a smaller array may escape: MaxArraySize and limits on submitted jobs."""

_AWAY = ("unable to contact slurm controller", "socket timed out", "connection refused", "slurm backup")

_GONE = (
    *("invalid job id", "already completing or completed", "already finished"),
    "no longer pending",
)
"""Messages of scancel and scontrol for jobs that have ended, or started (slurm_errno.h)."""

WARNING = 90
"""Seconds before the end at which the script gets USR1, or up to 60 s earlier (sbatch(1))."""

# sinfo(1), NODE STATE CODES: the states in which a node runs jobs or may get some.
_USABLE = ("idle", "mixed", "allocated", "completing", "planned")


class Slurm:
    """See Engine."""

    name = "slurm"
    first = 0
    needs_script_file = False

    def version_command(self) -> Command:
        """See Engine."""
        return Command(("sbatch", "--version"))

    def version(self, answer: Answer) -> str:
        """See Engine."""
        words = require(answer).split()
        if len(words) < 2 or not words[0].startswith("slurm"):
            raise WrongEngine(f"sbatch is not Slurm's: {answer.reason}")
        return words[1]

    def submit(self, request: ArrayRequest) -> Command:
        """See Engine."""
        # --parsable prints the number, and ``;cluster`` after it if there are several (sbatch(1)).
        words = ["sbatch", "--parsable", f"--job-name={request.name}", f"--array=0-{request.count - 1}"]
        words += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={request.cores}"]
        # ``B:``: only the script gets the signal, not its steps.
        words += [f"--time={hours(request.walltime)}", f"--signal=B:USR1@{WARNING}"]
        # The node may have no folder of the name that the submission had here.
        words += ["--output=/dev/null", "--chdir=/"]
        if request.memory is not None:
            words.append(f"--mem={mebibytes(request.memory)}M")
        if request.queue is not None:
            words.append(f"--partition={request.queue}")
        if request.avoid:
            words.append(f"--exclude={','.join(request.avoid)}")
        return Command((*words, *request.options), request.script)

    def submitted(self, answer: Answer) -> str:
        """See Engine."""
        if answer.code:
            raise self._refusal(answer)
        # What follows ``;`` is the name of the cluster. A site's wrapper may print lines of its own.
        found = [line.strip().partition(";")[0] for line in answer.out.splitlines()]
        if numbers := [each for each in found if is_number(each)]:
            return numbers[-1]
        raise EngineUnavailable(f"sbatch printed no id: {answer.reason}")

    def verify(self, request: ArrayRequest) -> Command:
        """See Engine."""
        command = self.submit(request)
        return Command((command.words[0], "--test-only", *command.words[1:]), command.stdin)

    def verified(self, answer: Answer) -> None:
        """See Engine."""
        if answer.code:
            raise self._refusal(answer)

    def _refusal(self, answer: Answer) -> Exception:
        reason = answer.reason
        if any(text in reason.lower() for text in _AWAY):
            return EngineUnavailable(reason)
        return SubmissionRefused(reason, is_size=any(text in reason.lower() for text in _SIZE))

    def query(self, arrays: Sequence[ArrayHandle]) -> Command:
        """See Engine."""
        names = [f"--name={','.join(array.name for array in arrays)}"] if arrays else []
        # --array: one line for each element, also for those that wait, which are one line otherwise.
        return Command(
            ("squeue", "--me", "--noheader", "--array", *names, f"--format={_FIELDS}"),
        )

    def elements(self, answer: Answer) -> list[Element]:
        """See Engine."""
        found = []
        for line in require(answer).splitlines():
            # Six separators: a reason may hold ``|``, and is the last field.
            fields = line.strip().split("|", 6)
            if len(fields) < 7 or not is_number(fields[0]):
                continue
            array, index, word, node, start, name, reason = fields
            state = _STATES.get(word, ElementState.ENDED)
            is_stuck = reason.lower().replace("_", " ").startswith(_STUCK)
            if state is ElementState.WAITING and (reason in _HELD or is_stuck):
                state = ElementState.HELD
            found.append(
                Element(
                    array=array,
                    index=number(index),
                    name=name,
                    state=state,
                    reason="" if reason == "None" else clean(reason),
                    node=node,
                    # A running job's %S is its start, which is of no use here; only an expected one is
                    # shown.
                    start="" if start == "N/A" or state is not ElementState.WAITING else start,
                    is_stuck=is_stuck,
                )
            )
        return found

    def cancel(self, array: ArrayHandle, indexes: Sequence[int] = ()) -> Command:
        """See Engine. The name is the unique one, so it serves if the id is unknown."""
        if indexes and array.array:
            return Command(("scancel", f"{array.array}_[{ranges(indexes)}]"))
        return Command(("scancel", "--me", f"--name={array.name}"))

    def hold(self, array: ArrayHandle) -> Command:
        """See Engine. By its name if the id is unknown (scontrol(1))."""
        return Command(("scontrol", "hold", array.array or f"jobname={array.name}"))

    def release(self, array: ArrayHandle) -> Command:
        """See Engine."""
        return Command(("scontrol", "release", array.array))

    def attached(self, element: str, cores: int, words: Sequence[str]) -> tuple[str, ...] | None:
        """See Engine: a step, from 20.11 on. Since 22.05 it does not inherit the cores of its job."""
        return (
            # --overlap: otherwise a step has its cores alone (from 20.11 on), and would wait for an
            # earlier one that has not ended yet.
            *("srun", f"--jobid={element}", "--overlap", "--nodes=1", "--ntasks=1"),
            *(f"--cpus-per-task={cores}", "--quiet", "--unbuffered", "--mpi=none", *words),
        )

    def is_done(self, answer: Answer) -> bool:
        """See Engine. The code is 1 for any failure, also of a controller that is away."""
        return answer.code == 0 or any(text in answer.reason.lower() for text in _GONE)

    def nodes_command(self) -> Command:
        """See Engine."""
        return Command(("sinfo", "--Node", "--noheader", "--format=%N|%T|%C|%E"))

    def nodes(self, answer: Answer) -> list[Node]:
        """See Engine. A node is listed once for each of its partitions."""
        found: dict[str, Node] = {}
        for line in require(answer).splitlines():
            fields = line.strip().split("|", 3)
            # %C is allocated/idle/other/total cores (sinfo(1)).
            if len(fields) < 4 or fields[2].count("/") != 3:
                continue
            name, state, counts, note = fields
            _, free, _, total = (number(each) for each in counts.split("/"))
            # A mark behind the state says more: * does not respond, $ maintenance, ~ powered down.
            is_usable = state.rstrip("#+-") in _USABLE
            # The node's lines differ only in the partition, so any of them will do.
            found[name] = Node(
                name,
                state,
                is_usable,
                total,
                free if is_usable else 0,
                "" if note == "none" else clean(note),
            )
        return list(found.values())
