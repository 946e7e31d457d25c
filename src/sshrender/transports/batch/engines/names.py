"""The engines by the name that an inventory has for them."""

from __future__ import annotations

from sshrender.transports.batch.engines.gridengine import GridEngine
from sshrender.transports.batch.engines.htcondor import HtCondor
from sshrender.transports.batch.engines.interface import Engine
from sshrender.transports.batch.engines.openpbs import OpenPbs
from sshrender.transports.batch.engines.slurm import Slurm
from sshrender.transports.batch.engines.torque import Torque


def engine(name: str) -> Engine:
    """Return the adapter of an engine. Raises KeyError."""
    return {each.name: each for each in (Slurm(), Torque(), OpenPbs(), GridEngine(), HtCondor())}[name]
