"""Builds the script of a pilot for a batch engine. Pure, except that it reads our own source.

It holds the whole holder and the key of its lines, and reaches the engine over the input of the
submitting command. So nothing that runs on a node, and no key, is on the shared folder (except with
HTCondor, which reads the script from a file).
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shlex
import zlib
from collections.abc import Mapping
from importlib import resources

from sshrender.transports.payload import strip

# The holder imports these two and the standard library, and nothing else.
_MODULES = ("pilotlines", "allocationfacts", "allocationholder")

# Like the loader of transports/payload.py, but read by ``python -`` from a here-document.
_PROGRAM = """\
import base64, importlib.machinery, json, sys, zlib
SOURCES = json.loads(zlib.decompress(base64.b64decode("{sources}")).decode("utf-8"))
class Importer:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in SOURCES:
            return importlib.machinery.ModuleSpec(name, Importer, is_package=not SOURCES[name])
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        exec(compile(SOURCES[module.__name__], module.__name__, "exec"), module.__dict__)
sys.meta_path.insert(0, Importer)
from sshrender.runner.allocationholder import hold
hold(sys.argv[2], bytes.fromhex("{key}"), float(sys.argv[3]), sys.argv[4:])
"""

# exec: signals of the engine reach the holder and not a shell in front of it.
# The word is quoted, so the shell replaces nothing in the program.
_SCRIPT = """\
#!/bin/sh
{exports}exec {python} -IS - sshrender-holder {folder} {walltime:g} "$@" <<'END_OF_HOLDER'
{program}END_OF_HOLDER
"""


def build(python: str, folder: str, key: bytes, walltime: float, environment: Mapping[str, str]) -> str:
    """Return the script. ``folder``: of the array, as nodes see it; ``walltime`` in seconds."""
    exports = "".join(f"export {name}={_quoted(value)}\n" for name, value in environment.items())
    return _SCRIPT.format(
        exports=exports,
        python=python,
        folder=_quoted(folder),
        walltime=walltime,
        # base64 holds no quote and no newline, so it fits into a string of Python and a here-document.
        program=_PROGRAM.format(sources=_sources(), key=key.hex()),
    )


def _quoted(text: str) -> str:
    """Return a word of the script, in ASCII, as TORQUE refuses any other script (6.1.3)."""
    if text.isascii():
        return shlex.quote(text)
    # %b of printf reads ``\0`` and octal digits as a byte (POSIX).
    return '"$(printf %b ' + "".join(f"'\\0{byte:03o}'" for byte in os.fsencode(text)) + ')"'


@functools.cache
def _sources() -> str:
    sources = {"sshrender": "", "sshrender.runner": ""}
    for name in _MODULES:
        text = resources.files("sshrender.runner").joinpath(f"{name}.py").read_text(encoding="utf-8")
        sources[f"sshrender.runner.{name}"] = strip(text)
    return base64.b64encode(zlib.compress(json.dumps(sources).encode("utf-8"), 9)).decode("ascii")
