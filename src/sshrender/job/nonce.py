"""Create a token in the job's folder that a host has to read back: then it sees the same folder."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from sshrender.job.folder import JobFolder
from sshrender.storage.newfiles import create, file_mode


@dataclass(frozen=True, slots=True)
class Nonce:
    """A token in a file, for one run: that of ``epoch``."""

    token: str
    path: Path
    epoch: int = 0

    @classmethod
    def create(cls, folder: JobFolder, epoch: int = 0) -> Nonce:
        """Create a new one. Raises OSError.

        It is as readable as the document: a host that can read it can read that. Those of lower epochs
        are removed: their runs have ended. A higher one belongs to the hosts of another coordinator.
        """
        for left in folder.path.glob(".nonce-*"):
            # Higher epochs: this coordinator may have been fenced off meanwhile.
            if _epoch_of(left.name) < epoch:
                left.unlink(missing_ok=True)
        token = secrets.token_hex(8)
        # The epoch in the name lets a later run see whose it is.
        path = folder.path / f".nonce-e{epoch}-{token}"
        with os.fdopen(create(path, file_mode(folder.path) & 0o444), "w", encoding="ascii") as file:
            file.write(token + "\n")
        return cls(token, path, epoch)

    def remove(self) -> None:
        """Remove it. Raises OSError."""
        self.path.unlink(missing_ok=True)


def _epoch_of(name: str) -> int:
    """Return the epoch in a file's name; -1 if it names none."""
    found = re.match(r"\.nonce-e(\d{1,18})-", name)
    return int(found.group(1)) if found is not None else -1
