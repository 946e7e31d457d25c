"""Ask the terminal whether its shell runs this program in the background."""

from __future__ import annotations

import os
from typing import IO


def is_in_background(stream: IO[str]) -> bool:
    """Return whether the shell of this terminal runs this program in the background, as with ``&``.

    The kernel stops a background process that reads its terminal or changes it (tcsetpgrp(3)).
    """
    try:
        return os.tcgetpgrp(stream.fileno()) != os.getpgrp()
    except (OSError, ValueError):  # no terminal, one that is not this session's, or a closed stream
        return False
