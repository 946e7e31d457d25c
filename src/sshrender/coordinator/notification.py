"""Notifies users that a job has ended: runs the ``on_done`` command, or sends mail by sendmail(8).

The command comes from the configuration of the machine that coordinates, never from the SAN: a job may
name addresses, but not programs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from sshrender.config.mailaddresses import in_ascii
from sshrender.utf8 import writable
from sshrender.views.text import clean

COMMAND_TIMEOUT = 120.0
"""Seconds that a command or sendmail may take."""

_SENDMAIL = os.pathsep.join(("/usr/sbin", "/usr/lib", os.defpath))


def run(command: Sequence[str], summary: Mapping[str, Any], report: Callable[[str], None]) -> None:
    """Run the command with the summary on stdin, and its main facts as environment variables."""
    facts = {
        "SSHRENDER_JOB": summary["job"],
        "SSHRENDER_JOB_DIR": summary["job_dir"],
        "SSHRENDER_STATE": summary["state"],
        "SSHRENDER_DELIVERED": summary["output"],
        "SSHRENDER_EXIT_CODE": summary["exit_code"],
    }
    # NUL ends a variable of execve(2), and os.environ takes none.
    variables = {key: writable(str(value)).replace("\0", "?") for key, value in facts.items()}
    _call("on_done", command, json.dumps(summary).encode(), {**os.environ, **variables}, report)


def mail(
    to: str, summary: Mapping[str, Any], lines: Iterable[str], report: Callable[[str], None]
) -> None:
    """Send the lines by this machine's own sendmail."""
    program = shutil.which("sendmail", path=_SENDMAIL)
    if program is None:
        report(f"no mail to {to}: there is no sendmail here")
        return
    message = EmailMessage()
    message["To"] = in_ascii(to) or to
    message["Subject"] = clean(writable(f"sshrender: {summary['job']} {summary['state']}"))
    # RFC 3834: vacation programs do not answer such a message.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(writable("\n".join(lines)) + "\n")
    # -t takes the addresses from the header, so that none is a word of the command line; -i: a line of
    # a single dot does not end the text.
    _call("sendmail", [program, "-i", "-t"], message.as_bytes(), dict(os.environ), report)


def _call(
    name: str,
    command: Sequence[str],
    text: bytes,
    environment: Mapping[str, str],
    report: Callable[[str], None],
) -> None:
    """Run a command and report its errors: the job has ended anyway."""
    try:
        answer = subprocess.run(
            list(command),
            input=text,
            env=dict(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        # ValueError: a NUL in a word of the command.
        report(f"{name}: {getattr(error, 'strerror', None) or error}")
        return
    if answer.returncode != 0:
        errors = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        last = clean(errors[-1]) if errors else "no error message"
        report(f"{name}: exit code {answer.returncode}: {last}")
