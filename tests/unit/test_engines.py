"""The engines' adapters against answers that real engines gave, and against any text at all."""

from __future__ import annotations

import contextlib
import json
import shlex
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.config import inventory
from sshrender.coordinator.pilots.pool import to_submit
from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayHandle,
    ArrayRequest,
    Element,
    ElementState,
    EngineUnavailable,
    SubmissionRefused,
    indexes_of,
    ranges,
)
from sshrender.transports.batch.engines.names import engine

ENGINES = ["slurm", "torque", "openpbs", "gridengine", "htcondor"]
REQUEST = ArrayRequest(
    "ssr-1", 3, cores=4, walltime=7200, memory=4 << 30, queue="print", script="#!/bin/sh\n"
)

TORQUE = """<?xml version="1.0"?>
<Data><Job><Job_Id>3[].desk</Job_Id><Job_Name>ssr-1</Job_Name><job_state>Q</job_state></Job><Job>\
<Job_Id>3[0].desk</Job_Id><Job_Name>ssr-1-0</Job_Name><job_state>R</job_state>\
<exec_host>node1/0-3</exec_host><Variable_List>PS1=\x1b[0m\ufffe,A=&lt;b&gt;</Variable_List></Job><Job>\
<Job_Id>3[1].desk</Job_Id><Job_Name>ssr-1-1</Job_Name><job_state>H</job_state><Hold_Types>u</Hold_Types>\
</Job><Job><Job_Id>3[2].desk</Job_Id><Job_Name>ssr-1-2</Job_Name><job_state>Q</job_state>\
<comment>Not Running: Not enough of the right type of nodes are available</comment></Job></Data>"""

OPENPBS = {
    "Jobs": {
        "3[].desk": {"Job_Name": "ssr-1", "job_state": "B"},
        "3[0].desk": {"Job_Name": "ssr-1", "job_state": "R", "exec_host": "node1/0*4"},
        "3[1].desk": {"Job_Name": "ssr-1", "job_state": "H"},
        "3[2].desk": {
            "Job_Name": "ssr-1",
            "job_state": "Q",
            "comment": "Not Running: Not enough of the right type of nodes are available",
        },
    }
}

GRID = """<?xml version='1.0'?>
<job_info><queue_info><job_list state="running"><JB_job_number>3</JB_job_number><JB_name>ssr-1</JB_name>
<state>r</state><queue_name>all.q@node1</queue_name><tasks>1</tasks></job_list></queue_info><job_info>
<job_list state="pending"><JB_job_number>3</JB_job_number><JB_name>ssr-1</JB_name><state>hqw</state>
<queue_name></queue_name><tasks>2</tasks></job_list>
<job_list state="pending"><JB_job_number>3</JB_job_number><JB_name>ssr-1</JB_name><state>qw</state>
<queue_name></queue_name><tasks>3-6:1</tasks></job_list></job_info></job_info>"""

CONDOR = [
    {"ClusterId": 3, "ProcId": 0, "JobStatus": 2, "SsrPilot": "ssr-1", "RemoteHost": "slot1@node1"},
    {"ClusterId": 3, "ProcId": 1, "JobStatus": 5, "SsrPilot": "ssr-1", "HoldReason": "via condor_hold"},
    {"ClusterId": 3, "ProcId": 2, "JobStatus": 1, "SsrPilot": "ssr-1"},
]

SLURM = (
    "3|0|RUNNING|node1|2026-11-25T23:11:16|ssr-1|None\n"
    "3|1|PENDING||N/A|ssr-1|JobHeldUser\n"
    "3|2|PENDING||2026-11-25T23:30:00|ssr-1|Resources\n"
)

ANSWERS = {
    "slurm": SLURM,
    "torque": TORQUE,
    "openpbs": json.dumps(OPENPBS),
    "gridengine": GRID,
    "htcondor": json.dumps(CONDOR),
}


@pytest.mark.parametrize("name", ENGINES)
def test_a_queue_is_read_alike_from_every_engine(name: str) -> None:
    adapter = engine(name)
    found = adapter.elements(Answer(0, ANSWERS[name]))
    first = adapter.first
    states = {each.index - first: each.state for each in found}
    assert [states[number] for number in range(3)] == [
        ElementState.RUNNING,
        ElementState.HELD,
        ElementState.WAITING,
    ]
    # The id as commands take it: TORQUE and OpenPBS know no job by the number of an array.
    assert {each.array for each in found} == {"3[].desk" if name in ("torque", "openpbs") else "3"}
    assert {each.name for each in found} == {"ssr-1"}
    assert next(each for each in found if each.state is ElementState.RUNNING).node == "node1"


def test_why_an_element_waits_and_when_it_may_start() -> None:
    waiting = engine("slurm").elements(Answer(0, SLURM))[2]
    assert (waiting.reason, waiting.start) == ("Resources", "2026-11-25T23:30:00")
    for name in ("torque", "openpbs"):
        reason = engine(name).elements(Answer(0, ANSWERS[name]))[-1].reason
        assert reason == "Not enough of the right type of nodes are available"
    assert len(engine("gridengine").elements(Answer(0, GRID))) == 6


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_without_jobs_has_none_and_one_that_fails_says_nothing(name: str) -> None:
    empty = {"gridengine": "<job_info/>", "openpbs": '{"timestamp":1}'}.get(name, "")
    assert engine(name).elements(Answer(0, empty)) == []
    with pytest.raises(EngineUnavailable, match="refused"):
        engine(name).elements(Answer(111, "", "Connection refused"))


@pytest.mark.parametrize("name", ENGINES)
@given(text=st.text(max_size=200), code=st.sampled_from([0, 1, 153]))
def test_any_answer_is_read_or_refused_as_unavailable(name: str, text: str, code: int) -> None:
    adapter, answer = engine(name), Answer(code, text, text)
    for read in (adapter.elements, adapter.nodes, adapter.version):
        with contextlib.suppress(EngineUnavailable):
            read(answer)
    with contextlib.suppress(EngineUnavailable, SubmissionRefused):
        adapter.submitted(answer)


@pytest.mark.parametrize("name", ["torque", "openpbs", "gridengine", "htcondor"])
@given(cut=st.integers(0, 600))
def test_half_an_answer_is_no_state_of_any_job(name: str, cut: int) -> None:
    whole = ANSWERS[name]
    if not whole[cut:].strip() or not whole[:cut].strip():
        return
    with pytest.raises(EngineUnavailable):
        engine(name).elements(Answer(0, whole[:cut]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "slurm",
            {"--array=0-2", "--cpus-per-task=4", "--mem=4096M", "--time=2:00:00", "--partition=print"},
        ),
        ("torque", {"-t", "0-2", "nodes=1:ppn=4,walltime=2:00:00,mem=4096mb", "-q", "print"}),
        ("openpbs", {"-J", "0-2", "select=1:ncpus=4:mem=4096mb", "walltime=2:00:00", "-q", "print"}),
        (
            "gridengine",
            {"-terse", "-t", "1-3", "h_rt=2:00:00,s_rt=1:58:20,mem_free=4096M", "-q", "print"},
        ),
    ],
)
def test_an_array_is_asked_for_with_its_cores_memory_time_and_queue(name: str, words: set[str]) -> None:
    command = engine(name).submit(REQUEST)
    assert words <= set(command.words)
    assert "-V" not in command.words
    assert command.stdin == REQUEST.script


def test_an_array_of_one_is_one_that_each_engine_accepts() -> None:
    def words(name: str) -> tuple[str, ...]:
        return engine(name).submit(ArrayRequest("ssr-1", 1, cores=1, walltime=60)).words

    assert "--array=0-0" in words("slurm")
    assert words("torque")[words("torque").index("-t") + 1] == "0"
    assert "-J" not in words("openpbs")  # -J 0-0 is refused
    assert "1-1" in words("gridengine")
    assert "queue 1\n" in engine("htcondor").submit(ArrayRequest("ssr-1", 1, 1, 60)).stdin


@pytest.mark.parametrize(
    ("name", "out", "err", "array"),
    [
        ("slurm", "12;cluster\n", "", "12"),
        ("torque", "12[].desk\n", "", "12[].desk"),
        ("slurm", "charged to: print\n12\nbudget left: 90%\n", "", "12"),
        ("torque", "charged to: print\n12[].desk\nbudget left: 90%\n", "", "12[].desk"),
        ("openpbs", "12[].desk\n", "", "12[].desk"),
        ("gridengine", "12.1-8:1\n", "", "12"),
        ("htcondor", "12.0 - 12.7\n", "", "12"),
    ],
)
def test_the_id_of_a_new_array_is_read_and_elements_are_cancelled_by_it(
    name: str, out: str, err: str, array: str
) -> None:
    adapter = engine(name)
    assert adapter.submitted(Answer(0, out, err)) == array
    cancel = " ".join(adapter.cancel(ArrayHandle("ssr-1", array), [3, 4]).words)
    assert cancel in {
        "scancel 12_[3-4]",
        "qdel 12[3].desk 12[4].desk",
        "qdel 12.3-4",
        "condor_rm 12.3 12.4",
    }


def test_a_warning_of_grid_engine_comes_with_an_error_code_and_the_array_is_there() -> None:
    answer = Answer(1, "7\n", "warning: artist's job is not allowed to run in any queue\n")
    assert engine("gridengine").submitted(answer) == "7"


@pytest.mark.parametrize(
    ("name", "code", "err", "is_size"),
    [
        (
            "slurm",
            1,
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            False,
        ),
        (
            "slurm",
            1,
            "sbatch: error: Batch job submission failed: Invalid job array specification",
            True,
        ),
        ("torque", 172, "qsub: submit error (Unknown queue MSG=cannot locate queue)", False),
        (
            "torque",
            235,
            "qsub: submit error (Bad Job Array Request MSG=Requested array size too large)",
            True,
        ),
        ("gridengine", 1, "Unable to run job: job requests unknown queue\nExiting.", False),
    ],
)
def test_a_refusal_says_why_and_whether_a_smaller_array_may_do(
    name: str, code: int, err: str, is_size: bool
) -> None:
    with pytest.raises(SubmissionRefused) as refused:
        engine(name).submitted(Answer(code, "", err))
    assert refused.value.is_size is is_size
    assert "error:" not in refused.value.reason
    assert "Exiting" not in refused.value.reason


@pytest.mark.parametrize(
    ("name", "err"),
    [
        ("slurm", "sbatch: error: Unable to contact slurm controller (connect failure)"),
        ("torque", "Cannot connect to specified server host 'desk'."),
        ("gridengine", "error: commlib error: unable to contact qmaster using port 6444"),
    ],
)
def test_an_engine_that_is_down_has_refused_nothing(name: str, err: str) -> None:
    with pytest.raises(EngineUnavailable):
        engine(name).submitted(Answer(1, "", err))


def test_the_dialects_of_qsub_are_told_apart_by_their_version() -> None:
    torque, openpbs = Answer(0, "Version: 6.1.3.h5\nCommit: \n"), Answer(0, "pbs_version = 23.06.06\n")
    assert engine("torque").version(torque) == "6.1.3.h5"
    assert engine("openpbs").version(openpbs) == "23.06.06"
    with pytest.raises(EngineUnavailable, match='engine = "openpbs"'):
        engine("torque").version(openpbs)
    with pytest.raises(EngineUnavailable, match='engine = "torque"'):
        engine("openpbs").version(torque)
    assert engine("slurm").version(Answer(0, "slurm 22.05.8\n")) == "22.05.8"
    assert engine("gridengine").version(Answer(0, "SGE 8.1.9\nusage: qstat\n")) == "SGE 8.1.9"


def test_nodes_and_their_free_cores() -> None:
    slurm = engine("slurm").nodes(Answer(0, "node1|mixed|1/3/0/4|none\nnode2|drained*|0/0/4/4|disk\n"))
    assert [(each.name, each.is_usable, each.free, each.note) for each in slurm] == [
        ("node1", True, 3, ""),
        ("node2", False, 0, "disk"),
    ]
    text = (
        "<Data><Node><name>node1</name><state>free</state><np>4</np><jobs>0-1/3[0].desk</jobs></Node>"
        "<Node><name>node2</name><state>down</state><np>4</np></Node></Data>"
    )
    assert [(n.free, n.is_usable) for n in engine("torque").nodes(Answer(0, text))] == [
        (2, True),
        (0, False),
    ]
    pbs = {
        "nodes": {
            "node1": {
                "state": "free",
                "resources_available": {"ncpus": 4},
                "resources_assigned": {"ncpus": 3},
            }
        }
    }
    assert engine("openpbs").nodes(Answer(0, json.dumps(pbs)))[0].free == 1


@given(st.sets(st.integers(0, 50), min_size=1))
def test_indexes_as_ranges_name_each_of_them_once(indexes: set[int]) -> None:
    named: list[int] = []
    for part in ranges(indexes).split(","):
        low, _, high = part.partition("-")
        named += range(int(low), int(high or low) + 1)
    assert named == sorted(indexes)


def test_text_of_other_users_reaches_no_terminal() -> None:
    found: list[Element] = engine("slurm").elements(Answer(0, "3|1|PENDING||N/A|ssr-1|a\x1b[2Jb\n"))
    assert found[0].reason == "a[2Jb"


@pytest.mark.parametrize(
    ("code", "err", "is_done"),
    [
        (
            170,
            "qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 3[0].desk",
            True,
        ),
        (153, "qdel: nonexistent job id: 3[0].desk", True),
        (153, "", True),
        # Several ids: one is gone, the other is on a dead node, where only a manager can delete it.
        (
            153,
            "qdel: Server could not connect to MOM 3[1].desk\nqdel: nonexistent job id: 3[0].desk",
            False,
        ),
        (224, "qdel: Server could not connect to MOM 3[1].desk", False),
        (159, "qdel: Unauthorized Request  3[1].desk", False),
        (
            70,
            "qrls: The requested state or substate can't be set (slot limit in effect). 3[].desk",
            True,
        ),
        (111, "qdel: cannot connect to server desk (errno=111) Connection refused", False),
        (1, "qdel: illegally formed job identifier: abc", False),
    ],
)
def test_a_job_of_torque_is_gone_only_if_each_of_the_ids_is(code: int, err: str, is_done: bool) -> None:
    assert engine("torque").is_done(Answer(code, "", err)) is is_done


@pytest.mark.parametrize(
    ("err", "is_done"),
    [
        ('\nCouldn\'t find/remove all jobs matching constraint (SsrPilot == "ssr-1")', True),
        ("Job 3.1 not found\nJob 3.2 not found", True),
        ("Job 3.1 already marked for removal", True),
        ("Failed to connect to schedd\nCouldn't find/remove all jobs matching constraint (…)", False),
        ("Job 3.1 not found\nPermission denied to remove job 3.2", False),
        ("Can't find address of local schedd", False),
        ("", False),
    ],
)
def test_a_job_of_htcondor_is_gone_only_if_its_queue_was_asked(err: str, is_done: bool) -> None:
    assert engine("htcondor").is_done(Answer(1, "", err)) is is_done


@pytest.mark.parametrize("name", ["slurm", "torque", "openpbs", "htcondor"])
def test_a_submission_that_succeeded_without_an_id_may_be_in_the_queue(name: str) -> None:
    """``-z`` prints none: what is looked for by name must not be submitted again."""
    with pytest.raises(EngineUnavailable, match="no id"):
        engine(name).submitted(Answer(0, "", ""))


@pytest.mark.parametrize("name", ["torque", "openpbs"])
def test_no_pilot_of_pbs_is_a_mail_and_each_engine_is_told_so(name: str) -> None:
    words = engine(name).submit(REQUEST).words
    assert words[words.index("-m") + 1] == "n"
    assert words[words.index("-o") + 1] == "/dev/null"
    assert "notification = never" in engine("htcondor").submit(REQUEST).stdin


def test_elements_of_a_held_array_of_openpbs_are_held_and_one_may_have_a_time() -> None:
    jobs = {
        "3[].desk": {"Job_Name": "ssr-1", "job_state": "H"},
        "3[0].desk": {"Job_Name": "ssr-1", "job_state": "Q", "comment": "Job Array Began at Wed"},
        "4.desk": {
            "Job_Name": "ssr-2",
            "job_state": "Q",
            "comment": "Can Never Run: Insufficient ncpus",
            "estimated": {"exec_vnode": "(node1:ncpus=1)", "start_time": "Wed Nov 25 23:30:00 2026"},
        },
    }
    held, waiting = engine("openpbs").elements(Answer(0, json.dumps({"Jobs": jobs})))
    assert (held.state, held.reason) == (ElementState.HELD, "")
    assert (waiting.state, waiting.reason) == (ElementState.WAITING, "Can Never Run: Insufficient ncpus")
    assert waiting.start == "Wed Nov 25 23:30:00 2026"


def test_a_job_that_the_batch_system_holds_tells_so_and_one_that_never_starts_is_stuck() -> None:
    row = (
        "<Data><Job><Job_Id>7[1].desk</Job_Id><Job_Name>ssr-1-1</Job_Name><job_state>H</job_state>"
        "<Hold_Types>{}</Hold_Types></Job></Data>"
    )
    (by_maui,) = engine("torque").elements(Answer(0, row.format("s")))
    assert (by_maui.state, by_maui.reason) == (
        ElementState.HELD,
        "held by the batch system (Hold_Types s)",
    )
    (by_user,) = engine("torque").elements(Answer(0, row.format("u")))
    assert (by_user.state, by_user.reason) == (ElementState.HELD, "")
    why = "job held, too many failed attempts to run"
    jobs = {
        "7[].desk": {"job_state": "H", "Hold_Types": "s", "comment": why},
        "7[0].desk": {"job_state": "Q", "comment": "Job run at Thu"},
        "8.desk": {"job_state": "H", "Hold_Types": "s", "comment": why},
        "9.desk": {"job_state": "H", "Hold_Types": "u"},
    }
    found = engine("openpbs").elements(Answer(0, json.dumps({"Jobs": jobs})))
    assert [(each.reason, each.is_stuck) for each in found] == [(why, True), (why, True), ("", False)]


def test_a_job_of_torque_that_was_put_back_does_not_wait_because_it_had_started() -> None:
    job = (
        "<Job><Job_Id>3[0].desk</Job_Id><Job_Name>ssr-1-0</Job_Name><job_state>Q</job_state>"
        "<comment>Job started on Wed Nov 25 at 23:04</comment></Job>"
    )
    assert [each.reason for each in engine("torque").elements(Answer(0, f"<Data>{job}</Data>"))] == [""]


@pytest.mark.parametrize(
    ("state", "is_usable", "free"),
    [
        ("free", True, 3),
        ("job-exclusive", True, 3),
        ("job-exclusive,busy", True, 0),
        ("down,offline", False, 0),
        ("offline", False, 0),
    ],
)
def test_the_words_of_a_node_s_state(state: str, is_usable: bool, free: int) -> None:
    text = f"<name>n1</name><state>{state}</state><np>4</np><jobs>2/3[0].desk</jobs>"
    (node,) = engine("torque").nodes(Answer(0, f"<Data><Node>{text}</Node></Data>"))
    assert (node.is_usable, node.free) == (is_usable, free)


@pytest.mark.parametrize(("code", "is_stuck"), [(None, False), (1, False), (15, False), (6, True)])
def test_a_job_of_htcondor_that_was_held_because_it_failed_is_stuck(
    code: int | None, is_stuck: bool
) -> None:
    job = {**CONDOR[1], "HoldReason": "cannot start"} | ({"HoldReasonCode": code} if code else {})
    (found,) = engine("htcondor").elements(Answer(0, json.dumps([job])))
    assert (found.state, found.reason, found.is_stuck) == (ElementState.HELD, "cannot start", is_stuck)


@pytest.mark.parametrize("name", ENGINES)
def test_the_commands_in_the_documentation_are_those_that_are_run(name: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text()
    example = next(part for part in page.split("\n### ") if f"<!-- commands: {name} -->" in part)
    toml, commands = (textwrap.dedent(part) for part in example.split(f"<!-- commands: {name} -->\n"))
    path = tmp_path / "hosts.toml"
    path.write_text('[san]\npath = "/san"\n' + toml.partition("\n")[2])
    (pool,) = inventory.load(path).pools
    adapter = engine(name)
    request = ArrayRequest(
        *("ssr-0c1d2e3f", to_submit(pool.pilots, 0, 0), pool.cores, pool.walltime),
        *(pool.memory, pool.queue_name),
        options=tuple(pool.options),
    )
    server = "12[].server" if name in ("torque", "openpbs") else "12"
    array = ArrayHandle("ssr-0c1d2e3f", server)
    run = [
        adapter.submit(request),
        adapter.query([array]),
        *(adapter.cancel(array, [3]), adapter.cancel(array)),
        *(adapter.hold(array), adapter.release(array), adapter.nodes_command()),
    ]
    shown = [line for line in commands.split("\n- ")[0].split("\n") if line.strip()]
    assert [shlex.split(line) for line in shown] == [list(command.words) for command in run]


@pytest.mark.parametrize("status", [None, 0, 99, "2", True])
def test_a_job_without_a_known_status_has_not_ended(status: object) -> None:
    whole = json.dumps([*CONDOR, {**CONDOR[0], "ProcId": 3, "JobStatus": status}])
    with pytest.raises(EngineUnavailable, match="JobStatus"):
        engine("htcondor").elements(Answer(0, whole))


def test_a_job_without_a_state_has_not_ended() -> None:
    jobs = json.dumps({"Jobs": {"3[0].desk": {"Job_Name": "ssr-1"}}})
    with pytest.raises(EngineUnavailable, match="state"):
        engine("openpbs").elements(Answer(0, jobs))


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "9" * 5000], ids=["raised", "arabic", "long"])
def test_what_int_does_not_read_is_no_number_of_an_answer(number: str) -> None:
    assert list(indexes_of(f"5,{number},7-{number},1-9:{number},7-8")) == [5, 7, 8]
    assert engine("slurm").elements(Answer(0, f"{number}|1|PENDING||N/A|ssr-1|None\n")) == []
    jobs = json.dumps({"Jobs": {f"{number}[{number}].desk": {"Job_Name": "x", "job_state": "R"}}})
    assert engine("openpbs").elements(Answer(0, jobs)) == []


@pytest.mark.parametrize(
    ("name", "words", "answer", "reason"),
    [
        ("slurm", ("sbatch", "--test-only"), Answer(0, "", "sbatch: Job 1 to start at 2026-11-26"), ""),
        (
            "slurm",
            ("sbatch", "--test-only"),
            Answer(
                1, "", "allocation failure: Invalid account or account/partition combination specified"
            ),
            "Invalid account",
        ),
        ("gridengine", ("qsub", "-w"), Answer(0, "verification: found suitable queue(s)"), ""),
        (
            "gridengine",
            ("qsub", "-w"),
            Answer(
                1, "", 'Unable to run job: job rejected: the requested project "nope" does not exist'
            ),
            "project",
        ),
    ],
)
def test_an_engine_that_can_tells_without_a_submission_whether_it_would_accept_a_pilot(
    name: str, words: tuple[str, ...], answer: Answer, reason: str
) -> None:
    request = ArrayRequest(
        name="ssr-1", count=1, cores=1, walltime=600, memory=1 << 30, script="#!/bin/sh\n"
    )
    found = engine(name)
    command = found.verify(request)
    assert command is not None
    assert command.words[:2] == words
    assert command.stdin == request.script
    if reason:
        with pytest.raises(SubmissionRefused, match=reason):
            found.verified(answer)
    else:
        found.verified(answer)


@pytest.mark.parametrize("name", ["torque", "openpbs", "htcondor"])
def test_other_engines_are_not_asked(name: str) -> None:
    assert engine(name).verify(ArrayRequest(name="ssr-1", count=1, cores=1, walltime=600)) is None
