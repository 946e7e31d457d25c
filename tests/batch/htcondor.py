"""Stand-ins of HTCondor's commands, after its manual: an unknown option or a constraint is refused.

Constraints are those that the program makes: ``SsrPilot == "NAME"``, joined by ``||``, or with a status.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.batch.fakebatch import Cluster
from tests.batch.torque import refuse

OPTIONS = {
    "condor_submit": {"-terse": 0, "-": 0},
    "condor_q": {"-json": 0, "-attributes": 1, "-constraint": 1},
    "condor_rm": {"-constraint": 1},
    "condor_hold": {"-constraint": 1},
    "condor_release": {"-constraint": 1},
    "condor_status": {"-json": 0, "-attributes": 1},
    "condor_version": {},
    "condor_ssh_to_job": {},
}
STATUS = {"Q": 1, "R": 2, "C": 4, "H": 5}


def submit(cluster: Cluster, text: str) -> int:
    given = dict(re.findall(r"^(\+?\w+) *= *(.*)$", text, re.MULTILINE))
    queue = re.search(r"^queue (\d+)$", text, re.MULTILINE)
    limit = re.search(r"EnteredCurrentStatus > (\d+)", given.get("periodic_remove", ""))
    if queue is None or given.get("universe") != "vanilla" or limit is None:
        return refuse("ERROR", 1, "Failed to parse command file")
    (path, process) = shlex.split(given["arguments"].strip('"').replace("''", "'"))
    assert given["executable"] == "/bin/sh"
    assert process == "$(Process)"
    number = cluster.submit(
        given["+SsrPilot"].strip('"'),
        # The first word of the script's arguments is the process.
        f'exec /bin/sh {shlex.quote(path)} "$PROCESS"\n',
        list(range(int(queue[1]))),
        {"PROCESS": "INDEX", "_CONDOR_MACHINE_AD": "/none"},
        float(limit[1]),
    )
    print(f"{number}.0 - {number}.{int(queue[1]) - 1}")
    return 0


def selected(cluster: Cluster, ids: list[str], constraint: str | None) -> list[str]:
    with cluster.locked() as state:
        jobs = dict(state["jobs"])
    if constraint is None:
        return [key for key in jobs if key in ids]
    if constraint == "SsrPilot =!= undefined":
        return list(jobs)
    names = re.findall(r'SsrPilot == "([^"]*)"', constraint)
    status = re.search(r"JobStatus == (\d)", constraint)
    return [
        key
        for key, job in jobs.items()
        if job["name"] in names and (status is None or STATUS[job["state"]] == int(status[1]))
    ]


def show(cluster: Cluster, keys: list[str]) -> int:
    rows = []
    with cluster.locked() as state:
        cluster.schedule(state)
        for key in keys:
            job = state["jobs"][key]
            if job["state"] == "C":
                continue
            row = {"ClusterId": job["array"], "ProcId": job["index"], "SsrPilot": job["name"]}
            rows.append({**row, "JobStatus": STATUS[job["state"]]})
    if rows:  # otherwise it prints nothing
        print(json.dumps(rows))
    return 0


def main(folder: str, name: str, words: list[str]) -> int:
    cluster = Cluster(Path(folder))
    cluster.note(name, words)
    if name == "condor_ssh_to_job":
        # Without this option the real one fails in the first eight seconds of a job (23.9, measured):
        # its schedd does not know the address of the job's starter yet.
        if words[0] != "-auto-retry":
            print("(Use -auto-retry to keep trying periodically.)", file=sys.stderr)
            return 1
        return attach(cluster, words[1], words[2:])
    given: dict[str, str] = {}
    ids = []
    rest = iter(words)
    for word in rest:
        if word in OPTIONS[name]:
            given[word] = next(rest) if OPTIONS[name][word] else ""
        elif word.startswith("-"):
            return refuse(name, 1, f"unrecognized option {word}")
        else:
            ids.append(word)
    keys = selected(cluster, ids, given.get("-constraint"))
    match name:
        case "condor_version":
            print("$CondorVersion: 23.0.1 2023-11-01 $\n$CondorPlatform: x86_64_Debian12 $")
        case "condor_submit":
            return submit(cluster, sys.stdin.read())
        case "condor_q":
            return show(cluster, keys)
        case "condor_status":
            print(json.dumps([{"Machine": "node1", "State": "Unclaimed", "Cpus": 4}]))
        case _:
            return change(cluster, name, keys)
    return 0


def attach(cluster: Cluster, job: str, words: list[str]) -> int:
    """Run a command beside a job. Its line is read as condor_ssh_to_job_shell_setup reads it."""
    with cluster.locked() as state:
        if state["jobs"].get(job, {}).get("state") != "R":
            return refuse("condor_ssh_to_job", 1, f"Job {job} is not running")
    return subprocess.call(
        ["/bin/sh", "-c", "eval ${SSH_ORIGINAL_COMMAND}"],
        env={**os.environ, "SSH_ORIGINAL_COMMAND": " ".join(words)},
    )


def change(cluster: Cluster, name: str, keys: list[str]) -> int:
    if name == "condor_rm":
        for key in keys:
            cluster.end(key)
    else:
        before, after = ("Q", "H") if name == "condor_hold" else ("H", "Q")
        cluster.move(keys, before, after)
    if not keys:
        verb = name.removeprefix("condor_").replace("rm", "remove")
        print(f"\nCouldn't find/{verb} all jobs matching constraint (…)", file=sys.stderr)
    return 0 if keys else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
