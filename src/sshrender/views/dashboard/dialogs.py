"""Screens on top of the dashboard: help and questions."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from sshrender.views.controlcharacters import harmless_text

_HELP: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Move",
        (
            ("1 2 3 4, Tab", "go to: pages, hosts, attempts in work, log"),
            ("arrows, Page Up", "move; also Page Down, Home, End and the mouse"),
            ("n N", "next, previous page that failed, is suspect or slow"),
            ("o", "all jobs, or all documents of the command: choose one"),
            ("Ctrl-P", "choose a command by name"),
        ),
    ),
    (
        "Pages",
        (
            ("Enter", "show the image; there: n p next, previous; + - 0 zoom; arrows move"),
            ("/", "go to a page by its number"),
            ("t", "render the failed page again"),
        ),
    ),
    (
        "Hosts",
        (
            ("Enter", "show the log of the host"),
            ("d u", "drain (with a note) in this job; undrain, or try a refused or lost host again"),
            ("/ Esc", "filter by text; remove the filters of all lists"),
            ("s r", "sort by the next column; reverse"),
            ("c", "copy the ssh command to the clipboard"),
        ),
    ),
    (
        "Log",
        (
            ("l", "problems first, problems alone, everything in order of time"),
            ("Enter", "go to the page or the host of the entry"),
            ("/ Esc", "filter by text; remove the filters of all lists"),
        ),
    ),
    (
        "Job",
        (
            ("h", "hold it once pages in work are done; release it"),
            ("x", "cancel it; finished pages stay"),
        ),
    ),
    (
        "Leave",
        (
            ("q", "close the dashboard; the job continues"),
            ("Ctrl-C", "render, resume: stop the job; twice: at once"),
            ("", "watch: close the dashboard; the job continues"),
        ),
    ),
    (
        "Columns of hosts",
        (
            ("slots", "pages in work / most pages at a time"),
            ("load own", "threads per core: of other programs; of sshrender"),
            ("s/page", "median seconds per page"),
            ("errors", "attempts that failed on the host"),
        ),
    ),
)

_HELP_OF_JOBS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "All jobs",
        (
            ("Enter", "open the job; of a host, show its jobs alone"),
            ("Tab", "go to the jobs, or to the hosts"),
            ("/", "show only jobs and hosts with a text in name, state or owner"),
            ("h", "hold the job, or release it"),
            ("x", "cancel the job, after a question; finished pages stay"),
            ("Esc", "show all again; go back"),
            ("q", "close the dashboard; the jobs continue"),
        ),
    ),
)
"""For the list of jobs. The keys of one job follow, for after Enter."""

_KEY_WIDTH = 15


class HelpScreen(ModalScreen[None]):
    """Shows keys, columns and symbols. It is as wide as the terminal allows, and scrolls."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def __init__(self, symbols: Text, *, is_of_jobs: bool = False) -> None:
        super().__init__()
        self._symbols = symbols
        self._sections = (*_HELP_OF_JOBS, *_HELP) if is_of_jobs else _HELP

    def compose(self) -> ComposeResult:
        """Yield the help text in a box that scrolls."""
        with VerticalScroll(id="box", classes="help") as box:
            box.border_title = "help"
            box.border_subtitle = "arrows scroll · Esc closes"
            yield Static(_help(self._sections, self._symbols))

    def on_mount(self) -> None:
        """Give the keys that scroll to the box."""
        self.query_one("#box").focus()


def _help(sections: tuple[tuple[str, tuple[tuple[str, str], ...]], ...], symbols: Text) -> Table:
    """Return a table of two columns; the second one wraps."""
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=_KEY_WIDTH)
    table.add_column(ratio=1)
    for title, rows in sections:
        table.add_row(Text(title, "bold underline"), "")
        for key, words in rows:
            table.add_row(Text(key, "bold"), words)
        table.add_row("", "")
    table.add_row(Text("Symbols", "bold underline"), symbols)
    return table


class Question(ModalScreen[str | None]):
    """Asks for a line of text. The result is None if the user cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__()
        self._words = words
        self._hint = hint

    def compose(self) -> ComposeResult:
        """Yield the question and an input field."""
        with Vertical(id="box"):
            yield Static(harmless_text(Text(self._words)))
            yield Input(placeholder=self._hint)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the text."""
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Return None."""
        self.dismiss(None)


class Confirmation(ModalScreen[bool]):
    """Asks a yes-or-no question."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        """Yield the question and its keys."""
        with Vertical(id="box"):
            yield Static(harmless_text(Text(f"{self._words}\n\ny  yes     n  no")))

    def action_answer(self, answer: bool) -> None:
        """Return the answer."""
        self.dismiss(answer)
