"""Stand-ins of TORQUE's qsub, qstat, qdel, qhold, qrls and pbsnodes, with its option letters (6.1.3).

An option that TORQUE does not know is refused as it does: exit code 2. Called as ``torque.py FOLDER
NAME …``.
"""

from __future__ import annotations

import getopt
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from tests.batch.fakebatch import Cluster

LETTERS = {
    "qsub": "a:A:b:c:C:d:D:e:fF:hi:I:j:J:k:K:l:L:m:M:n:N:o:p:P:q:r:S:t:T:u:v:VW:w:xX:z",
    "qstat": "f1aeE:inqQrRsStu:GlBW:xMC",
    "qdel": "am:pt:W:",
    "qhold": "h:t:",
    "qrls": "h:t:",
    "pbsnodes": "acdlnoqrsx:N:",
}


def refuse(name: str, code: int, text: str) -> int:
    print(f"{name}: {text}", file=sys.stderr)
    return code


def qsub(cluster: Cluster, words: list[str]) -> int:
    options, rest = getopt.gnu_getopt(words, LETTERS["qsub"])
    given = dict(options)
    script = Path(rest[0]).read_text() if rest and rest[0] != "-" else sys.stdin.read()
    config = cluster.config
    if not re.fullmatch(r"[^\s]{1,237}", given.get("-N", "STDIN")):
        return refuse("qsub", 2, "[qsub: illegal -N value]")
    queue = given.get("-q", "batch")
    if queue not in config["queues"]:
        return refuse("qsub", 172, "submit error (Unknown queue MSG=cannot locate queue)")
    if "-A" in given and given["-A"] not in config.get("accounts", [given["-A"]]):
        return refuse("qsub", 170, "submit error (Invalid account MSG=invalid account)")
    indexes = [0]
    if "-t" in given:
        low, _, high = given["-t"].partition("-")
        indexes = list(range(int(low), int(high or low) + 1))
    if len(indexes) > config["max_array"]:
        limit = config["max_array"]
        text = (
            f"submit error (Bad Job Array Request MSG=Requested array size too large, limit is {limit})"
        )
        return refuse("qsub", 235, text)
    needs = dict(part.split("=", 1) for part in given.get("-l", "").split(","))
    hours, minutes, seconds = map(int, needs["walltime"].split(":"))
    environ = {
        "PBS_ARRAYID": "INDEX",
        "PBS_NUM_PPN": needs["nodes"].partition("ppn=")[2],
        "PBS_VERSION": "TORQUE-6.1.3",
    }
    limit = 3600 * hours + 60 * minutes + seconds
    number = cluster.submit(given.get("-N", "STDIN"), script, indexes, environ, limit)
    print(f"{number}[].desk" if "-t" in given else f"{number}.desk")
    return 0


def qstat(cluster: Cluster, words: list[str]) -> int:
    options, _ = getopt.gnu_getopt(words, LETTERS["qstat"])
    assert {"-x", "-t"} <= dict(options).keys(), "the adapter asks for XML of elements"
    rows = ""
    with cluster.locked() as state:
        cluster.schedule(state)
        for job in state["jobs"].values():
            rows += (
                f"<Job><Job_Id>{job['array']}[{job['index']}].desk</Job_Id>"
                f"<Job_Name>{escape(job['name'])}-{job['index']}</Job_Name>"
                f"<job_state>{job['state']}</job_state>"
                "<Hold_Types>u</Hold_Types><Variable_List>PS1=\x1b[1m</Variable_List>"
            )
            if job["state"] == "Q":
                rows += (
                    "<comment>Not Running: Not enough of the right type of nodes are available</comment>"
                )
            if job["state"] == "R":
                rows += "<exec_host>node1/0</exec_host>"
            rows += "</Job>"
    print(f'<?xml version="1.0"?>\n<Data>{rows}</Data>')
    return 0


def _keys(cluster: Cluster, ids: list[str]) -> tuple[list[str], bool]:
    with cluster.locked() as state:
        jobs = list(state["jobs"])
    found, is_unknown = [], False
    for each in ids:
        match = re.fullmatch(r"(\d+)\[(\d*)\](?:\.desk)?", each)
        mine = (
            [key for key in jobs if match and key == f"{match[1]}.{match[2]}"]
            if match and match[2]
            else [key for key in jobs if match and key.startswith(f"{match[1]}.")]
        )
        is_unknown |= not mine
        found += mine
    return found, is_unknown


def qdel(cluster: Cluster, words: list[str]) -> int:
    _, ids = getopt.gnu_getopt(words, LETTERS["qdel"])
    keys, is_unknown = _keys(cluster, ids)
    for key in keys:
        cluster.end(key)
    return refuse("qdel", 153, "nonexistent job id") if is_unknown else 0


def _set(cluster: Cluster, name: str, words: list[str], before: str, after: str) -> int:
    _, ids = getopt.gnu_getopt(words, LETTERS[name])
    keys, is_unknown = _keys(cluster, ids)
    cluster.move(keys, before, after)
    return 153 if is_unknown else 0


def pbsnodes(cluster: Cluster, words: list[str]) -> int:
    with cluster.locked() as state:
        running = [job for job in state["jobs"].values() if job["state"] == "R"]
    jobs = ",".join(f"{n}/{job['array']}[{job['index']}].desk" for n, job in enumerate(running))
    slots = cluster.config["slots"]
    print(
        f"<Data><Node><name>node1</name><state>free</state><np>{slots}</np><jobs>{jobs}</jobs></Node></Data>"
    )
    return 0


def main(folder: str, name: str, words: list[str]) -> int:
    cluster = Cluster(Path(folder))
    cluster.note(name, words)
    if (cluster.folder / "down").exists():
        return refuse(name, 111, "cannot connect to server desk (errno=111) Connection refused")
    if words == ["--version"]:
        print("Version: 6.1.3.h5\nCommit: ")
        return 0
    try:
        match name:
            case "qsub":
                return qsub(cluster, words)
            case "qstat":
                return qstat(cluster, words)
            case "qdel":
                return qdel(cluster, words)
            case "qhold":
                return _set(cluster, name, words, "Q", "H")
            case "qrls":
                return _set(cluster, name, words, "H", "Q")
            case _:
                return pbsnodes(cluster, words)
    except getopt.GetoptError as error:
        return refuse(name, 2, f"[{error}]\nusage: {name} [options]")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
