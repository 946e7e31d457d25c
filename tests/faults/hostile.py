"""Hosts that lie: a ``python3`` that takes the payload, throws it away and speaks for itself."""

from __future__ import annotations

from tests.lab.host import Host

PRELUDE = r'''#!/usr/bin/python3 -ISu
import hashlib, json, os, re, subprocess, sys, threading, time

def take_program():
    return b"".join(iter(lambda: os.read(0, 1) or b"\0", b"\0"))

MARK = b"@" + re.search(rb"mark = \"@\" \+ '(\w+)'", take_program())[1] + b" "
os.write(1, MARK + b"evil-6.6-666\n")
SIZE = int(re.search(rb"while len\(data\) < (\d+)", take_program())[1])
while SIZE:
    SIZE -= len(os.read(0, SIZE))
LOCK = threading.Lock()
TOLD = {}

def raw(data):
    with LOCK:
        while data:
            data = data[os.write(1, data):]

def line(text):
    raw(MARK + text.encode() + b"\n")

def say(type, **fields):
    line(json.dumps({"type": type, **fields}))

def hello(**changes):
    fields = {"hostname": "evil", "cores": 2, "memory": 1 << 30, "free_memory": 1 << 30}
    fields.update(python="3.11.2", ghostscript="10.00.0", boot_id="x", temporary_free=1 << 30)
    fields.update(san={"seen": True, "writable": True, "reason": ""}, others=0.0, ours=0.0)
    fields.update(changes)
    say("hello", **fields)

def beat():
    while True:
        time.sleep(0.5)
        say("heartbeat", others=0.0, ours=0.0, free_memory=1)

def asked(op):
    """Each request of this kind, as it comes; the first ``prepare`` is answered by a hello."""
    for text in sys.stdin.buffer:
        request = json.loads(text)
        if request["op"] == "prepare":
            TOLD.update(request)
            os.chdir(request["folder"])
        if request["op"] == op:
            yield request
    os._exit(0)

def greet(**changes):
    for _ in asked("prepare"):
        hello(**changes)
        threading.Thread(target=beat, daemon=True).start()
        return

def renders():
    greet()
    return asked("render")

def draw(request):
    """What an honest host does: answers the report of a page that is drawn."""
    options = ["-dSAFER", "-dBATCH", "-dNOPAUSE", "-q", "-sDEVICE=png16m", "-r" + TOLD["dpi"]]
    options += TOLD["options"]
    page = "-sPageList=%d" % request["index"]
    subprocess.run(["gs", *options, page, "-o", request["output"], request["file"]], check=True)
    with open(request["output"], "rb") as file:
        data = file.read()
    return report(request, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

def report(request, **changes):
    fields = {"attempt": request["attempt"], "bytes": 1, "sha256": "0" * 64, "page_size": None}
    return {**fields, "seconds": 0.1, "cpu": 0.1, "diagnostics": [], **changes}

def started(request):
    say("started", attempt=request["attempt"])
'''


def turn(host: Host, deeds: str) -> None:
    """From now on this host's runner is a program that does ``deeds``, then listens to its end."""
    ending = "\nfor text in sys.stdin.buffer:\n    pass\n"
    host.install("/usr/local/bin/python3", PRELUDE + deeds + ending)
