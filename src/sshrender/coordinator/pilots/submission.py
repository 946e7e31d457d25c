"""Makes the request with which an array of pilots is submitted, and the script of its elements."""

from __future__ import annotations

from sshrender.coordinator.pilots.pilotarray import PilotArray
from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.transports.batch import script
from sshrender.transports.batch.engines.interface import ArrayRequest


def array_request(setup: PoolSetup, array: PilotArray, avoid: tuple[str, ...]) -> ArrayRequest:
    """Return the request for an array. Raises OSError where its script has to be a file."""
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
