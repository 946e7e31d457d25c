"""Which hosts render what the others render: held back, accepted or refused (fingerprint.py compares).

The reference is decided by a majority of the hosts that have greeted, in this run and in earlier ones,
and of those that may still come, which is bounded by the time that connecting may take. The first to
greet decides nothing:

- Where hosts agree, a majority is there at once, and they begin.
- Those that render the canary page as this machine does itself begin at once.
- Otherwise, so that no dead host costs time, those that have greeted begin *provisionally* after a
  moment. Hosts that differ wait, and the run does not complete before the reference is confirmed.
- A later majority overturns any reference. Pages of hosts that it outvotes are rendered again.
- The reference of an earlier run is dropped when no host that is present agrees with it, unless it has
  more votes than what those that are present render. A host that greets anew replaces its earlier vote.

A host has one vote: its first fingerprint of the run. So no host can turn the reference to and fro. Only
where none of them renders the reference any more do their newest fingerprints count.
"""

from __future__ import annotations

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
from sshrender.core.records import Host
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import HostState

REFUSAL = "picture"
"""The word for it in a host's refusal (transports/protocol.py, Refusal)."""

_CANARY_AFTER = 0.25
"""Seconds without a majority before this machine renders the canary page: most farms have one soon."""

_CANARY_TIMEOUT = 25.0
"""Seconds that this takes at most (coordinator/workers/localcanary.py)."""


class CompatibilityCheck:
    """``stored``: the reference of earlier runs. ``votes``: the fingerprints of their hosts.

    ``accept``, ``refuse`` and ``revive`` hear each decision on a host.
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
        self._is_stored = stored is not None
        self._votes = dict(votes)
        self._accept = accept
        self._refuse = refuse
        self._revive = revive
        self._present: dict[str, HostFingerprint] = {}
        self._own: HostFingerprint | None = None
        self._own_asked_at: float | None = None
        self._is_own_known = False
        self._do_fonts_matter: bool | None = None
        self._are_fonts_asked = False
        self._first_at = 0.0
        self._is_finished = self._is_changed = self._is_overturned = False

    @property
    def is_provisional(self) -> bool:
        """Whether the reference that hosts render by may still turn out to be that of a few."""
        if not self._present or self._is_finished:
            return False
        return self._reference is None or not is_same_render(self._own, self._reference)

    def admit(self, host: Host) -> None:
        """A host has greeted."""
        if self._run.policy.is_mixed or host.fingerprint in (None, HostFingerprint()):
            self._accept(host)
            return
        assert host.fingerprint is not None
        if not self._present:
            self._first_at = self._run.now
        self._votes[host.name] = self._present.setdefault(host.name, host.fingerprint)
        self._is_changed = host.awaits_comparison = True
        if not self.is_outvoted(host.fingerprint):
            self._decide_host(host)  # else its vote may be the one that overturns the reference

    def set_fonts_matter(self, are_missing: bool) -> None:
        """The document asks, or does not ask, for fonts that it does not bring."""
        self._do_fonts_matter, self._is_changed = are_missing, True
        for host in self._waiting():
            self._decide_host(host)

    def set_local_canary(self, own: HostFingerprint | None) -> None:
        """What this machine renders; None: it cannot tell."""
        self._own, self._is_own_known, self._is_changed = own, True, True

    def is_outvoted(self, fingerprint: HostFingerprint | None) -> bool:
        """Whether a host of this fingerprint renders other pages than the reference."""
        if self._reference is None or fingerprint is None or self._run.policy.is_mixed:
            return False
        return bool(difference(fingerprint, self._reference, bool(self._do_fonts_matter)))

    def take_overturned(self) -> bool:
        """Whether the reference was overturned since this was last asked."""
        is_overturned, self._is_overturned = self._is_overturned, False
        return is_overturned

    def decide(self) -> None:
        """Decide on the reference, as far as that can be decided now."""
        if not self._present or (self._is_finished and not self._is_changed):
            return
        self._is_changed = False
        if self._is_finished:
            self._recount()
        self._ask_for_canary()
        to_come = self._still_to_come()
        leader = self._leader(to_come)
        if leader is not None:
            self._confirm(leader)
        elif self._is_finished:
            self._decide_all()
        elif to_come == 0 and not (self._is_own_pending() and is_tied(self._present.values())):
            self._confirm(self._best_present())
        else:
            self._start_provisionally()

    def _recount(self) -> None:
        """Where every host was changed during the run, what they render now counts."""
        hosts = {name: self._run.hosts[name].fingerprint for name in self._present}
        fingerprints = {
            name: fingerprint for name, fingerprint in hosts.items() if fingerprint is not None
        }
        if self._reference is not None and all(
            difference(fingerprint, self._reference, False) for fingerprint in fingerprints.values()
        ):
            self._present.update(fingerprints)
            self._votes.update(fingerprints)

    def _start_provisionally(self) -> None:
        """Who renders what we do begins at once, the others after a moment, and provisionally."""
        alike = [
            fingerprint
            for fingerprint in self._present.values()
            if is_same_render(self._own, fingerprint)
        ]
        is_late = self._run.now - self._first_at >= self._run.policy.compare_wait
        if alike and (self._reference is None or not self._is_stored):
            self._set_reference(
                most_common_fingerprint({str(n): fingerprint for n, fingerprint in enumerate(alike)})
            )
        elif self._reference is None and (is_late or not self._absent(HostState.CONNECTING)):
            self._set_reference(most_common_fingerprint(self._present, self._own))

    def _leader(self, to_come: int) -> HostFingerprint | None:
        """What a majority renders, and any host that is here."""
        votes, fonts = list(self._votes.values()), self._do_fonts_matter is not False
        leader = find_majority(votes, to_come, self._own, fonts)
        if leader is None and fonts:
            # Fonts may differ from host to host, and yet most of them agree against the reference.
            alike = find_majority(votes, to_come, self._own, do_fonts_matter=False)
            if alike is not None and self._reference is not None:
                is_against = bool(difference(alike, self._reference, do_fonts_matter=False))
                leader = alike if is_against else None
        return leader if leader is not None and self._is_present(leader) else None

    def _is_present(self, fingerprint: HostFingerprint) -> bool:
        return any(
            not difference(each, fingerprint, do_fonts_matter=False) for each in self._present.values()
        )

    def _best_present(self) -> HostFingerprint:
        """Without a majority: the stored reference where any host agrees with it, or where hosts that
        are absent outvote those that are here; else that of most.
        """
        most_common = most_common_fingerprint(self._present, self._own)
        stored = self._reference if self._is_stored else None
        if stored is None:
            return most_common
        is_kept = self._is_present(stored) or is_same_render(self._own, stored)
        return (
            stored if is_kept or self._votes_for(stored) > self._votes_for(most_common) else most_common
        )

    def _votes_for(self, fingerprint: HostFingerprint) -> int:
        return sum(not difference(vote, fingerprint, False) for vote in self._votes.values())

    def _still_to_come(self) -> int:
        """Hosts that have not greeted and still may; lost ones too, as they are tried again."""
        if self._run.now - self._run.began >= self._run.policy.compare_timeout:
            return 0
        if self._is_confirmed():
            return self._absent(HostState.CONNECTING)
        return self._absent(HostState.CONNECTING, HostState.LOST)

    def _absent(self, *states: HostState) -> int:
        """How many that have not greeted are in one of these states."""
        hosts = self._run.hosts.values()
        return sum(host.state in states and host.name not in self._present for host in hosts)

    def _is_confirmed(self) -> bool:
        """Whether the reference is what this machine renders, and what most of those here do."""
        if self._reference is None or not is_same_render(self._own, self._reference):
            return False
        most_common = most_common_fingerprint(self._present, self._own)
        return self._is_stored or not difference(most_common, self._reference, False)

    def _ask_for_canary(self) -> None:
        if self._own_asked_at is not None:
            return
        is_late = not self._is_finished and self._run.now - self._first_at >= _CANARY_AFTER
        if is_late or len({fingerprint.page_image for fingerprint in self._present.values()}) > 1:
            self._own_asked_at = self._run.now
            self._run.issue(do.RenderCanary())

    def _is_own_pending(self) -> bool:
        if self._own_asked_at is None or self._is_own_known:
            return False
        return self._run.now - self._own_asked_at < _CANARY_TIMEOUT

    def _confirm(self, fingerprint: HostFingerprint) -> None:
        self._is_finished = True
        self._set_reference(fingerprint)
        self._decide_all()

    def _set_reference(self, fingerprint: HostFingerprint) -> None:
        """From now on this is the reference."""
        before, self._reference = self._reference, fingerprint
        is_other = before is not None and bool(
            difference(before, fingerprint, bool(self._do_fonts_matter))
        )
        if before is not None and not is_other and (before.canary or not fingerprint.canary):
            self._reference = before  # the same; the one on record stays
        else:
            self._is_stored = False
            self._run.issue(do.RecordReference(fingerprint, self._votes_for(fingerprint)))
        self._is_overturned |= is_other
        self._decide_all()

    def _decide_all(self) -> None:
        for host in self._run.hosts.values():
            fingerprint = self._present.get(host.name) and host.fingerprint
            if host.awaits_comparison:
                self._decide_host(host)
            elif fingerprint is None:
                continue
            elif host.refusal == REFUSAL and host.state is HostState.REFUSED:
                if not self.is_outvoted(fingerprint):
                    self._revive(host)
            elif host.is_connected and self.is_outvoted(fingerprint):
                self._refuse_differing(host, fingerprint)  # a later majority may bring it back

    def _waiting(self) -> list[Host]:
        return [host for host in self._run.hosts.values() if host.awaits_comparison]

    def _decide_host(self, host: Host) -> None:
        """Its decision, if there can be one by now."""
        if self._reference is None or host.fingerprint is None:
            return
        if self._do_fonts_matter is None and has_other_fonts(host.fingerprint, self._reference):
            if not self._are_fonts_asked:
                self._are_fonts_asked = True
                self._run.issue(do.ReadFonts())
            return  # until the document was read
        self._accept_or_refuse(host, host.fingerprint)

    def _accept_or_refuse(self, host: Host, fingerprint: HostFingerprint) -> None:
        assert self._reference is not None
        differs = difference(fingerprint, self._reference, bool(self._do_fonts_matter))
        if differs and not self._is_finished:
            return  # it may be one of those that are right
        host.awaits_comparison = False
        if differs:
            self._refuse_differing(host, fingerprint)
        else:
            self._accept(host)

    def _refuse_differing(self, host: Host, fingerprint: HostFingerprint) -> None:
        assert self._reference is not None
        differs = difference(fingerprint, self._reference, bool(self._do_fonts_matter))
        self._refuse(host, REFUSAL, f"{differs} (--mixed allows it)")
