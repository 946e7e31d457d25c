"""Packs the runner into one message for a host, with the command that receives and starts it there.

The command is short, and quoted so that sh, bash, dash, zsh, fish and tcsh read the same words. It reads
a loader up to a NUL byte (or the end of its input), byte by byte. The loader names its Python, and reads
a second program in the same way, which reads exactly the size of the modules, so that no byte of the
first request is lost in a buffer. An alarm ends the command when nothing comes at all.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import marshal
import re
import sys
import threading
import zlib
from collections.abc import Iterator
from enum import Enum
from importlib import machinery, resources
from typing import Any

from sshrender.transports.interface import OTHER_SHELL

# 3.7 is the oldest Python that the modules below run with (RHEL 8 has 3.6, Debian 10 has 3.7).
MINIMUM_PYTHON = (3, 7)
_PACKAGES = (
    "sshrender.renderers",
    "sshrender.renderers.encoders",
    "sshrender.runner",
    "sshrender.runner.host",
    "sshrender.runner.rendering",
    "sshrender.runner.slots",
    "sshrender.storage",
)
# Every other module of the packages is sent, so a new one needs no entry. Names here save bytes only.
NOT_SENT = frozenset(
    {
        "sshrender.renderers.appearance",
        "sshrender.renderers.devices",
        "sshrender.renderers.encoding",
        "sshrender.renderers.switches",
        "sshrender.runner.allocationfacts",
        "sshrender.runner.allocationholder",
        "sshrender.runner.pilotlines",
        "sshrender.storage.filesystemcheck",
        "sshrender.storage.files",
        "sshrender.storage.hangguard",
        "sshrender.storage.newfiles",
    }
)
"""Modules of those packages that only the coordinator needs, or a holder
(transports/batch/script.py)."""

_TEXT = re.compile(
    r'^(?P<indent>[ \t]*)""".*?"""|(?P<kept>""".*?""")|^[ \t]*#[^\n]*', re.MULTILINE | re.DOTALL
)
"""A string that begins a line, which is a docstring in the packages sent; another one of three quotes;
a line that is a comment. Parsing the sources would take ten times as long."""

RECEIVE_TIMEOUT = 60
"""Seconds within which the whole payload must arrive; then the runner's own time-out applies."""

# Both statements fit in one argument, with double quotes only, so that single quotes protect them in any
# shell.
_PROGRAM = (
    # SIGALRM ends the process: a coordinator that vanished without closing the connection leaves no
    # python behind.
    f"import os,signal;signal.alarm({RECEIVE_TIMEOUT});"
    # One byte at a time: a larger read could take bytes that belong to the modules behind the NUL byte.
    'exec(b"".join(iter(lambda:os.read(0,1)or b"\\0",b"\\0")))'
)
# -I: no user site and no PYTHON variables; -S: no site module; -u: unbuffered.
_PYTHON = "{python} -ISuc '" + _PROGRAM + "' {words}"
# Without exec, fish and tcsh wait beside the runner. A restricted shell (rbash) refuses exec alone, and
# continues with the second.
_COMMAND = f"exec {_PYTHON}; {_PYTHON}"

# Two programs: the first says which Python it runs on, so that the second comes with the modules in the
# form that fits. It must be valid in every Python from 2.7 on up to the version check: an old python3
# has to report itself.
# The first line that it prints says that it runs (transports/loaderlink.py); ``@`` stands apart from the
# marker, so that a program that repeats its input cannot say so.
# The first lines are strings to Python. A start-up file or a forced command may have put another shell
# in place of the command, and it would run what follows, the packed modules included, as commands.
# The first line ends it, and the third ends tcsh, where a builtin in quotes is none. fish does not run
# what it cannot read to its end.
BEGINNING = f'"exit" "{OTHER_SHELL}"\n'.encode("ascii")
_FIRST = """"exit" "{shell}"
\"\"\" "
exit {shell}
\"\"\"
import os, sys
mark = "@" + {marker!r} + " "
if sys.version_info < {minimum!r}:
    version = ".".join(map(str, sys.version_info[:3]))
    os.write(1, (mark + "\\n").encode("ascii"))
    os.write(1, (mark + '{{"type": "hello", "python": "' + version + '"}}\\n').encode("ascii"))
    sys.exit(0)
import importlib.util
name = sys.implementation.name + "-%d.%d-" % sys.version_info[:2] + importlib.util.MAGIC_NUMBER.hex()
os.write(1, (mark + name + "\\n").encode("ascii"))
exec(b"".join(iter(lambda: os.read(0, 1) or b"\\0", b"\\0")))
"""
_SECOND = """import importlib.machinery, json, marshal, zlib
data = b""
while len(data) < {size}:
    block = os.read(0, {size} - len(data))
    if not block:
        sys.exit(0)
    data += block
MODULES = {load}
class Importer:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in MODULES:
            return importlib.machinery.ModuleSpec(name, Importer, is_package=MODULES[name][0])
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        name = module.__name__
        code = MODULES[name][1]
        if isinstance(code, str):
            code = compile(code, "<" + name + ">", "exec")
        exec(code, module.__dict__)
sys.meta_path.insert(0, Importer)
from sshrender.runner.main import start
start({marker!r}, {silence!r})
"""

PYTHON_RUNS = 96
"""The exit status of the test below where Python runs it."""

TEST = BEGINNING + f"raise SystemExit({PYTHON_RUNS})\n".encode("ascii")
"""In the loader's place: ends at once, in Python as in a shell that reads its input to the end."""


def command(python: str, label: str) -> str:
    """Return the remote command line. ``label``: shown in the host's process list; made harmless."""
    # Letters that no shell treats specially, so the label needs no quotes.
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", label)
    return _COMMAND.format(python=python, words=f"sshrender-runner {safe}")


def argv(python: str, label: str) -> list[str]:
    """Return the command as an argument list, for a start without a shell."""
    return [python, "-ISuc", _PROGRAM, "sshrender-runner", label]


class Form(Enum):
    """The form in which the modules are sent; the value is what the host makes them from."""

    SOURCES = 'json.loads(zlib.decompress(data).decode("utf-8"))'
    """Sources without comments, for any Python, 58 kB: a runner spends half of its start compiling."""

    # marshal trusts what it reads, and so does exec: modules of all forms come over the same connection
    # from the same coordinator.
    COMPILED = "marshal.loads(data)"
    """For a Python that has the bytecode of this one, 500 kB: for this machine."""

    COMPRESSED = "marshal.loads(zlib.decompress(data))"
    """The same in 205 kB, for a network."""


def _own_python() -> bytes:
    """Return how the loader would name the Python that runs this."""
    major, minor = sys.version_info[:2]
    magic = importlib.util.MAGIC_NUMBER.hex()
    return f"{sys.implementation.name}-{major}.{minor}-{magic}".encode("ascii")


def form_for(python: bytes) -> Form:
    """Return the form for a host. ``python``: as its loader names it."""
    return Form.COMPRESSED if python == _own_python() else Form.SOURCES


def build(marker: str, silence: float, form: Form = Form.SOURCES) -> bytes:
    """Return the bytes for the command's standard input that precede the first request."""
    return loader(marker) + modules(marker, silence, form)


def loader(marker: str) -> bytes:
    """Return the first part of them, to which the host answers with the name of its Python."""
    first = _FIRST.format(shell=OTHER_SHELL, minimum=MINIMUM_PYTHON, marker=marker)
    return first.encode("ascii") + b"\0"


def modules(marker: str, silence: float, form: Form) -> bytes:
    """Return the second part: the modules, with the program that reads and starts them."""
    with _building:
        body = _BODIES[form]()
    second = _SECOND.format(marker=marker, size=len(body), silence=silence, load=form.value)
    return second.encode("ascii") + b"\0" + body


_building = threading.Lock()
"""Hosts are connected by threads of their own; functools.cache lets each of them build."""


# The same for all hosts of a run, as the other two.
@functools.cache
def _sources() -> bytes:
    sources: dict[str, tuple[bool, str]] = {"sshrender": (True, "")}
    for name, is_package, item in _modules():
        sources[name] = (is_package, strip(item.read_text(encoding="utf-8")))
    return zlib.compress(json.dumps(sources).encode("utf-8"))


@functools.cache
def _compiled() -> bytes:
    # get_code() reads what Python compiled when it last imported or installed the module, if that is
    # still of the source.
    found: dict[str, tuple[bool, Any]] = {"sshrender": (True, "")}
    for name, is_package, item in _modules():
        found[name] = (is_package, machinery.SourceFileLoader(name, str(item)).get_code(name))
    return marshal.dumps(found)


@functools.cache
def _compressed() -> bytes:
    return zlib.compress(_compiled())


_BODIES = {Form.SOURCES: _sources, Form.COMPILED: _compiled, Form.COMPRESSED: _compressed}


def _modules() -> Iterator[tuple[str, bool, Any]]:
    """Yield each module that is sent: its name, whether it is a package, and its file."""
    for package in _PACKAGES:
        for item in resources.files(package).iterdir():
            stem, _, suffix = item.name.rpartition(".")
            # iterdir() also yields __pycache__ and the folder of encoders, which is a package of its
            # own.
            is_package = stem == "__init__"
            name = package if is_package else f"{package}.{stem}"
            if suffix == "py" and name not in NOT_SENT:
                yield name, is_package, item


def strip(source: str) -> str:
    """Return ``source`` without docstrings and comment lines, every statement on the line where it was.

    The number of lines stays the same, so that tracebacks of a host name the lines of this source.
    Docstrings are those below constants as well. Where a body may hold nothing else, ``pass`` takes
    their place.
    """
    return _TEXT.sub(_without_text, source)


def _without_text(match: re.Match[str]) -> str:
    indent = match["indent"]
    if indent is None:
        return match["kept"] or ""
    # Not in a module itself, where nothing may precede the imports of __future__.
    return (f"{indent}pass" if indent else "") + "\n" * match[0].count("\n")
