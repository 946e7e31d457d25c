"""A word in the job's folder that a host must read to us: then it sees the same folder as we do."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from sshrender.job.folder import JobFolder


@dataclass(frozen=True, slots=True)
class Nonce:
    """``word`` stands in ``path``, for one run."""

    word: str
    path: Path

    @classmethod
    def lay(cls, folder: JobFolder) -> Nonce:
        """Write a new one, readable for whoever can enter the folder; those of dead runs go.

        Needs the lease. Raises OSError.
        """
        for left in folder.path.glob(".nonce-*"):
            left.unlink(missing_ok=True)
        word = secrets.token_hex(8)
        path = folder.path / f".nonce-{word}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o444)
            file.write(word + "\n")
        return cls(word, path)

    def lift(self) -> None:
        """Remove it. Raises OSError."""
        self.path.unlink(missing_ok=True)
