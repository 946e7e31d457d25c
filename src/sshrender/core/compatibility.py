"""Decides which hosts render the same page images: a host waits, is accepted, or is refused.

fingerprint.py compares. The *reference* is the fingerprint of the majority of all hosts: those that have
connected, in this run and in earlier ones, and those that may still connect. The time for connecting
limits how long they may. The first host alone decides nothing:

- If the hosts agree, there is a majority at once, and they start.
- Hosts that render the canary page as this machine does start at once.
- Otherwise the connected hosts start *provisionally* after a moment, so that a dead host costs no time.
  Hosts that differ wait, and the run does not complete before the reference is confirmed.
- A later majority overturns any reference. Pages of outvoted hosts are rendered again.
- The reference of an earlier run is dropped when no connected host matches it, unless it has more votes
  than what the connected hosts render. A host that connects again replaces its vote of an earlier run.

A host has one vote: its first fingerprint of the run. So no host can make the reference change back and
forth. Only when no host renders the reference any more do their newest fingerprints count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sshrender.core import commands as do
from sshrender.core.fingerprint import (
    HostFingerprint,
    difference,
    find_majority,
    has_other_fonts,
    is_same_render,
    is_tied,
    most_common_fingerprint,
)
from sshrender.core.hosttotals import pass_interval
from sshrender.core.records import Host
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import HostState

REFUSAL = "picture"
"""The refusal of a host that differs (``Refusal.PICTURE`` in transports/interface.py)."""

_DECISION_PASSES = 4
"""A decision compares every host with others: it costs as much as so many passes over all hosts."""

_CANARY_AFTER = 0.25
"""Seconds without a majority before this machine renders the canary page: most farms agree sooner."""

_CANARY_TIMEOUT = 25.0
"""Seconds that rendering it takes at most (coordinator/workers/localcanary.py)."""


class CompatibilityCheck:
    """Compares the hosts of a run, and decides on the reference.

    ``stored``: the reference of earlier runs. ``votes``: the fingerprints of their hosts. ``accept``,
    ``refuse`` and ``revive`` are called with each decision on a host.
    """

    def __init__(
        self,
        run: SchedulerState,
        stored: HostFingerprint | None,
        votes: Mapping[str, HostFingerprint],
        accept: Callable[[Host], None],
        refuse: Callable[[Host, str, str], None],
        revive: Callable[[Host], None],
    ) -> None:
        self._run = run
        self._reference = stored
        # Whether the reference still is that of an earlier run. Only a decision replaces that one; a
        # provisional reference gives way to what this machine renders, too.
        self._is_stored = stored is not None
        self._votes = dict(votes)
        self._accept = accept
        self._refuse = refuse
        self._revive = revive
        # The first fingerprint of each host that has connected in this run: its vote.
        self._present: dict[str, HostFingerprint] = {}
        self._own: HostFingerprint | None = None
        self._canary_requested_at: float | None = None
        self._is_canary_known = False
        # None until the document was read, which is requested only if fonts differ.
        self._do_fonts_matter: bool | None = None
        self._are_fonts_requested = False
        self._first_connected_at = 0.0
        self._decide_after = -math.inf
        self._is_finished = self._is_changed = self._is_overturned = False

    @property
    def is_provisional(self) -> bool:
        """Return whether the reference in use may still turn out to be that of a minority."""
        if not self._present or self._is_finished:
            return False
        # This machine's own canary page confirms a reference without the votes that are missing: the
        # run may complete.
        return self._reference is None or not is_same_render(self._own, self._reference)

    def admit(self, host: Host) -> None:
        """Count the vote of a host that has connected, and accept it if it can be decided."""
        # Such a host differs from nothing (fingerprint.py), so its vote would decide nothing.
        if self._run.policy.is_mixed or host.fingerprint in (None, HostFingerprint()):
            self._accept(host)
            return
        assert host.fingerprint is not None
        if not self._present:
            self._first_connected_at = self._run.now
        self._votes[host.name] = self._present.setdefault(host.name, host.fingerprint)
        self._is_changed = host.awaits_comparison = True
        if not self.is_outvoted(host.fingerprint):
            self._decide_host(host)  # otherwise its vote may be the one that overturns the reference

    def set_fonts_matter(self, are_missing: bool) -> None:
        """Take in whether the document uses fonts that it does not embed.

        Hosts that waited for that are decided.
        """
        self._do_fonts_matter, self._is_changed = are_missing, True
        for host in self._waiting():
            self._decide_host(host)

    def set_local_canary(self, own: HostFingerprint | None) -> None:
        """Take in what this machine renders; None: it cannot render the canary page."""
        self._own, self._is_canary_known, self._is_changed = own, True, True

    def is_outvoted(self, fingerprint: HostFingerprint | None) -> bool:
        """Return whether a host with this fingerprint differs from the reference."""
        # A page of an earlier run without a recorded fingerprint stays: there is nothing to compare.
        if self._reference is None or fingerprint is None or self._run.policy.is_mixed:
            return False
        # While it is unknown whether fonts matter, they do not: no page is withdrawn for a difference
        # that may be none.
        return bool(difference(fingerprint, self._reference, bool(self._do_fonts_matter)))

    def take_overturned(self) -> bool:
        """Return whether the reference was overturned since the last call."""
        is_overturned, self._is_overturned = self._is_overturned, False
        return is_overturned

    def decide(self) -> None:
        """Decide on the reference, as far as it can be decided now."""
        # Until the decision it continues, though nothing has changed: time counts as well.
        if not self._present or (self._is_finished and not self._is_changed):
            return
        if self._run.now < self._decide_after:
            return
        self._decide_after = self._run.now + _DECISION_PASSES * pass_interval(len(self._run.hosts))
        self._is_changed = False
        if self._is_finished:  # decided before, but votes have changed since
            self._recount()
        self._request_canary()
        outstanding = self._count_outstanding()
        majority = self._present_majority(outstanding)
        # Either the votes decide, or time has passed so that no more votes are awaited, or hosts start
        # before the decision, and may be outvoted.
        if majority is not None:
            self._confirm(majority)
        elif self._is_finished:
            self._decide_all()
        # A tie waits for this machine's canary page, which decides it, but no longer than
        # _CANARY_TIMEOUT.
        elif outstanding == 0 and not (self._is_canary_pending() and is_tied(self._present.values())):
            self._confirm(self._best_present())
        else:
            self._start_provisionally()

    def _recount(self) -> None:
        """Count the newest fingerprints, if every host was upgraded during the run."""
        hosts = {name: self._run.hosts[name].fingerprint for name in self._present}
        fingerprints = {
            name: fingerprint for name, fingerprint in hosts.items() if fingerprint is not None
        }
        # Fonts are left out: a host that differs in them alone still renders the reference's canary
        # page.
        if self._reference is not None and all(
            difference(fingerprint, self._reference, False) for fingerprint in fingerprints.values()
        ):
            self._present.update(fingerprints)
            self._votes.update(fingerprints)

    def _start_provisionally(self) -> None:
        """Start hosts that render what this machine does at once, the others after a moment."""
        alike = [
            fingerprint
            for fingerprint in self._present.values()
            if is_same_render(self._own, fingerprint)
        ]
        is_late = self._run.now - self._first_connected_at >= self._run.policy.compare_wait
        # A stored reference stays: the hosts that made it may still connect.
        if alike and (self._reference is None or not self._is_stored):
            self._set_reference(
                # The keys have no meaning; the order, which decides between equals, is that of the
                # handshakes.
                most_common_fingerprint({str(n): fingerprint for n, fingerprint in enumerate(alike)})
            )
        elif self._reference is None and (is_late or not self._absent(HostState.CONNECTING)):
            self._set_reference(most_common_fingerprint(self._present, self._own))

    def _present_majority(self, outstanding: int) -> HostFingerprint | None:
        """Return the fingerprint of a majority, if a connected host has it; else None."""
        # None counts as True: hosts that agree in their fonts, too, are a majority in either case.
        votes, fonts = list(self._votes.values()), self._do_fonts_matter is not False
        majority = find_majority(votes, outstanding, self._own, fonts)
        if majority is None and fonts:
            # Each host may have other fonts, while most of them differ from the reference in the page
            # image.
            alike = find_majority(votes, outstanding, self._own, do_fonts_matter=False)
            if alike is not None and self._reference is not None:
                is_against = bool(difference(alike, self._reference, do_fonts_matter=False))
                majority = alike if is_against else None
        # A reference that no connected host renders would refuse them all.
        return majority if majority is not None and self._is_present(majority) else None

    def _is_present(self, fingerprint: HostFingerprint) -> bool:
        return any(
            not difference(each, fingerprint, do_fonts_matter=False) for each in self._present.values()
        )

    def _best_present(self) -> HostFingerprint:
        """Return the reference when there is no majority.

        The stored one, if a connected host matches it or if absent hosts outvote the connected ones;
        else that of most connected hosts.
        """
        most_common = most_common_fingerprint(self._present, self._own)
        stored = self._reference if self._is_stored else None
        if stored is None:
            return most_common
        # The hosts of the earlier run may be away while this machine renders the same.
        is_kept = self._is_present(stored) or is_same_render(self._own, stored)
        return (
            stored if is_kept or self._votes_for(stored) > self._votes_for(most_common) else most_common
        )

    def _votes_for(self, fingerprint: HostFingerprint) -> int:
        return sum(not difference(vote, fingerprint, False) for vote in self._votes.values())

    def _count_outstanding(self) -> int:
        """Count the hosts that may still connect; lost ones too, as they are tried again."""
        if self._run.now - self._run.began >= self._run.policy.compare_timeout:
            return 0
        if self._agrees_with_ours():
            return self._absent(HostState.CONNECTING)
        return self._absent(HostState.CONNECTING, HostState.LOST)

    def _absent(self, *states: HostState) -> int:
        """Count the hosts in these states that have not connected in this run."""
        hosts = self._run.hosts.values()
        return sum(host.state in states and host.name not in self._present for host in hosts)

    def _agrees_with_ours(self) -> bool:
        """Return whether this machine and most connected hosts render the reference."""
        if self._reference is None or not is_same_render(self._own, self._reference):
            return False
        most_common = most_common_fingerprint(self._present, self._own)
        return self._is_stored or not difference(most_common, self._reference, False)

    def _request_canary(self) -> None:
        if self._canary_requested_at is not None:
            return
        # Counted from the first handshake: a farm that connects slowly is no reason to render the
        # page.
        is_late = not self._is_finished and self._run.now - self._first_connected_at >= _CANARY_AFTER
        if is_late or len({fingerprint.page_image for fingerprint in self._present.values()}) > 1:
            self._canary_requested_at = self._run.now
            self._run.issue(do.RenderCanary())

    def _is_canary_pending(self) -> bool:
        if self._canary_requested_at is None or self._is_canary_known:
            return False
        return self._run.now - self._canary_requested_at < _CANARY_TIMEOUT

    def _confirm(self, fingerprint: HostFingerprint) -> None:
        self._is_finished = True
        self._set_reference(fingerprint)
        self._decide_all()

    def _set_reference(self, fingerprint: HostFingerprint) -> None:
        """Make this the reference and have it recorded."""
        before, self._reference = self._reference, fingerprint
        is_other = before is not None and bool(
            difference(before, fingerprint, bool(self._do_fonts_matter))
        )
        # A reference without a canary page is replaced by an equal one that has one, as that compares
        # more.
        if before is not None and not is_other and (before.canary or not fingerprint.canary):
            self._reference = before  # equal as far as it is known: keep the recorded one
        else:
            self._is_stored = False
            self._run.issue(do.RecordReference(fingerprint, self._votes_for(fingerprint)))
        self._is_overturned |= is_other
        self._decide_all()

    def _decide_all(self) -> None:
        for host in self._run.hosts.values():
            # ``and`` is safe: a fingerprint is a tuple with fields, so an empty one is true as well.
            fingerprint = self._present.get(host.name) and host.fingerprint
            if host.awaits_comparison:
                self._decide_host(host)
            elif fingerprint is None:
                continue
            # A host that was refused for another cause stays refused, whatever the votes are.
            elif host.refusal == REFUSAL and host.state is HostState.REFUSED:
                if not self.is_outvoted(fingerprint):
                    self._revive(host)
            elif host.is_connected and self.is_outvoted(fingerprint):
                self._refuse_differing(host, fingerprint)  # a later majority may accept it again

    def _waiting(self) -> list[Host]:
        return [host for host in self._run.hosts.values() if host.awaits_comparison]

    def _decide_host(self, host: Host) -> None:
        """Accept or refuse a host, if that can be decided now."""
        if self._reference is None or host.fingerprint is None:
            return
        if self._do_fonts_matter is None and has_other_fonts(host.fingerprint, self._reference):
            if not self._are_fonts_requested:
                self._are_fonts_requested = True
                self._run.issue(do.ReadFonts())
            return  # decided when the document was read
        self._accept_or_refuse(host, host.fingerprint)

    def _accept_or_refuse(self, host: Host, fingerprint: HostFingerprint) -> None:
        assert self._reference is not None
        differs = difference(fingerprint, self._reference, bool(self._do_fonts_matter))
        # A host is refused after the decision only: a refusal is recorded, and a majority would have
        # to take it back.
        if differs and not self._is_finished:
            return  # it may belong to the majority
        host.awaits_comparison = False
        if differs:
            self._refuse_differing(host, fingerprint)
        else:
            self._accept(host)

    def _refuse_differing(self, host: Host, fingerprint: HostFingerprint) -> None:
        assert self._reference is not None
        differs = difference(fingerprint, self._reference, bool(self._do_fonts_matter))
        self._refuse(host, REFUSAL, f"{differs} (--mixed allows it)")
