"""Makes arrays of pilots, the request with which one is submitted, and the script of its elements."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sshrender.coordinator.pilots.pilotarray import Pilot, PilotArray, digits
from sshrender.coordinator.pilots.pool import NAME_PREFIX, PoolSetup
from sshrender.job.journal import journalentries as je
from sshrender.transports.batch import script
from sshrender.transports.batch.arrayfolder import ArrayFolder
from sshrender.transports.batch.engines.interface import ArrayHandle, ArrayRequest
from sshrender.transports.batch.filelink import FileTransport


@dataclass(frozen=True, slots=True)
class ArrayMaker:
    """Makes the arrays of one pool; nothing is written yet.

    ``engine``: its name. ``folder``: of the job's arrays. ``secret``: from which their keys are derived.
    """

    engine: str
    folder: Path
    secret: bytes
    epoch: int

    def new(self, indexes: Iterable[int]) -> PilotArray:
        """Return an array with a name of its own. ``indexes``: of its elements."""
        return self._array(ArrayHandle(f"{NAME_PREFIX}{secrets.token_hex(4)}", ""), indexes)

    def known(self, entry: je.PilotsRequested) -> PilotArray:
        """Return an array of an earlier coordinator, as the journal has it."""
        indexes = range(entry.first, entry.first + entry.count)
        array = self._array(ArrayHandle(entry.name, entry.array), indexes)
        array.is_inherited = True
        return array

    def host(self, handle: ArrayHandle, index: int) -> str:
        """Return the name that a pilot has as a host: with the number of the array once it is known."""
        return f"{self.engine}:{digits(handle.array) or handle.name}_{index}"

    def _array(self, handle: ArrayHandle, indexes: Iterable[int]) -> PilotArray:
        # Derived from the owner's key: only a coordinator of the same owner can find it.
        message = f"sshrender pilots {handle.name}".encode()
        key = hmac.new(self.secret, message, hashlib.sha256).digest()
        folder = ArrayFolder(self.folder / handle.name, key)
        pilots = {
            index: Pilot(self.host(handle, index), FileTransport(folder.path, index, key, self.epoch))
            for index in indexes
        }
        return PilotArray(handle, folder, pilots)


def array_request(setup: PoolSetup, array: PilotArray, avoid: tuple[str, ...]) -> ArrayRequest:
    """Return the request for an array; write its script if that has to be a file. Raises OSError."""
    folder = array.folder
    # <job>/batch/<array>, as nodes see it.
    seen = "/".join((setup.san.rstrip("/"), *folder.path.parts[-3:]))
    text = script.build(setup.python, seen, folder.key, setup.walltime, setup.environment)
    script_file = ""
    if setup.engine.needs_script_file:
        script_file = f"{seen}/{folder.write_script(text).name}"
    return ArrayRequest(
        name=array.handle.name,
        count=len(array.pilots),
        cores=setup.cores,
        walltime=setup.walltime,
        memory=setup.memory,
        queue=setup.queue,
        options=setup.options,
        avoid=avoid,
        script=text,
        script_file=script_file,
    )
