"""The whole coordinator against hosts that send anything: no message ends a run, or prevents its end."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sshrender.coordinator import loop
from sshrender.coordinator.hosts.textbudget import CUT, TextBudget
from sshrender.coordinator.loop import Coordinator
from sshrender.coordinator.workers import verifier
from sshrender.core.events import PagesReady
from sshrender.job.status.jobstatus import of as report_of
from tests.entries import delivered, entries_of
from tests.machine.conversations import Fields, Host, RandomHost, image, quick, run
from tests.stretch import stretched

PAGES = 12
MEMORY_OF_TEXT = 8 << 20


@pytest.mark.parametrize("seed", range(4))
def test_no_well_formed_message_ends_a_run_or_spoils_a_page(tmp_path: Path, seed: int) -> None:
    """Any order, repeated, of others' attempts: beside one honest host every page is delivered."""
    rng = random.Random(seed)

    def make(folder: Path) -> list[Host]:
        liars: list[Host] = [RandomHost(f"liar{n}", folder, rng) for n in range(2)]
        honest = Host("honest", folder)
        honest.delay = 1.0
        return [*liars, honest]

    ended = run(tmp_path, PAGES, make)
    counts = ended.outcome.pages
    assert counts["done"] + counts["suspect"] == PAGES, ended.outcome
    assert counts["failed"] == counts["missing"] == 0
    assert all("could not be handled" not in entry["reason"] for entry in ended.of("host_state"))
    assert len(ended.pages()) == PAGES
    for number, data in enumerate(ended.pages(), 1):
        assert data == image(number), "what is delivered was verified"
    manifest = json.loads(ended.plan.folder.manifest.read_text())
    assert [page["page"] for page in manifest["pages"]] == list(range(1, PAGES + 1))
    told = report_of(ended.plan.folder, ended.plan.spec, entries_of(ended.entries), None)
    assert told.pages["done"] + told.pages["suspect"] == PAGES, "the journal tells the same"
    assert len(ended.entries) < 4000
    assert ended.plan.folder.journal.stat().st_size < MEMORY_OF_TEXT


class Repeater(Host):
    """Reports a page, then reports without end that its storage failed."""

    def answer(self, op: str, request: Fields) -> None:
        super().answer(op, request)
        if op == "render":
            for _ in range(400):
                fields = {"attempt": request["attempt"], "kind": "storage", "reason": "no room"}
                self.send("failed", **fields)


def test_a_failure_of_a_page_that_was_reported_counts_for_nothing(tmp_path: Path) -> None:
    ended = run(tmp_path, PAGES, lambda folder: [Repeater("liar", folder), Host("honest", folder)])
    assert ended.outcome.pages["done"] == PAGES
    assert ended.of("attempt_failed") == ended.of("storage_failed") == []


class Deaf(Host):
    """Takes pages, reports that it has no slot for them, and returns none."""

    def beat(self) -> None:
        self.send("heartbeat", others=0.0, ours=0.0, free_memory=1, available_slots=0)

    def answer(self, op: str, request: Fields) -> None:
        if op == "prepare":
            self.send_hello()


def test_a_host_that_ignores_revokes_does_not_keep_its_pages(tmp_path: Path) -> None:
    def make(folder: Path) -> list[Host]:
        deaf, honest = Deaf("deaf", folder), Host("honest", folder)
        honest.may_greet = lambda: any(request["op"] == "render" for request in deaf.heard)
        return [deaf, honest]

    policy = quick(hedge=False, compare_wait=0.0)
    ended = run(tmp_path, PAGES, make, policy)
    assert ended.outcome.pages["done"] == PAGES
    assert "request to return page" in json.dumps(ended.of("host_state"))


class Flood(Host):
    """A host that renders, and causes as many entries of the journal as it can besides."""

    def __init__(self, name: str, folder: Path, deed: str) -> None:
        super().__init__(name, folder)
        self.deed = deed

    def answer(self, op: str, request: Fields) -> None:
        if op == "render" and self.deed == "low_memory":
            self.send("failed", attempt=request["attempt"], kind="low_memory", reason="x")
            return
        super().answer(op, request)
        if op == "prepare":
            return
        fields: dict[str, Any]
        for n in range(300):
            if self.deed == "notes":
                self.send("noted", diagnostics=[])
            elif self.deed == "loads":
                self.send("heartbeat", others=99.0 * (n % 2), ours=0.0)
            elif self.deed == "reopens" and op == "render":
                fields = {"attempt": request["attempt"], "page": n % PAGES + 1, "seconds": 9.0}
                self.send("reopening", **fields, is_over=n % 2 == 0)
            elif self.deed == "suspects" and op == "render":
                fields = {"attempt": request["attempt"], "page": request["page"]}
                self.send("suspected", **fields, diagnostics=[f"{n} " + "x" * 900])


@pytest.mark.parametrize("deed", ["low_memory", "notes", "loads", "suspects", "reopens"])
def test_a_host_causes_no_flood_of_entries(tmp_path: Path, deed: str) -> None:
    def make(folder: Path) -> list[Host]:
        honest = Host("honest", folder)
        honest.delay = 1.0
        return [Flood("liar", folder, deed), honest]

    ended = run(tmp_path, PAGES, make)
    assert ended.outcome.pages["failed"] == ended.outcome.pages["missing"] == 0
    assert len(ended.entries) < 60 * PAGES
    assert ended.of("document_diagnosed") == []


class Broken(Host):
    """Sends what breaks the code that handles it."""

    def answer(self, op: str, request: Fields) -> None:
        if op == "render":
            self.send("trouble", reason="break it")
        else:
            super().answer(op, request)


def test_an_error_in_the_handling_of_a_message_ends_its_link_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: TextBudget, host: str, text: str) -> str:
        raise KeyError(text)

    monkeypatch.setattr(TextBudget, "reason", broken)
    ended = run(tmp_path, PAGES, lambda folder: [Broken("odd", folder), Host("honest", folder)])
    assert ended.outcome.pages["done"] == PAGES
    assert "could not be handled (KeyError" in json.dumps(ended.of("host_state"))


def test_what_a_host_may_have_stored_is_bounded_and_suspect_pages_stay_suspect() -> None:
    budget = TextBudget(host_bytes=10_000)
    lines = tuple(f"{n} " + "\x01" * 200 for n in range(40))
    stored = [budget.lines("liar", lines) for _ in range(20_000)]
    assert sum(len(json.dumps(line)) for said in stored for line in said if line != CUT) <= 10_000
    assert all(stored), "a page with diagnostics never looks like one without"
    assert stored[-1] == (CUT,)
    assert budget.reason("liar", "why") == CUT
    assert budget.lines("honest", ("other",)) == ("other",)
    assert budget.lines("liar", ()) == ()


def test_hosts_that_greet_after_a_liar_are_used_and_its_pages_are_rendered_again(tmp_path: Path) -> None:
    liars_fonts = {"digest": "b" * 64, "groups": {}}

    class Liar(Host):
        def report(self, request: Fields, data: bytes) -> Fields:
            return super().report(request, image(request["page"], color=255))

    def make(folder: Path) -> list[Host]:
        liar = Liar("liar", folder, canary="b" * 64, fonts=liars_fonts)
        fonts = {"digest": "a" * 64, "groups": {}}
        honest = [Host(f"honest{n}", folder, canary="a" * 64, fonts=fonts) for n in range(3)]
        for host in honest:
            host.may_greet = lambda: delivered([folder / "journal.jsonl"]) != []
        return [liar, *honest]

    ended = run(tmp_path, PAGES, make, quick(compare_wait=0.2))
    assert ended.outcome.pages["done"] == PAGES
    assert (ended.host("liar").state, ended.host("liar").pages) == ("refused", 0)
    assert {ended.host(f"honest{n}").state for n in range(3)} == {"idle"}
    assert len(ended.of("page_withdrawn")) > 0
    assert ended.pages() == [image(number) for number in range(1, PAGES + 1)]
    assert {record.host for record in ended.plan.history.pages.values()} <= {
        "honest0",
        "honest1",
        "honest2",
    }


@pytest.mark.parametrize("is_there", [False, True])
def test_a_page_that_a_host_laid_itself_does_not_keep_a_run_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Its own attempt's file never appears, or is one that gives way as that of the honest host does."""
    monkeypatch.setattr(verifier, "VISIBLE_TIMEOUT", 1.5)
    held: dict[int, tuple[Host, Fields]] = {}

    class Liar(Host):
        def answer(self, op: str, request: Fields) -> None:
            if op == "render":
                self.send("started", attempt=request["attempt"])
                held[request["page"]] = (self, request)
            else:
                super().answer(op, request)

    class Honest(Host):
        def answer(self, op: str, request: Fields) -> None:
            if op == "render" and request["page"] in held:
                liar, theirs = held.pop(request["page"])
                data = image(request["page"])
                (self.folder / "pages" / f"page-{request['page']:04d}.ppm").write_bytes(data)
                report = liar.report(theirs, data)
                if not is_there:
                    (self.folder / theirs["output"]).unlink()
                    report["sha256"] = "0" * 64
                    threading.Timer(2.0, lambda: liar.send("trouble", reason="it leaves")).start()
                liar.send("rendered", **report)
            super().answer(op, request)

    def make(folder: Path) -> list[Host]:
        honest = Honest("honest", folder)
        honest.delay = 0.5
        return [Liar("liar", folder), honest]

    deadline = time.monotonic() + stretched(30)
    policy = quick(deadline=deadline, reconnect_first=60.0, max_reconnect=60.0)
    ended = run(tmp_path, 2, make, policy)
    assert ended.outcome.pages["done"] == 2
    assert ended.pages() == [image(1), image(2)]


def test_hosts_that_beat_while_the_loop_stands_still_are_not_called_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that waits cannot be taken in at once: nothing that was heard in time counts as late."""

    class Slow(Host):
        def answer(self, op: str, request: Fields) -> None:
            if op == "render":
                time.sleep(0.3)
            super().answer(op, request)
            self.beat()

    silence = min(stretched(5.0), 20.0)
    shown, show = [0], Coordinator._show

    def stall(self: Coordinator) -> None:
        shown[0] += 1
        if shown[0] == 20:
            for _ in range(20):  # what other threads post, ahead of the hosts' messages
                self._run.inbox.put(PagesReady(()))
            time.sleep(silence + 1.0)
        show(self)

    monkeypatch.setattr(loop, "MAX_ITEMS_PER_TURN", 5)
    monkeypatch.setattr(Coordinator, "_show", stall)
    hosts = [f"h{n}" for n in range(4)]
    # A request to return a page waits its turn, behind those to render others.
    policy = quick(silence=silence, answer_timeout=120.0)
    ended = run(tmp_path, 40, lambda folder: [Slow(name, folder) for name in hosts], policy)
    assert ended.outcome.pages["done"] == 40
    assert [entry for entry in ended.of("host_state") if entry["state"] == "lost"] == []


def test_the_output_keeps_no_page_of_an_outvoted_host_that_fails_elsewhere(tmp_path: Path) -> None:
    class Liar(Host):
        def report(self, request: Fields, data: bytes) -> Fields:
            return super().report(request, image(request["page"], color=255))

    class Fails(Host):
        def answer(self, op: str, request: Fields) -> None:
            if op == "render" and request["page"] <= 2:
                self.send("started", attempt=request["attempt"])
                self.send("failed", attempt=request["attempt"], kind="crashed", reason="x")
            else:
                super().answer(op, request)

    def make(folder: Path) -> list[Host]:
        honest: list[Host] = [Fails(f"h{n}", folder, canary="a" * 64) for n in range(3)]
        for host in honest:
            host.may_greet = lambda: {1, 2} <= {*delivered([folder / "journal.jsonl"])}
        return [Liar("liar", folder, canary="b" * 64), *honest]

    ended = run(tmp_path, PAGES, make, quick(compare_wait=0.2))
    assert {entry["page"] for entry in ended.of("page_withdrawn")} >= {1, 2}
    assert ended.outcome.pages["failed"] == 2
    assert ended.pages() == [image(number) for number in range(3, PAGES + 1)]


def test_a_withdrawn_page_is_not_taken_for_published_when_the_job_is_resumed(tmp_path: Path) -> None:
    """The first run: the liar alone. The second: three honest hosts, without it."""

    class Liar(Host):
        def report(self, request: Fields, data: bytes) -> Fields:
            return super().report(request, image(request["page"], color=255))

    run(tmp_path, PAGES, lambda folder: [Liar("liar", folder, canary="b" * 64)])
    for path in (*tmp_path.glob("san/*/pages/page-0003*"), *tmp_path.glob("out/page-0003*")):
        path.unlink()
    ended = run(
        tmp_path,
        PAGES,
        lambda folder: [Host(f"honest{n}", folder, canary="a" * 64) for n in range(3)],
    )
    assert ended.outcome.code == 0
    assert ended.pages() == [image(number) for number in range(1, PAGES + 1)]
