"""Builds the line that runs a command of an engine on another machine, as if it were typed there.

A login shell of the user knows where the commands are: sites put TORQUE and Grid Engine into
``/etc/profile.d``. A marker ends what its start files print, and ``env -u`` removes what they export.
Every shell reads the line alike: it has neither ``!`` nor a backslash. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

ENGINE_VARIABLES = (
    *("SLURM_CONF", "CONDOR_CONFIG", "PBS_CONF_FILE", "PBS_DEFAULT", "PBS_SERVER", "PBS_EXEC"),
    *("SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"),
)
"""Variables that lead the commands to their server: Slurm, HTCondor, PBS, Grid Engine."""

ENGINE_PREFIXES = ("_CONDOR_",)

KEPT = (
    *("HOME", "USER", "LOGNAME", "PATH", "SHELL", "LANG", "TZ", "SSH_AUTH_SOCK", "KRB5CCNAME"),
    *("LD_LIBRARY_PATH", *ENGINE_VARIABLES),
)
"""What the commands need to find their server: any program, Slurm, HTCondor, PBS, Grid Engine. sbatch
passes its environment on to the job: an inherited SLURM_CPU_BIND makes it three times slower."""

KEPT_PREFIXES = ("LC_", *ENGINE_PREFIXES)

# A login shell of another kind (csh, fish) does not read ``"$@"``. It has read its own start files for
# this line; if they do not say where the program is, those of sh are asked. The program is the fifth
# word, or follows ``env`` and two variables (enginecalls.py).
_LOGIN = (
    "case ${SHELL##*/} in sh|ash|bash|dash|ksh*|mksh|zsh) s=$SHELL;;"
    ' *) s=sh; p=$5; if [ "$p" = env ]; then p=$8; fi;'
    """ if command -v "$p" > /dev/null; then exec "$@"; fi;; esac;"""
    """ exec "$s" -l -c 'exec "$@"' sshrender "$@\""""
)

# grep: a line of a variable with several lines is not a name. ``$0`` is the marker.
_CLEAN = (
    "d=; for v in $(env | cut -d= -f1 | grep -x '[A-Za-z_][A-Za-z0-9_]*'); do case $v in "
    f"{'|'.join((*KEPT, *(f'{prefix}*' for prefix in KEPT_PREFIXES)))}) ;;"
    ' *) d="$d -u $v";; esac; done; cd /; echo "$0"; echo "$0" >&2; exec env $d "$@"'
)


def remote_line(words: Sequence[str], marker: str) -> str:
    """Return the line for ssh. ``marker`` is a line of both outputs before those of the command."""
    return shlex.join(["sh", "-c", _LOGIN, "sshrender", "sh", "-c", _CLEAN, marker, *words])


def behind(marker: str, text: str) -> str | None:
    """Return what the command itself printed; None if it was not started."""
    _, found, rest = text.partition(f"{marker}\n")
    return rest if found else None
