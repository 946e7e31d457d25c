"""Measures what connections cost: one coordinator, and many hosts of the lab that sleep and write.

    python -m benchmarks.channels [--hosts 200] [--idle 10] [--json]

Needs root, as the hosts are those of tests/lab. Prints how long it took until every host had answered
the handshake, the CPU time of the coordinator for each, and its threads, memory and CPU time for each
host while all of them render and nothing else happens. The hosts share this machine's cores, so the
time of the handshakes is mostly theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import pdfs
from tests.lab import Farm

from benchmarks.measure import BenchmarkError

RECIPE = """
[recipes.sleeper]
shell = 'sleep "$(cat {pause})"; echo "page $number" > "$output"'
extension = "txt"
"""

SETTLE = 3.0
"""Seconds after the last handshake in which pages are sent, before the idle time begins."""

LONGEST = 300.0
"""Seconds for all handshakes, after which the benchmark gives up."""

_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and print; 1 when a figure is above what the documentation says of it."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="sshrender-benchmark-") as scratch:
        Path(scratch).chmod(0o755)
        with Farm(Path(scratch) / "farm", arguments.hosts, cpus=1) as farm:
            result = _measure(farm, arguments.hosts, arguments.idle)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):28} {value:>10}")
    is_good = (
        result["memory_mb_per_host"] <= 1.0
        and result["threads_per_host"] <= 3.0
        and result["idle_core_share_per_host"] <= 0.01
    )
    return 0 if is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.channels", description=__doc__)
    parser.add_argument("--hosts", type=int, default=200, help="at most 240")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds that are measured at rest")
    parser.add_argument("--json", action="store_true")
    return parser


def _measure(farm: Farm, hosts: int, idle: float) -> dict[str, Any]:
    process = _start(farm, 2 * hosts)
    try:
        began = time.monotonic()
        while (connected := _connected(farm)) < hosts:
            if process.poll() is not None or time.monotonic() - began > LONGEST:
                said = (farm.root / "log").read_text()[-2000:]
                raise BenchmarkError(f"only {connected} of {hosts} hosts answered: {said}")
            time.sleep(0.1)
        seconds, cpu = time.monotonic() - began, _cpu_seconds(process.pid)
        time.sleep(SETTLE)
        rest, before = time.monotonic(), _cpu_seconds(process.pid)
        time.sleep(idle)
        share = (_cpu_seconds(process.pid) - before) / (time.monotonic() - rest)
        files = sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())
        threads, memory = _status(process.pid, "Threads"), _status(process.pid, "VmRSS") / 1024
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    return {
        "hosts": hosts,
        "seconds_until_all_answered": round(seconds, 1),
        "cpu_ms_per_handshake": round(1000 * cpu / hosts, 1),
        "threads": threads,
        "threads_per_host": round(threads / hosts, 2),
        "open_files": files,
        "memory_mb": round(memory, 1),
        "memory_mb_per_host": round(memory / hosts, 2),
        "idle_core_share": round(share, 3),
        "idle_core_share_per_host": round(share / hosts, 5),
    }


def _start(farm: Farm, pages: int) -> subprocess.Popen[str]:
    """Start a job of which every page takes longer than the measurement."""
    document = pdfs.write(farm.root / "pages.pdf", pdfs.numbered(pages))
    pause = farm.san / "pause"
    pause.write_text("600")
    config = farm.root / "sshrender.toml"
    config.write_text(RECIPE.format(pause=f"{farm.san_inside}/pause"))
    inventory = farm.write_inventory()
    command = [sys.executable, "-m", "sshrender", "render", str(document), "--hosts", str(inventory)]
    command += ["--config", str(config), "--recipe", "sleeper", "-o", str(farm.root / "out")]
    command += ["--no-overview", "--progress", "none"]
    with (farm.root / "log").open("w") as log:
        return farm.popen(command, stdout=log, stderr=subprocess.STDOUT)


def _connected(farm: Farm) -> int:
    journals = list(farm.san.glob("*/journal.jsonl"))
    text = journals[0].read_text() if journals else ""
    return len(re.findall(r'"type": ?"host_connected"', text))


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of the process, its children not included (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


if __name__ == "__main__":
    sys.exit(main())
