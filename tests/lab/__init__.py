"""A laboratory of small fake hosts on one machine, for tests that need real ``sshd``s and faults.

A :class:`Farm` is a private world (network, mounts, processes, hostnames) with N :class:`Host`s
in it.  Every host has a network, a root file system, a process table, a host key and a load of
its own; all of them share one SAN folder.  Hosts can crash, hang, lose their cable or their SAN.
When the farm is closed, or the process that made it dies however suddenly, the kernel removes
the whole world.  Root on Linux is needed: see :mod:`tests.lab.requirements`.
"""

from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.namespaces import LabError

__all__ = ["Farm", "Host", "LabError"]
