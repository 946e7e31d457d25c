"""Runs of one user share what an engine answers: one query a minute, however many jobs there are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.coordinator.pilots.sharedqueries import NotYet, SharedQueries
from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayHandle,
    Command,
    EngineUnavailable,
)
from sshrender.transports.batch.engines.names import engine


class Site:
    """Slurm, with an array of each run and one of somebody else; and the clock of the machine."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.asked: list[tuple[str, ...]] = []
        self.fails = False
        self.setup = PoolSetup(
            "cluster",
            engine("slurm"),
            self._call,
            4,
            1,
            600.0,
            "/s",
            shared=folder / "queues" / "slurm.json",
        )

    def _call(self, command: Command) -> Answer:
        self.asked.append(command.words)
        if self.fails:
            return Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller")
        rows = [f"{n}|0|PENDING||N/A|ssr-{n}|Priority" for n in range(9)]
        return Answer(0, "\n".join([*rows, "77|0|RUNNING|n1|N/A|simulation|None"]))

    def run(self, setup: PoolSetup | None = None) -> SharedQueries:
        return SharedQueries(setup or self.setup, lambda: self.now)


def _own(number: int) -> list[ArrayHandle]:
    return [ArrayHandle(f"ssr-{number}", str(number))]


def test_many_runs_make_one_query_a_minute_and_each_gets_what_is_new(tmp_path: Path) -> None:
    site = Site(tmp_path)
    runs = [site.run() for _ in range(5)]
    answers = dict.fromkeys(range(5), 0)
    for _ in range(120):  # ten minutes; each run looks every five seconds
        for number, run in enumerate(runs):
            try:
                listing = run.listing(_own(number))
            except NotYet as turn:
                assert 0 < turn.seconds <= 60
                continue
            answers[number] += 1
            assert listing.asked_at <= site.now
            assert f"ssr-{number}" in {each.name for each in listing.elements}
            assert "simulation" not in {each.name for each in listing.elements}
        site.now += 5.0
    assert len(site.asked) == 10
    assert min(answers.values()) >= 9


def test_an_engine_that_does_not_answer_is_not_asked_by_the_next_run(tmp_path: Path) -> None:
    site = Site(tmp_path)
    one, two = site.run(), site.run()
    with pytest.raises(NotYet):
        for _ in range(2):
            one.listing(_own(1))
    with pytest.raises(NotYet):  # it was not asked about this one
        two.listing(_own(2))
    site.now, site.fails = site.now + 60, True
    for run, number in ((one, 1), (two, 2)):
        with pytest.raises(EngineUnavailable, match="Unable to contact"):
            run.listing(_own(number))
    assert len(site.asked) == 2


def test_a_run_whose_turn_it_is_has_the_file_alone(tmp_path: Path) -> None:
    site = Site(tmp_path)
    one, two = site.run(), site.run()
    with one._locked():
        with pytest.raises(NotYet):
            two.listing(_own(2))
        site.now += 121  # the other one is frozen
        assert two.listing(_own(2)).elements
        with pytest.raises(NotYet):
            two.listing(_own(2))
    assert two.listing(_own(2)).elements
    other = site.run(replace(site.setup, shared=tmp_path / "queues" / "other.json"))  # another cluster
    assert other.listing(_own(3)).elements


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"time": "x", "asked": [], "elements": [], "arrays": {}, "error": ""}',
        '{"elements": [1], "arrays": {}}',
    ],
)
def test_what_the_file_holds_ends_no_run(tmp_path: Path, text: str) -> None:
    site = Site(tmp_path)
    run = site.run()
    with run._locked() as path:
        path.write_text(text)
    assert run.listing(_own(1)).elements
    (tmp_path / "file").touch()
    assert site.run(replace(site.setup, shared=tmp_path / "file" / "x.json")).listing(_own(1)).elements


@pytest.fixture
def cache() -> Iterator[Path]:
    """A folder of everybody's on a login host, as XDG_CACHE_HOME of all users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def _asked_by(user: int, folder: Path, number: int) -> str:
    """Have another user ask for an array; return what the engine was asked, and what came of it."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(user)
            os.setuid(user)
            site = Site(folder)
            found = site.run().listing(_own(number))
            os.write(write_end, f"{site.asked} {[each.array for each in found.elements]}".encode())
        except BaseException as error:  # noqa: BLE001 - the fork must not run on as a second pytest
            os.write(write_end, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: processes of two users")
def test_users_with_one_pool_and_one_cache_read_nothing_of_each_other(cache: Path) -> None:
    first, second = _asked_by(4001, cache, 1), _asked_by(4002, cache, 2)
    assert "--name=ssr-1'" in first
    assert "--name=ssr-2'" in second
    assert (cache / "queues").stat().st_mode & 0o777 == 0o700
    # One that others may write to is not used, whatever it says of the arrays that are looked for.
    folder = cache / "open" / "queues"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    (folder / "slurm.json").write_text(
        '{"time": 1000, "asked": ["ssr-2"], "arrays": {"ssr-2": ["666", 1000]}, "error": "", "elements":'
        ' [{"array": "666", "index": 0, "name": "ssr-2", "state": "waiting"}]}'
    )
    (folder / "slurm.json").chmod(0o666)
    assert "666" not in _asked_by(4002, cache / "open", 2)
