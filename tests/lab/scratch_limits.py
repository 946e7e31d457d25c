import os
import sys

from tests import pdfs
from tests.lab.plugin import FarmFactory

PROGRAM = [sys.executable, "-m", "sshrender"]
CASES = [
    c.split()
    for c in os.environ.get(
        "CASES",
        "as=50000000;as=100000000;as=200000000;nofile=8;nofile=20;fsize=0;fsize=100000;nproc=1;nproc=3;nproc=8;stack=65536;cpu=1;data=30000000",
    ).split(";")
]


def test_x(farms: FarmFactory):
    with farms(1) as farm:
        host = farm["node1"]
        pdfs.write(
            farm.desk_folder / "a.pdf"
            if hasattr(farm, "desk_folder")
            else farm.run(["pwd"]) and __import__("pathlib").Path("/tmp/e16/lab.pdf"),
            pdfs.numbered(2),
        )
        for limits in CASES:
            host.install("/home/artist/.bashrc", "") if False else None
            text = '#!/bin/sh\nexec prlimit %s sh -c "$SSH_ORIGINAL_COMMAND"\n' % " ".join(
                "--%s=%s" % (l.split("=")[0], l.split("=")[1] + ":" + l.split("=")[1]) for l in limits
            )
            host.install("/usr/local/bin/limited", text)
            host.sshd_config(ForceCommand="/usr/local/bin/limited")
            inv = farm.write_inventory(defaults={"connect_timeout": 3})
            a = farm.run([*PROGRAM, "hosts", "--hosts", str(inv)])
            print("=====", limits)
            print(a.returncode, a.stdout[-900:], a.stderr[-500:])
            b = farm.run(
                [
                    *PROGRAM,
                    "render",
                    "/tmp/e16/lab.pdf",
                    "-r",
                    "20",
                    "--hosts",
                    str(inv),
                    "--wait",
                    "5s",
                    "-o",
                    "/tmp/e16/labout",
                ]
            )
            print("---- render", b.returncode, b.stderr[-700:])
