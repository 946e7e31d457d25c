"""Which hosts draw what the others draw (likeness.py has the rules): held back, accepted or refused."""

from __future__ import annotations

from collections.abc import Callable

from sshrender.core import commands as do
from sshrender.core import likeness
from sshrender.core.likeness import Look
from sshrender.core.records import Host
from sshrender.core.run import Run
from sshrender.core.states import HostState

REFUSAL = "picture"
"""The word for it in a host's refusal (transports/protocol.py, Refusal)."""


class Jury:
    """``rule``: what was settled in an earlier run. ``accept`` and ``refuse`` hear each verdict."""

    def __init__(
        self,
        run: Run,
        rule: Look | None,
        accept: Callable[[Host], None],
        refuse: Callable[[Host, str, str], None],
    ) -> None:
        self._run = run
        self._rule = rule
        self._accept = accept
        self._refuse = refuse
        self._do_fonts_matter: bool | None = None
        self._are_fonts_asked = False
        self._first_at: float | None = None

    def admit(self, host: Host) -> None:
        """A host has greeted."""
        if self._run.policy.is_mixed or host.look in (None, Look()):
            self._accept(host)
            return
        host.awaits_verdict = True
        if self._first_at is None:
            self._first_at = self._run.now
        self._try(host)

    def hear_of_fonts(self, are_missing: bool) -> None:
        """The document asks, or does not ask, for fonts that it does not bring."""
        self._do_fonts_matter = are_missing
        for host in self._waiting():
            self._try(host)

    def decide(self) -> None:
        """Settle whose picture rules, if it can be settled now."""
        if self._rule is not None or self._first_at is None:
            return
        looks = {host.name: host.look for host in self._waiting() if host.look is not None}
        if not looks:
            return
        hosts = self._run.hosts.values()
        to_come = sum(host.state is HostState.CONNECTING and not host.awaits_verdict for host in hosts)
        is_late = self._run.now - self._first_at >= self._run.policy.compare_wait
        if to_come == 0 or is_late or likeness.has_majority(looks.values(), to_come):
            self._rule = likeness.ruling(looks)
            self._run.issue(do.ReportRuling(self._rule, len(looks)))
            for host in self._waiting():
                self._try(host)

    def _waiting(self) -> list[Host]:
        return [host for host in self._run.hosts.values() if host.awaits_verdict]

    def _try(self, host: Host) -> None:
        """Its verdict, if there can be one by now."""
        if self._rule is None or host.look is None:
            return
        if self._do_fonts_matter is None and likeness.has_other_fonts(host.look, self._rule):
            if not self._are_fonts_asked:
                self._are_fonts_asked = True
                self._run.issue(do.ReadFonts())
            return  # until the document was read
        differs = likeness.difference(host.look, self._rule, bool(self._do_fonts_matter))
        host.awaits_verdict = False
        if differs:
            self._refuse(host, REFUSAL, f"{differs} (--mixed allows it)")
        else:
            self._accept(host)
