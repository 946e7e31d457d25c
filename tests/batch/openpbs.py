"""Stand-ins of OpenPBS's qsub, qstat, qdel, qhold, qrls and pbsnodes, with its option letters (23.06).

An option that OpenPBS does not know, as ``-t``, is refused as it does: exit code 2.
"""

from __future__ import annotations

import getopt
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.batch.fakebatch import Cluster
from tests.batch.torque import refuse

LETTERS = {
    "qsub": "a:A:c:C:e:fGhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz",
    "qstat": "aBEfF:GHiJMnpQqrsStTu:wx1",
    "qdel": "W:x",
    "qhold": "h:",
    "qrls": "h:",
    "pbsnodes": "aC:d:D:F:H:jlLo:r:R:sSv",
}
VERSION = "23.06.06"


def qsub(cluster: Cluster, words: list[str]) -> int:
    options, _ = getopt.gnu_getopt(words, LETTERS["qsub"])
    given, needs = dict(options), [value for name, value in options if name == "-l"]
    config, indexes = cluster.config, [0]
    if "-J" in given:
        found = re.fullmatch(r"(\d+)-(\d+)", given["-J"])
        if found is None or int(found[1]) >= int(found[2]):
            return refuse("qsub", 2, "illegal -J value")
        indexes = list(range(int(found[1]), int(found[2]) + 1))
    if len(indexes) > config["max_array"]:
        return refuse("qsub", 235, "Array job exceeds server or queue size limit: array size")
    if given.get("-q", "batch") not in config["queues"]:
        return refuse("qsub", 170, "Unknown queue")
    limits = dict(part.split("=", 1) for part in needs)
    hours, minutes, seconds = map(int, limits["walltime"].split(":"))
    cores = re.search(r"ncpus=(\d+)", limits["select"])
    assert cores is not None
    environ = {"NCPUS": cores[1], "OMP_NUM_THREADS": cores[1], "PBS_JOBNAME": given["-N"]}
    if "-J" in given:
        environ["PBS_ARRAY_INDEX"] = "INDEX"
    script = sys.stdin.read()
    limit = 3600 * hours + 60 * minutes + seconds
    number = cluster.submit(given["-N"], script, indexes, environ, limit)
    print(f"{number}[].desk" if "-J" in given else f"{number}.desk")
    return 0


def qstat(cluster: Cluster, words: list[str]) -> int:
    options, ids = getopt.gnu_getopt(words, LETTERS["qstat"])
    assert {"-f", "-t"} <= dict(options).keys()
    assert dict(options)["-F"] == "json"
    jobs: dict[str, Any] = {}
    with cluster.locked() as state:
        cluster.schedule(state)
        for job in state["jobs"].values():
            array = "PBS_ARRAY_INDEX" in job["environ"]
            whole = f"{job['array']}[].desk" if array else f"{job['array']}.desk"
            if (ids and whole not in ids) or job["state"] == "C":
                continue
            if array:
                jobs[whole] = {"Job_Name": job["name"], "job_state": "B"}
            name = f"{job['array']}[{job['index']}].desk" if array else whole
            jobs[name] = {
                "Job_Name": job["name"],
                "job_state": job["state"],
                "exec_host": "node1/0",
                "comment": "Not Running: Insufficient amount of resource: ncpus",
            }
    print(json.dumps({"timestamp": 1, "pbs_version": VERSION, **({"Jobs": jobs} if jobs else {})}))
    return 0 if jobs or not ids else 153


def _keys(cluster: Cluster, ids: list[str]) -> list[str]:
    with cluster.locked() as state:
        jobs = list(state["jobs"])
    found = []
    for each in ids:
        match = re.fullmatch(r"(\d+)(?:\[(\d*)\])?(?:\.desk)?", each)
        if match is not None:
            wanted = f"{match[1]}.{match[2] or ''}"
            found += [key for key in jobs if key == wanted or (not match[2] and key.startswith(wanted))]
    return found


def _set(cluster: Cluster, keys: list[str], before: str, after: str) -> int:
    cluster.move(keys, before, after)
    return 0 if keys else 153


def _delete(cluster: Cluster, keys: list[str]) -> int:
    for key in keys:
        cluster.end(key)
    return 0 if keys else 153


def _nodes(cluster: Cluster) -> int:
    slots = cluster.config["slots"]
    node = {"state": "free", "resources_available": {"ncpus": slots}, "resources_assigned": {"ncpus": 0}}
    print(json.dumps({"nodes": {"node1": node}}))
    return 0


def main(folder: str, name: str, words: list[str]) -> int:
    cluster = Cluster(Path(folder))
    cluster.note(name, words)
    if words == ["--version"]:
        print(f"pbs_version = {VERSION}")
        return 0
    try:
        _, ids = getopt.gnu_getopt(words, LETTERS[name])
        match name:
            case "qsub":
                return qsub(cluster, words)
            case "qstat":
                return qstat(cluster, words)
            case "qdel":
                return _delete(cluster, _keys(cluster, ids))
            case "qhold":
                return _set(cluster, _keys(cluster, ids), "Q", "H")
            case "qrls":
                return _set(cluster, _keys(cluster, ids), "H", "Q")
            case _:
                return _nodes(cluster)
    except getopt.GetoptError as error:
        return refuse(name, 2, f"{error}\nusage: {name} [options]")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
