"""Opens files of the shared folder for those above the api: regular files only, no link is followed."""

from __future__ import annotations

from sshrender.storage.files import open_plain, read_plain

__all__ = ["open_plain", "read_plain"]
