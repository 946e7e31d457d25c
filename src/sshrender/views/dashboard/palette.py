"""The command palette: every key of the dashboard by name, harmless ones first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider

if TYPE_CHECKING:
    from textual.binding import Binding
    from textual.dom import DOMNode


class DashboardCommands(Provider):
    """Offers the dashboard's own commands, in the order in which the dashboard lists them.

    Above a screen that covers the dashboard, that screen's commands: the user does not see what the
    dashboard's would change. Textual's own, such as another theme, would not fit: the colours are the
    terminal's.
    """

    @property
    def _owner(self) -> DOMNode:
        # Dialogs and the list of jobs cover the dashboard.
        is_covered = self.screen is not self.app.default_screen
        return self.screen if is_covered else self.app

    def _bindings(self) -> list[Binding]:
        found: list[Binding] = getattr(self._owner, "BINDINGS", [])
        # Keys without a description are those that move a cursor.
        return [binding for binding in found if binding.description]

    async def discover(self) -> Hits:
        """Yield all commands: those that show something before those that change the job."""
        for binding in self._bindings():
            yield DiscoveryHit(binding.description, self._run(binding), help=_key(binding))

    async def search(self, query: str) -> Hits:
        """Yield the commands that match what the user typed, the best match first."""
        matcher = self.matcher(query)
        for binding in self._bindings():
            match = matcher.match(binding.description)
            if match > 0:
                shown = matcher.highlight(binding.description)
                yield Hit(match, shown, self._run(binding), help=_key(binding))

    def _run(self, binding: Binding) -> partial[bool]:
        # Once the palette has closed: an action may open a dialog of its own.
        return partial(
            self.app.call_later, self.app.run_action, binding.action, default_namespace=self._owner
        )


def _key(binding: Binding) -> str:
    return f"key {binding.key_display or binding.key}"
