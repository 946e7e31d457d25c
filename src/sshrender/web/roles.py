"""Users of the web and what each may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Role(IntEnum):
    """The rights of a user; each role includes the ones before."""

    VIEWER = 0
    """Open jobs by their link, see and download pages."""
    SUBMITTER = 1
    """Also upload documents, and change own jobs."""
    OPERATOR = 2
    """Also see and change all jobs and hosts."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the web. ``name``: empty for holders of a link.

    ``shared``: jobs opened by a link, by name: the id of each, which a later job of that name has not.
    """

    name: str
    role: Role
    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """The user as journals and attributes name it."""
        return f"web:{self.name or 'link'}"

    def may_see(self, job: str, id_: str, owner: str) -> bool:
        """Return whether this user may see a job."""
        is_shared = bool(id_) and self.shared.get(job) == id_
        return self.role is Role.OPERATOR or is_shared or self.owns(owner)

    def owns(self, owner: str) -> bool:
        """Return whether this user submitted the job with this owner."""
        return bool(self.name) and self.role >= Role.SUBMITTER and owner == self.by

    def may_change(self, owner: str) -> bool:
        """Return whether this user may change a job."""
        return self.role is Role.OPERATOR or self.owns(owner)
