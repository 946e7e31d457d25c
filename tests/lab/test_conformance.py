"""What every transport promises (transports/interface.py), held against each of them for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.stretch import stretched, wait_until

WAYS = ["local", "ssh", "openssh", "files", "pipe"]

SRUN = Path(__file__).parents[1] / "batch" / "srun.py"

PROBE = r"""
import json, secrets, sys, time
from sshrender.transports.framing import MessageReader, encode
from sshrender.transports.messages import Hello
from sshrender.transports.interface import ConnectFailed, LinkClosed, RunnerSpec

way, story, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if way == "local":
    from sshrender.transports.local import LocalTransport
    transport = LocalTransport()
elif way in ("files", "pipe"):
    import os, subprocess, tempfile
    from pathlib import Path
    from sshrender.transports.batch import script
    from sshrender.transports.batch.arrayfolder import ArrayFolder
    from sshrender.transports.batch.filelink import FileTransport
    array = ArrayFolder(Path(tempfile.mkdtemp()) / "array", b"k" * 32)
    array.create([0], epoch=1)
    text = script.build(sys.executable, str(array.path), b"k" * 32, 600, {})
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    job = subprocess.Popen(["sh", "-s"], **streams, start_new_session=True)
    job.stdin.write(text.encode()); job.stdin.close()
    transport = files = FileTransport(array.path, 0, b"k" * 32, 1)
    if way == "pipe":
        from sshrender.transports.batch.engines.slurm import Slurm
        from sshrender.transports.batch.pipelink import PipeTransport
        folder = Path(tempfile.mkdtemp())
        words = f"exec {sys.executable} {options['srun']} {job.pid}"
        (folder / "srun").write_text(f'#!/bin/sh\n{words} "$@"\n')
        (folder / "srun").chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        attached = lambda words: Slurm().attached("7", 1, words)
        transport = PipeTransport(files, attached, {"NAME": "a b"}, falls_back=False)
else:
    from sshrender.transports.sshchoice import ChosenTransport
    from sshrender.transports.sshconfig import Overrides
    client = {"ssh": "fabric", "openssh": "openssh"}[way]
    transport = ChosenTransport("node1", Overrides(config_file=options["ssh_config"], client=client))
# On a busy machine this process may say nothing for seconds.
silence = 60.0 if story in ("greet", "flood") else min(options["patience"] / 3, 20.0)
spec = RunnerSpec(options.get("python", "python3"), "conformance", secrets.token_hex(4), silence)
reader = MessageReader(spec.marker)

def hear(link):
    heard = []
    while not any(isinstance(message, Hello) for message in heard):
        heard += reader.feed(link.read(0.2))
    return heard

def tell(**fields):
    if way in ("files", "pipe"):
        transport.dismiss()
        job.wait(6 * options["patience"])
    print(json.dumps(fields))
    sys.exit(0)

try:
    link = transport.connect(spec, options["patience"])
except ConnectFailed as failed:
    tell(failed=failed.refusal.value, reason=failed.reason)
try:
    link.write(encode("hello") + encode("prepare", folder="/nowhere", nonce_file="n", nonce="n"), 5.0)
except LinkClosed as closed:
    tell(failed="python" if closed.has_no_program else "unreachable", reason=closed.reason)
if story == "greet":
    try:
        heard = hear(link)
    except LinkClosed as closed:
        tell(failed="python" if closed.has_no_program else "unreachable", reason=closed.reason)
    hello = [m for m in heard if isinstance(m, Hello)][0]
    link.close(); link.close()
    tell(cores=hello.cores, ghostscript=hello.ghostscript, boot_id=hello.boot_id)
if story == "flood":
    link.write(b"".join(encode("ping", padding="x" * 900) for _ in range(4000)), 2 * options["patience"])
    tell(heard=bool(hear(link)))
if story == "hang-up":
    hear(link)
    link.close()
    try:
        for _ in range(300):
            link.read(0.2)
    except LinkClosed as closed:
        tell(closed=closed.reason)
    tell(closed=None)
if story == "silence":
    hear(link)
    try:
        for _ in range(300):
            reader.feed(link.read(0.2))
    except LinkClosed as closed:
        tell(closed=closed.reason)
    tell(closed=None)
if story == "taken":
    hear(link)
    job.kill()
    try:
        for _ in range(300 if way == "pipe" else 25):
            link.read(0.2)
    except LinkClosed as closed:
        tell(closed=closed.reason)
    tell(closed=None)
if story == "stay":
    hear(link)
    print("ready", flush=True)
    while True:
        link.write(encode("ping"), 5.0)
        time.sleep(0.5)
"""


@pytest.fixture
def desk(farm_factory: FarmFactory) -> Farm:
    return farm_factory(1)


def _options(desk: Farm) -> dict[str, Any]:
    return {"ssh_config": str(desk.ssh_config), "srun": str(SRUN), "patience": stretched(10)}


def _probe(desk: Farm, way: str, story: str, **options: Any) -> dict[str, Any]:
    options = {**_options(desk), **options}
    answer = desk.run([sys.executable, "-c", PROBE, way, story, json.dumps(options)])
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _runners(desk: Farm) -> int:
    """Runners alive anywhere: every process of the hosts is one of the world's."""
    listed = desk.run(["ps", "-ww", "-eo", "args"]).stdout.splitlines()
    return sum("-ISuc" in line and "sshrender-runner conformance" in line for line in listed)


def _await_runners(desk: Farm, count: int) -> None:
    """Wait until so many are left: one ends a moment after its connection."""
    wait_until(lambda: _runners(desk) == count, 60, lambda: f"{count} and not {_runners(desk)}")


@pytest.mark.parametrize("way", WAYS)
def test_a_runner_greets_with_what_the_host_is(desk: Farm, way: str) -> None:
    hello = _probe(desk, way, "greet")
    assert hello["ghostscript"].startswith("10.")
    assert hello["cores"] >= 1
    assert len(hello["boot_id"]) == 36
    _await_runners(desk, 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_flood_of_requests_arrives_whole(desk: Farm, way: str) -> None:
    assert _probe(desk, way, "flood") == {"heard": True}


@pytest.mark.parametrize("way", WAYS)
def test_a_closed_link_says_so_and_leaves_nothing(desk: Farm, way: str) -> None:
    assert _probe(desk, way, "hang-up")["closed"]
    _await_runners(desk, 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_runner_that_hears_nothing_ends_itself(desk: Farm, way: str) -> None:
    assert _probe(desk, way, "silence")["closed"]
    _await_runners(desk, 0)


@pytest.mark.parametrize("way", WAYS)
def test_no_python_is_a_verdict(desk: Farm, way: str) -> None:
    found = _probe(desk, way, "greet", python="/no/such/python")
    assert found.get("failed") == "python"


@pytest.mark.parametrize("way", WAYS)
def test_a_coordinator_killed_leaves_nothing(desk: Farm, way: str) -> None:
    command = [sys.executable, "-c", PROBE, way, "stay", json.dumps(_options(desk))]
    process = desk.popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # The command line of OpenSSH's client holds the runner's, and so do srun's and its step's; they must
    # end as well.
    _await_runners(desk, {"openssh": 2, "pipe": 3}.get(way, 1))
    os.kill(process.pid, 9)
    process.wait()
    _await_runners(desk, 0)


@pytest.mark.parametrize("way", ["files", "pipe"])
def test_an_allocation_that_is_taken_away_ends_its_runner(desk: Farm, way: str) -> None:
    """As TORQUE does it: the first process of the job is killed, and no other."""
    closed = _probe(desk, way, "taken")["closed"]
    # Over files the holder reports the end beside the link (coordinator/pilots/).
    assert bool(closed) == (way == "pipe")
    _await_runners(desk, 0)


def test_an_unknown_host_key_is_refused_and_accept_new_takes_it_down(desk: Farm, tmp_path: Path) -> None:
    known = tmp_path / "known"
    config = tmp_path / "config"
    config.write_text(desk.ssh_config.read_text().replace(str(desk.known_hosts), str(known)))
    found = _probe(desk, "ssh", "greet", ssh_config=str(config))
    assert found["failed"] == "host key"
    assert "is not known" in found["reason"]
    text = config.read_text().replace("StrictHostKeyChecking yes", "StrictHostKeyChecking accept-new")
    config.write_text(text)
    assert _probe(desk, "ssh", "greet", ssh_config=str(config))["cores"]
    assert desk["node1"].address in known.read_text()
    desk["node1"].new_host_key()
    found = _probe(desk, "ssh", "greet", ssh_config=str(config))
    assert found["failed"] == "host key"
    assert "changed" in found["reason"]


def test_a_key_that_the_host_does_not_know_is_an_authentication_verdict(
    desk: Farm, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    config = tmp_path / "config"
    config.write_text(desk.ssh_config.read_text().replace(str(desk.identity), str(tmp_path / "k")))
    found = _probe(desk, "ssh", "greet", ssh_config=str(config))
    assert found["failed"] == "authentication"


@pytest.mark.parametrize("fault", ["crash", "cut"])
def test_a_host_that_is_not_there_is_unreachable(desk: Farm, fault: str) -> None:
    getattr(desk["node1"], fault)()
    assert _probe(desk, "ssh", "greet")["failed"] == "unreachable"


def test_a_noisy_profile_and_one_session_are_no_obstacle(desk: Farm) -> None:
    desk["node1"].install("/home/artist/.bashrc", "echo welcome to this fine machine; echo beware >&2\n")
    desk["node1"].sshd_config(MaxSessions="1", MaxStartups="2", PrintMotd="yes")
    assert _probe(desk, "ssh", "greet")["cores"]


def test_a_jump_host_is_gone_through(farm_factory: FarmFactory, tmp_path: Path) -> None:
    farm = farm_factory(2)
    farm["node2"].sshd_config(PermitOpen=f"{farm['node1'].address}:22", MaxSessions="1")
    config = tmp_path / "config"
    config.write_text("Host node1\n  ProxyJump node2\n" + farm.ssh_config.read_text())
    assert _probe(farm, "ssh", "greet", ssh_config=str(config))["cores"]
