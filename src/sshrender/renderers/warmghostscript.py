"""The dialogue with a warm Ghostscript (ghostscript.py), as warm sessions hold it.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import List, Optional

from sshrender.renderers import diagnostics, ghostscript
from sshrender.renderers.dialogue import Dialogue, PageResult
from sshrender.renderers.ghostscript import Setup


class GhostscriptDialogue(Dialogue):
    """See Dialogue."""

    name = "Ghostscript"

    def command(self, setup: Setup, scratch: str) -> List[str]:  # noqa: ARG002 - it reads no file there
        """See Dialogue.command."""
        return ghostscript.command(setup)

    def setup_lines(self, setup: Setup, profiles: str, thumbnails: str) -> List[str]:
        """See Dialogue.setup_lines."""
        lines = []
        if setup.profile is not None:
            lines += ghostscript.profile_lines(setup.profile[0], profiles, setup.profile[1])
        if thumbnails:
            lines += ghostscript.thumbnail_setup_lines(setup.thumbnails, thumbnails)
        return lines

    def open_lines(self, setup: Setup, password: Optional[bytes], token: str) -> List[str]:
        """See Dialogue.open_lines."""
        return ghostscript.open_lines(setup.document, password, token, setup)

    def close_lines(self, token: str) -> List[str]:
        """See Dialogue.close_lines: Ghostscript prints a summary of the problems since then."""
        return ghostscript.close_lines(token)

    def page_lines(self, number: int, token: str) -> List[str]:
        """See Dialogue.page_lines."""
        return ghostscript.page_lines(number, token)

    def seek_lines(self, number: int, token: str) -> List[str]:
        """See Dialogue.seek_lines."""
        return ghostscript.seek_lines(number, token)

    def thumbnail_lines(self, number: int, page: int, token: str) -> List[str]:
        """See Dialogue.thumbnail_lines."""
        return ghostscript.thumbnail_lines(number, page, token)

    def page_result(self, value: str, lines: List[str]) -> PageResult:
        """See Dialogue.page_result."""
        shown, size, place = ghostscript.parse_page_answer(value)
        # A size is stored for a page that was left out as well; only the output says so.
        return PageResult(
            shown,
            size,
            is_rendered=size is not None and not diagnostics.was_not_rendered(lines),
            place=place,
            is_to_be_encoded=size is not None,
            # Only a page that did not come out: the phrase may also be in a diagnostic of a page that
            # did.
            is_missing=size is None and diagnostics.was_not_found(lines),
            has_substituted_fonts=diagnostics.has_substituted_fonts(lines),
        )

    def warnings(self, lines: List[str]) -> List[str]:
        """See Dialogue.warnings."""
        return diagnostics.warnings(lines)


GHOSTSCRIPT = GhostscriptDialogue()
