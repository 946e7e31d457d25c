"""Stand-ins of TORQUE's qsub, qstat, qdel, qhold, qrls and pbsnodes (6.1.3).

Letters of options, refusals with their texts and codes, states and answers are those of the real ones.
What TORQUE does not know is refused as it does. Called as ``torque.py FOLDER NAME …``. Only the options
and forms that the program uses do something.
"""

from __future__ import annotations

import getopt
import os
import pwd
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from tests.batch.fakebatch import Cluster, State

LETTERS = {
    "qsub": "a:A:b:c:C:d:D:e:fF:hi:I:j:J:k:K:l:L:m:M:n:N:o:p:P:q:r:S:t:T:u:v:VW:w:xX:z",
    "qstat": "f1aeE:inqQrRsStu:GlBW:xMC",
    "qdel": "am:pt:W:",
    "qhold": "h:t:",
    "qrls": "h:t:",
    "pbsnodes": "acdlnoqrsx:N:",
}
RESOURCES = {"nodes", "walltime", "mem", "pmem", "vmem", "pvmem", "ncpus", "procs", "select", "cput"}
FEASIBLE = (
    "Job exceeds queue resource limits MSG=cannot locate feasible nodes (nodes file is empty, all"
    " systems are busy, or no nodes have the requested feature)"
)
FULL = (
    "Maximum number of jobs already in queue for user MSG=total number of current user's jobs exceeds"
    " the queue limit: user artist@desk, queue batch"
)
UNAVAILABLE = "Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement"
SLOT_LIMIT = (
    "The requested state or substate can't be set from the job's current state (slot limit in effect)."
)
COMPLETE = "Request invalid for state of job MSG=invalid state for job - COMPLETE"


class Refused(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def refuse(name: str, code: int, text: str) -> int:
    print(f"{name}: {text}", file=sys.stderr)
    return code


def usage(reason: str) -> Refused:
    return Refused(2, f"{reason}\nusage: ... (the 10 usage lines)")


def submit_error(code: int, text: str) -> Refused:
    return Refused(code, f"submit error ({text})")


def array_of(text: str) -> list[int]:
    """``0-9``, ``1,3,5-7``, ``3``, with ``%N`` behind; a step is no part of its language."""
    ranges, _, limit = text.partition("%")
    found: set[int] = set()
    for part in ranges.split(","):
        bounds = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if bounds is None or (limit and not limit.isdigit()):
            raise submit_error(235, "Bad Job Array Request")
        low, high = int(bounds[1]), int(bounds[2] or bounds[1])
        if low > high:
            raise submit_error(235, "Bad Job Array Request")
        found |= set(range(low, high + 1))
    return sorted(found)


def needs_of(text: str, config: State) -> tuple[int, float]:
    """The cores and the walltime of ``-l``."""
    given = dict(part.partition("=")[::2] for part in text.split(",") if part)
    for name in given.keys() - RESOURCES:
        raise submit_error(189, f"Unknown resource type  Resource_List.{name}")
    clock = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+)", given.get("walltime", "600"))
    if clock is None:
        raise submit_error(168, "Illegal attribute or resource value for Resource_List.walltime")
    for name in ("mem", "pmem", "vmem", "pvmem"):
        if not re.fullmatch(r"\d+([kmgt]?[bw])?", given.get(name, "1")):
            raise submit_error(168, f"Illegal attribute or resource value for Resource_List.{name}")
    if "ncpus" in given:
        raise Refused(4, "Jobs may not mix -l nodes with -l size or -l ncpus")
    nodes = re.fullmatch(r"(\d+)(?::ppn=(\d+))?", given.get("nodes", "1"))
    if nodes is not None and nodes[1] == "0":
        raise submit_error(27, "Command syntax invalid MSG=Invalid Syntax")
    cores = int(nodes[2] or 1) if nodes is not None else 1
    if nodes is None or int(nodes[1]) > 1 or cores > config["np"]:
        raise submit_error(190, FEASIBLE)
    hours, minutes, seconds = (int(each or 0) for each in clock.groups())
    limit = 3600 * hours + 60 * minutes + seconds
    if limit > config["max_walltime"]:
        raise submit_error(190, UNAVAILABLE)
    return cores, limit


def check_words(given: dict[str, str], rest: list[str]) -> None:
    """Refuse what the client refuses, before it asks the server."""
    if len(rest) > 1:
        raise usage("[index issues]")
    if "-J" in given:
        raise usage("[The -J option can only be used in conjunction with -P]")
    for letter, pattern in (
        ("N", "[!-~]{1,237}"),
        ("j", "oe|eo|n"),
        ("k", "[oe]+|n"),
        ("m", "[abefn]+"),
    ):
        if not re.fullmatch(pattern, given.get(f"-{letter}") or "n"):
            raise usage(f"[qsub: illegal -{letter} value]")
    if '"' in given.get("-v", ""):
        raise Refused(3, "invalid -v syntax")


def check_script(script: str) -> None:
    if not script.isascii():
        raise Refused(1, " file must be an ascii script")
    if "\r\n" in script:
        raise Refused(1, " script is written in DOS/Windows text format")


def check_limits(given: dict[str, str], count: int, config: State) -> None:
    """Refuse what the server refuses."""
    queue, _, server = given.get("-q", "batch").partition("@")
    if server not in ("", config["server"]):
        raise Refused(162, f"cannot connect to server {server} (errno=15010)")
    if queue not in config["queues"]:
        raise submit_error(172, "Unknown queue MSG=requested queue not found")
    if count > config["max_array"]:
        text = f"MSG=Requested array size too large, limit is {config['max_array']}"
        raise submit_error(235, f"Bad Job Array Request {text}")
    if count > config["max_queued"]:
        raise submit_error(228, FULL)


def qsub(cluster: Cluster, words: list[str]) -> int:
    options, rest = getopt.gnu_getopt(words, LETTERS["qsub"])
    given, config = dict(options), cluster.config
    script = Path(rest[0]).read_text() if rest and rest[0] != "-" else sys.stdin.read()
    check_words(given, rest)
    check_script(script)
    indexes = array_of(given["-t"]) if given.get("-t") else [0]
    check_limits(given, len(indexes), config)
    cores, limit = needs_of(",".join(value for name, value in options if name == "-l"), config)
    environ = {
        "ENVIRONMENT": "BATCH",
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_NUM_PPN": str(cores),
        "PBS_VERSION": "TORQUE-6.1.3",
        "PBS_WALLTIME": str(limit),
    }
    if given.get("-t"):
        environ["PBS_ARRAYID"] = "INDEX"
    number = cluster.submit(given.get("-N", "STDIN"), script, indexes, environ, limit)
    if "-z" not in given:
        print(f"{number}[].{config['server']}" if given.get("-t") else f"{number}.{config['server']}")
    return 0


def qstat(cluster: Cluster, words: list[str]) -> int:
    options, ids = getopt.gnu_getopt(words, LETTERS["qstat"])
    assert {"-x", "-t"} <= dict(options).keys(), "the adapter asks for XML of elements"
    assert not ids, "ID[] prints the jobs of everybody"
    config = cluster.config
    # The shell of another user has an escape character in PS1, which XML forbids.
    rows = (
        "<Job><Job_Id>900.desk</Job_Id><Job_Name>other</Job_Name><Job_Owner>ann@desk</Job_Owner>"
        "<job_state>R</job_state><Variable_List>PS1=\x1b[1m,A=&lt;b&gt;</Variable_List></Job>"
    )
    with cluster.locked() as state:
        cluster.schedule(state)
        for job in state["jobs"].values():
            if job["state"] == "C" and not config["keep_completed"]:
                continue
            is_array = "PBS_ARRAYID" in job["environ"]
            index = f"[{job['index']}]" if is_array else ""
            suffix = f"-{job['index']}" if is_array else ""
            rows += (
                f"<Job><Job_Id>{job['array']}{index}.{config['server']}</Job_Id>"
                f"<Job_Name>{escape(job['name'])}{suffix}</Job_Name>"
                f"<Job_Owner>{pwd.getpwuid(os.geteuid()).pw_name}@desk</Job_Owner><job_state>{job['state']}</job_state>"
            )
            if job["state"] == "H":
                rows += "<Hold_Types>u</Hold_Types>"
            if job["state"] == "Q":
                rows += (
                    "<comment>Not Running: Not enough of the right type of nodes are available</comment>"
                )
            if job["state"] in ("R", "C"):
                rows += "<exec_host>node1/0</exec_host><comment>Job started on Wed Nov 25</comment>"
            rows += "</Job>"
    print(f'<?xml version="1.0"?>\n<Data>{rows}</Data>')
    return 0


def _keys(state: State, text: str, server: str) -> list[str] | None:
    """The jobs of an id; None: it is unknown. ``12`` is no id of an array."""
    match = re.fullmatch(r"(\d+)(\[(\d*)\])?(?:\.(\w+))?", text)
    if match is None:
        raise Refused(1, f"illegally formed job identifier: {text}")
    if match[4] not in (None, server):
        return None
    jobs = {key: job for key, job in state["jobs"].items() if str(job["array"]) == match[1]}
    arrays = {key for key, job in jobs.items() if "PBS_ARRAYID" in job["environ"]}
    if match[2] is None:
        return list(jobs.keys() - arrays) or None
    if match[3] == "":
        return [key for key in jobs if key in arrays] or None
    return [key for key in arrays if key == f"{match[1]}.{match[3]}"] or None


def qdel(cluster: Cluster, words: list[str]) -> int:
    _, ids = getopt.gnu_getopt(words, LETTERS["qdel"])
    config, code = cluster.config, 0
    for each in ids:
        with cluster.locked() as state:
            keys = _keys(state, each, config["server"])
            if keys is None:
                code = refuse("qdel", 153, f"nonexistent job id: {each}")
                continue
            # An array that is over is deleted without a word.
            if "[]" not in each and all(state["jobs"][key]["state"] == "C" for key in keys):
                code = refuse("qdel", 170, f"{COMPLETE} {each}")
                continue
        for key in keys:
            if key in config["dead"]:
                code = refuse("qdel", 224, f"Server could not connect to MOM {each}")
            else:
                cluster.end(key)
    return code


def _set(cluster: Cluster, name: str, words: list[str], before: str, after: str) -> int:
    _, ids = getopt.gnu_getopt(words, LETTERS[name])
    code = 0
    for each in ids:
        with cluster.locked() as state:
            keys = _keys(state, each, cluster.config["server"])
        if keys is None:
            code = 153
            continue
        cluster.move(keys, before, after)
    if name == "qrls" and cluster.config["slot_limit"] and not code:
        return refuse(name, 70, f"{SLOT_LIMIT} {ids[0]}")
    return code


def pbsnodes(cluster: Cluster, words: list[str]) -> int:
    if words != ["-x"]:
        return refuse("pbsnodes", 1, "the adapter asks for XML")
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
    asked = os.environ.get("PBS_DEFAULT", "desk")
    is_there = asked == cluster.config["server"] or name == "qsub"
    if (cluster.folder / "down").exists() or not is_there:
        return refuse(name, 111, f"cannot connect to server {asked} (errno=111) Connection refused")
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
    except Refused as refused:
        return refuse(name, refused.code, refused.text)
    except getopt.GetoptError as error:
        return refuse(name, 2, f"invalid option -- '{error.opt}'\nusage: {name} [options]")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
