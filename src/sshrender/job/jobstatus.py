"""How a job stands: a fold of its journal, ``job.json`` and lease. Asks no host and no coordinator."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sshrender.document import pagelist
from sshrender.errors import UserError
from sshrender.job import delivery, history
from sshrender.job.accounting import Account
from sshrender.job.attributes import CANCELLED, Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.lease import in_words
from sshrender.job.leasefiles import Claim
from sshrender.job.spec import JobSpec

MAX_HOSTS = 10_000
"""Hosts of one journal that are counted: another user's may name one in each line."""


@dataclass(slots=True)
class HostShare:
    """What a host has done for the job in all its runs. ``state`` is its last one."""

    name: str
    pages: int = 0
    failures: int = 0
    hedged: int = 0
    seconds: float = 0.0
    state: str = "unknown"
    reason: str = ""


@dataclass(slots=True)
class JobReport:
    """One job. ``state`` is one of CONTRACT's; times as in the journal, empty where there is none."""

    name: str
    folder: str
    state: str
    reason: str
    pages: dict[str, int]
    failed: list[dict[str, Any]]
    suspect: dict[int, tuple[str, ...]]
    missing: frozenset[int]
    requested: frozenset[int]
    hosts: list[HostShare]
    runs: int
    created: str
    updated: str
    output: str
    coordinator: str
    notes: list[str]
    fonts: dict[str, str]
    spec: JobSpec
    attributes: Attributes

    def as_json(self) -> dict[str, Any]:
        """The object that ``status --json`` prints for a job: a summary of ``render``, and some more."""
        return {
            "schema": 1,
            "job": self.name,
            "state": self.state,
            "reason": self.reason,
            "job_dir": self.folder,
            "output": self.output or None,
            "pages": self.pages,
            "failed_pages": self.failed,
            "suspect_pages": [{"page": page, "said": list(said)} for page, said in self.suspect.items()],
            "notes": self.notes,
            "fonts_missing": [{"font": font, "pages": pages} for font, pages in self.fonts.items()],
            "hosts": [
                {
                    "name": host.name,
                    "state": host.state,
                    "reason": host.reason,
                    "pages": host.pages,
                    "failures": host.failures,
                    "hedged": host.hedged,
                    "seconds": round(host.seconds, 3),
                }
                for host in self.hosts
            ],
            "runs": self.runs,
            "created": self.created,
            "updated": self.updated,
            "coordinator": self.coordinator or None,
            **self._queue(),
            "document": self.spec.document.model_dump(mode="json"),
            "settings": self.spec.settings.model_dump(mode="json"),
        }

    def _queue(self) -> dict[str, Any]:
        """Its place in the queue."""
        found = self.attributes
        return {
            "owner": found.owner or None,
            "submitted": found.submitted or None,
            "priority": found.priority,
            "limit": found.limit,
            "after": list(found.after),
            "not_before": found.not_before or None,
            "held_by": found.held or None,
        }


@dataclass(slots=True)
class _Fold:
    runs: int = 0
    last_run: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)
    updated: str = ""
    failed: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    hedged: Counter[str] = field(default_factory=Counter)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: str = ""
    named: set[str] = field(default_factory=set)

    def _asked(self, entry: dict[str, Any]) -> None:
        if entry["op"] == "hold":
            self.held = f"held by {entry['by']}"
        elif entry["op"] == "release":
            self.held = ""
        elif entry["op"] == "retry":
            self.failed.pop(int(entry["page"]), None)

    def take(self, entry: dict[str, Any]) -> None:
        """One entry more. Raises KeyError or TypeError for one of another shape."""
        kind = entry["type"]
        self.updated = str(entry["time"])
        if kind == "run_started":
            self.runs, self.last_run, self.ended = self.runs + 1, entry, {}
            self.failed.clear()
            self.held = ""
        elif kind == "run_ended":
            self.ended = entry
        elif kind == "requested" and not entry["is_late"]:
            self._asked(entry)
        elif kind == "host_state":
            self.states[str(entry["host"])] = str(entry["state"]), str(entry["reason"])
        elif kind == "attempt_failed":
            self.failures[str(entry["host"])] += 1
        elif kind == "attempt_dropped":
            self.hedged[str(entry["host"])] += bool(entry["is_hedged"])
        elif kind == "page_failed":
            self.failed[int(entry["page"])] = _failed(entry)

    def is_of_too_many(self, entry: dict[str, Any]) -> bool:
        """Whether it names one host more than a job can have used."""
        host = entry.get("host")
        if type(host) is not str or host in self.named:
            return False
        if len(self.named) < MAX_HOSTS:
            self.named.add(host)
        return host not in self.named


def of(
    folder: JobFolder,
    spec: JobSpec,
    entries: Iterable[dict[str, Any]],
    holder: Claim | None,
    attributes: Attributes | None = None,
) -> JobReport:
    """The report of a job with this journal. ``holder`` is whoever coordinates it now."""
    attributes = attributes or Attributes()
    pages = _pages(spec)
    fold, past = _replay(entries, pages)
    done = {number: record for number, record in past.pages.items() if number in pages}
    failed = [told for number, told in sorted(fold.failed.items()) if number not in done]
    suspect = {number: record.said for number, record in sorted(done.items()) if record.is_suspect}
    counts = {
        "total": len(pages),
        "done": len(done) - len(suspect),
        "suspect": len(suspect),
        "failed": len(failed),
        "missing": len(pages) - len(done) - len(failed),
    }
    state, reason = _state(counts, fold, holder, attributes)
    return JobReport(
        name=spec.name,
        folder=str(folder.path),
        state=state,
        reason=reason,
        pages=counts,
        failed=failed,
        suspect=suspect,
        requested=pages,
        missing=pages - done.keys() - {entry["page"] for entry in failed},
        hosts=_shares(done.values(), fold),
        runs=fold.runs,
        created=spec.created,
        updated=fold.updated or spec.created,
        output=str(fold.last_run.get("output", "")) or delivery.in_words(attributes, folder.path.parent),
        coordinator=in_words(holder) if holder is not None else "",
        notes=past.notes,
        fonts=past.fonts,
        spec=spec,
        attributes=attributes,
    )


def removed(name: str, accounts: Sequence[Account]) -> dict[str, Any]:
    """What is left to say of a job that ``clean`` removed."""
    pages = sum(account.pages for account in accounts)
    return {
        "schema": 1,
        "job": name,
        "state": "removed",
        "reason": "",
        "pages": {"total": pages, "done": pages, "suspect": 0, "failed": 0, "missing": 0},
        "owner": accounts[0].user if accounts else None,
        "updated": max((account.month for account in accounts), default=""),
        "accounts": [account.as_json() for account in accounts],
    }


def _replay(entries: Iterable[dict[str, Any]], pages: frozenset[int]) -> tuple[_Fold, history.History]:
    """In one pass: another user's journal may be as large as a reader allows.

    What it says of pages that are not the job's is passed over, so that it takes no memory.
    """
    fold, past = _Fold(), history.History()
    for entry in entries:
        if (entry.get("page") and entry["page"] not in pages) or fold.is_of_too_many(entry):
            continue
        with contextlib.suppress(KeyError, TypeError, ValueError):  # damaged, as in history.take
            fold.take(entry)
        history.take(past, entry)
    return fold, past


def _pages(spec: JobSpec) -> frozenset[int]:
    try:
        return frozenset(pagelist.parse(spec.settings.pages, spec.document.pages))
    except UserError:
        return frozenset()


def _failed(entry: dict[str, Any]) -> dict[str, Any]:
    keys = ("page", "kind", "reason", "attempts", "hosts")
    return {key: entry.get(key) for key in keys}


def _state(
    counts: dict[str, int], fold: _Fold, holder: Claim | None, attributes: Attributes
) -> tuple[str, str]:
    held = attributes.held and f"held by {attributes.held}" + (attributes.why and f": {attributes.why}")
    if holder is not None:
        held = held or fold.held
        return ("held", held) if held else ("running", "")
    delivered = counts["done"] + counts["suspect"]
    is_queued = attributes.is_queued and not attributes.over
    if delivered == counts["total"] and not is_queued:
        return "done", ""
    if attributes.over == CANCELLED:
        return CANCELLED, attributes.why
    if held:
        return "held", held
    is_gone = fold.runs > 0 and not fold.ended
    reason = "its coordinator is gone" if is_gone else str(fold.ended.get("reason", ""))
    if fold.runs == 0 or is_queued:
        return "queued", attributes.why or reason or _waits_for(attributes)
    if fold.ended.get("state") == CANCELLED:
        return CANCELLED, reason
    return ("partial" if delivered else "failed"), reason


def _waits_for(attributes: Attributes) -> str:
    """Why it has not begun, as far as its attributes say."""
    words = [f"after {', '.join(attributes.after)}"] if attributes.after else []
    words += [f"not before {attributes.not_before}"] if attributes.not_before else []
    return "; ".join(words)


def _shares(records: Iterable[history.PageRecord], fold: _Fold) -> list[HostShare]:
    shares = {
        name: HostShare(name, state=state, reason=why) for name, (state, why) in fold.states.items()
    }
    for record in records:
        if record.host:
            share = shares.setdefault(record.host, HostShare(record.host))
            share.pages += 1
            share.seconds += record.seconds
    for name, count in fold.failures.items():
        shares.setdefault(name, HostShare(name)).failures = count
    for name, count in fold.hedged.items():
        shares.setdefault(name, HostShare(name)).hedged = count
    return sorted(shares.values(), key=lambda share: (-share.pages, share.name))
