"""The rows of the fault matrix, a file for each place where things break."""

from tests.faults.rows import coordinator, host, owner, renderer, storage, wire

FAULTS = [
    *host.FAULTS,
    *wire.FAULTS,
    *storage.FAULTS,
    *renderer.FAULTS,
    *coordinator.FAULTS,
    *owner.FAULTS,
]
