"""The treatment of each keyword of ssh_config, as ``ssh -G`` prints them.

Fabric, which reaches hosts by default, honours those that it can. A host whose configuration sets one
that needs OpenSSH is reached with OpenSSH's own client (transports/openssh.py).
"""

from __future__ import annotations

import enum
import functools
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Values = Mapping[str, Sequence[str]]
"""Keywords in lower case, each with its values in order."""


class Treatment(enum.Enum):
    """The effect of a keyword on a connection of sshrender."""

    BOTH = "honoured"
    OPENSSH = "honoured; the host is then reached with OpenSSH's client"
    RESOLVED = "resolved by ssh itself before sshrender reads the settings"
    REPLACED = "sshrender sets it itself"
    NO_MEANING = "without meaning: a runner needs no terminal, no forwarding and no user to ask"


# Each keyword is listed once; tests/unit/test_sshconfig.py compares the list with what ssh prints.
_BY_TREATMENT = {
    Treatment.BOTH: """
        globalknownhostsfile hashknownhosts hostkeyalias hostname identitiesonly identityagent
        identityfile port proxycommand proxyjump stricthostkeychecking user userknownhostsfile
    """,
    Treatment.OPENSSH: """
        addressfamily bindaddress bindinterface casignaturealgorithms certificatefile channeltimeout
        checkhostip ciphers compression gssapiauthentication gssapiclientidentity
        gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey
        gssapiserveridentity gssapitrustdns hostbasedacceptedalgorithms
        hostbasedauthentication hostkeyalgorithms ipqos kexalgorithms knownhostscommand macs
        nohostauthenticationforlocalhost pkcs11provider preferredauthentications
        proxyusefdpass pubkeyacceptedalgorithms pubkeyauthentication rekeylimit requiredrsasize
        revokedhostkeys securitykeyprovider setenv verifyhostkeydns warnweakcrypto
    """,
    Treatment.RESOLVED: """
        canonicaldomains canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots
        canonicalizepermittedcnames host ignoreunknown include match
    """,
    Treatment.REPLACED: """
        batchmode connectionattempts connecttimeout controlmaster controlpath controlpersist
        forkafterauthentication loglevel logverbose numberofpasswordprompts refuseconnection
        remotecommand requesttty serveralivecountmax serveraliveinterval sessiontype stdinnull
        syslogfacility tcpkeepalive
    """,
    Treatment.NO_MEANING: """
        addkeystoagent clearallforwardings dynamicforward enableescapecommandline enablesshkeysign
        escapechar exitonforwardfailure fingerprinthash forwardagent forwardx11 forwardx11timeout
        forwardx11trusted gatewayports kbdinteractiveauthentication kbdinteractivedevices localcommand
        localforward obscurekeystroketiming passwordauthentication permitlocalcommand
        permitremoteopen remoteforward sendenv streamlocalbindmask streamlocalbindunlink tag tunnel
        tunneldevice updatehostkeys versionaddendum visualhostkey xauthlocation
    """,
}

TREATMENTS: dict[str, Treatment] = {
    keyword: treatment for treatment, text in _BY_TREATMENT.items() for keyword in text.split()
}
"""ssh_config(5) of OpenSSH 9.2 and later ones, Debian's GSSAPI keywords included."""

_DEFAULT_TIMEOUT = 10.0


def needing_openssh(values: Values) -> list[str]:
    """Return the keywords of a host that Fabric cannot honour; empty without OpenSSH's client."""
    defaults = _defaults()
    found = [
        keyword
        for keyword, set_to in values.items()
        # Without a client there are no defaults to compare with, and every keyword would look as if it
        # were set.
        if defaults
        # A keyword of a later release is left to the client that knows it.
        and TREATMENTS.get(keyword, Treatment.OPENSSH) is Treatment.OPENSSH
        # ``ssh -G`` prints every keyword, so only a value that differs from the default was set.
        and list(set_to) != defaults.get(keyword)
        # Debian's own ssh_config turns it on for all hosts.
        and (keyword != "gssapiauthentication" or _has_ticket())
    ]
    return sorted(found)


def parse(text: str) -> dict[str, list[str]]:
    """Return the output of ``ssh -G`` by keyword, in lower case."""
    values: dict[str, list[str]] = {}
    for line in text.split("\n"):  # splitlines() would also split where a value holds U+0085
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    return values


def _has_ticket() -> bool:
    """Return whether the user seems to have a Kerberos ticket, without which GSSAPI does nothing."""
    # The default place of the MIT library's file cache (krb5.conf(5), default_ccache_name).
    return "KRB5CCNAME" in os.environ or Path(f"/tmp/krb5cc_{os.getuid()}").exists()


# Once per process: the defaults belong to the installed ssh, and the call costs a process.
@functools.cache
def _defaults() -> dict[str, list[str]]:
    """Return the settings of a host without any configuration; empty if there is no ssh to ask."""
    try:
        answer = subprocess.run(
            # ``-F /dev/null``: no configuration file at all is read, neither the user's nor the
            # machine's.
            ["ssh", "-F", "/dev/null", "-G", "--", "localhost"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_DEFAULT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(answer.stdout) if answer.returncode == 0 else {}
