"""A host that lies, floods or talks nonsense harms nobody else: a good host delivers every page."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import pdfs
from tests.conftest import PROGRAM
from tests.entries import lines_of
from tests.faults.hostile import turn
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.lab.slow import GATE, LEFT, gated, open_gate_after
from tests.plain import SMOOTHED, page_content

PAGES = 30
MEMORY = 300_000
"""Kibibytes that the coordinator may take, whatever it is sent."""

MEASURED = (
    "import resource, subprocess, sys;"
    "code = subprocess.run(sys.argv[1:]).returncode;"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open('memory', 'w'));"
    "sys.exit(code)"
)

NONSENSE = {
    "a thumbnail too large": "for r in renders(): say('thumbnail', page=r['index'], data='A' * 300_000)",
    "a thumbnail that is none": "for r in renders(): say('thumbnail', page=r['index'], data='*' * 8)",
    "ends at once": "sys.exit(3)",
    "random bytes": r"raw(os.urandom(100_000)); greet(); raw(MARK + b'\xff\xfe{}\n')",
    "a gigabyte on one line": "for _ in range(1024): raw(b'x' * (1 << 20))",
    "noise without end": "while True: raw(b'noise\\n' * 100_000)",
    "lists in lists": "greet(); line('[' * 100_000)",
    "another protocol": "greet(); say('hallo')",
    "a complaint of a megabyte": r"greet(); say('trouble', reason='\x1b[2J' + 'x' * 900_000)",
    "negative seconds": "for r in renders(): say('rendered', **report(r, seconds=-1))",
    "as many bytes as there are": "for r in renders(): say('rendered', **report(r, bytes=1e308))",
    "a version of thousands of digits": "greet(ghostscript='9' * 5000 + '.0')",
    "good-bye, unasked": "greet(); say('bye')",
    "greetings without end": "greet()\nwhile True: hello()",
    "pages handed back": "for r in renders(): say('revoked', attempt=r['attempt'])",
    "pages called off": "for r in renders(): say('failed', **report(r), kind='killed', reason='no')",
    "not a number": "for r in renders(): say('rendered', **report(r, seconds=float('nan')))",
}
"""What ends a conversation: who says it is refused or lost, and drew nothing."""

LIES = {
    "another digest": "for r in renders(): say('rendered', **{**draw(r), 'sha256': 'f' * 64})",
    "another size": "for r in renders(): say('rendered', **{**draw(r), 'bytes': 5})",
    "it was the host": "for r in renders(): say('failed', **report(r), kind='host', reason='no')",
    "no storage": "for r in renders(): say('failed', **report(r), kind='storage', reason='no')",
    "half a picture": (
        "for r in renders():\n"
        "    started(r); draw(r); os.truncate(r['output'], 50)\n"
        "    half = open(r['output'], 'rb').read()\n"
        "    say('rendered', **report(r, bytes=50, sha256=hashlib.sha256(half).hexdigest()))"
    ),
    "another picture": (
        "for r in renders():\n    started(r); TOLD['dpi'] = '10'; say('rendered', **draw(r))"
    ),
    "a link to another file": (
        "size = os.stat('/etc/passwd').st_size\n"
        "for r in renders():\n"
        "    os.symlink('/etc/passwd', r['output']); say('rendered', **report(r, bytes=size))"
    ),
    "a pipe": "for r in renders(): os.mkfifo(r['output'], 0o666); say('rendered', **report(r))",
    "a folder": "for r in renders(): os.mkdir(r['output']); say('rendered', **report(r))",
    "words that act on a terminal": (
        "for r in renders():\n"
        r"    evil = '\x1b[2J\x1b]0;x\x07[red]x[/] \u202e\ud800\n\r\x9b1A'" + "\n"
        r"    started(r); say('failed', **{**report(r), 'diagnostics': [evil]}, kind=evil, reason=evil)"
    ),
}
"""What is believed of nobody: who says it delivers nothing."""

ODDITIES = {
    "attempts that nobody gave it": (
        "for r in renders():\n"
        r"    for name in ('../../x', '9.1', '', '1.1/../../../etc/passwd', '\x00', 'x' * 9999):" + "\n"
        "        say('rendered', **report({'attempt': name})); say('started', attempt=name)\n"
        "        say('failed', **report({'attempt': name}), kind='crashed', reason='x')\n"
        "        say('revoked', attempt=name)\n"
        "        say('suspected', attempt=name, page=0, diagnostics=['x'])\n"
        "    started(r); say('rendered', **draw(r))"
    ),
    "a page in no time": (
        "for r in renders(): started(r); say('rendered', **{**draw(r), 'seconds': 5e-324})"
    ),
    "reports of everything": (
        "def flood():\n"
        "    for n in range(300):\n"
        "        say('rendered', **report({'attempt': '9.%d' % n}, diagnostics=['x' * 100_000]))\n"
        "    for n in range(300):\n"
        "        say('suspected', attempt='9', page=n % 30, diagnostics=['x' * 100_000])\n"
        "for r in renders(): started(r); say('rendered', **draw(r)); flood()"
    ),
    "a flood of beats": (
        "greet()\n"
        'data = (MARK + b\'{"type": "heartbeat", "others": 0, "ours": 0}\\n\') * 200\n'
        "threading.Thread(target=lambda: [raw(data) for _ in range(200)], daemon=True).start()\n"
        "for r in asked('render'): started(r); say('rendered', **draw(r))"
    ),
    "its storage fails after the report": (
        "for r in renders():\n"
        "    x = draw(r); started(r); say('rendered', **x)\n"
        "    for _ in range(200): say('failed', **report(r), kind='storage', reason='no room')"
    ),
    "every report twice": (
        "for r in renders(): x = draw(r); started(r); started(r); [say('rendered', **x) for _ in '12']"
    ),
    "thumbnails of everything": (
        "import base64\n"
        "junk = [b'<script>alert(1)</script>', b'', b'\\xff\\xd8' + b'x' * 90_000 + b'\\xff\\xd9']\n"
        "def hang(page):\n"
        "    for data in junk: say('thumbnail', page=page, data=base64.b64encode(data).decode())\n"
        "for r in renders():\n"
        "    for page in (0, 1, 7, 10 ** 9, r['index']): hang(page)\n"
        "    started(r); say('rendered', **draw(r)); hang(r['index'])"
    ),
    "reports that were called off": (
        "for r in renders():\n"
        "    say('rendered', **draw(r)); say('revoked', attempt=r['attempt']); started(r)\n"
        "    say('failed', **report(r), kind='timeout', reason='late')"
    ),
}
"""Said by hosts that draw what they are asked for: at worst in vain."""


WAITED_FOR = {
    "files that never come": "for r in renders(): say('rendered', **report(r))",
}
"""What NFS may do to honest hosts too: its pages come a minute late, from the others."""

DEEDS = {**NONSENSE, **LIES, **ODDITIES, **WAITED_FOR}


@dataclass
class Ended:
    """How a run ended."""

    summary: dict[str, Any]
    stderr: str
    seconds: float


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages enough for every host to get some."""
    folder = tmp_path_factory.mktemp("document")
    return pdfs.write(folder / "big.pdf", pdfs.numbered(PAGES, 600.0, 800.0))


@pytest.fixture(scope="module")
def reference(document: Path) -> dict[str, bytes]:
    """The same pages by plain Ghostscript."""
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r72", *SMOOTHED]
    subprocess.run([*command, "-o", str(document.parent / "page-%04d.png"), str(document)], check=True)
    return {path.name: page_content(path) for path in document.parent.glob("*.png")}


def _run(farm: Farm, document: Path, *words: str) -> Ended:
    command = [*PROGRAM, "render", str(document), "--hosts", str(farm.write_inventory())]
    command += ["-o", str(farm.root / "out"), "-r", "72", "--retries", "20", "--json", *words]
    began = time.monotonic()
    answer = farm.run([sys.executable, "-c", MEASURED, *command], cwd=farm.root, timeout=100)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert int((farm.root / "memory").read_text()) < MEMORY
    return Ended(json.loads(answer.stdout), answer.stderr, time.monotonic() - began)


def _check(farm: Farm, ended: Ended, reference: dict[str, bytes]) -> None:
    """Every page is there and right, nothing else is, and what was said is short and harmless."""
    output = {path.name: page_content(path) for path in (farm.root / "out").iterdir()}
    assert output == reference
    assert "Traceback" not in ended.stderr
    assert not set(ended.stderr) & set("\x1b\x07\x9b\r\u202e")
    assert max(map(len, ended.stderr.splitlines())) < 1000
    assert ended.summary["failed_pages"] == []
    for path in farm.san.glob("*/thumbs/*"):
        with Image.open(path) as picture:
            picture.load()
            assert max(picture.size) <= 512


def _farm(farm_factory: FarmFactory, deeds: dict[str, str]) -> Farm:
    """node1 is honest; each of the others does one of these deeds."""
    farm = farm_factory(1 + len(deeds))
    for host, deed in zip(farm.hosts[1:], deeds.values(), strict=True):
        turn(host, deed)
    return farm


def _hosts(ended: Ended, deeds: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What became of each host, by what it did."""
    return dict(zip(deeds, ended.summary["hosts"][1:], strict=True))


def test_who_talks_nonsense_is_refused_and_the_others_do_it(
    farm_factory: FarmFactory, document: Path, reference: dict[str, bytes]
) -> None:
    farm = _farm(farm_factory, NONSENSE)
    open_gate_after(farm.hosts[:1], 0.05, 4, GATE)  # or it might be through before the last is met
    with gated(farm, **{host.name: "gone" for host in farm.hosts[1:]}):
        ended = _run(farm, document)
    _check(farm, ended, reference)
    (journal,) = farm.san.glob("*/journal.jsonl")
    states = [entry for entry in lines_of(journal) if entry["type"] == "host_state"]
    for deed, host in _hosts(ended, NONSENSE).items():
        # Not its last state: one that was lost is asked again, and may have greeted again in the end.
        left = [each for each in states if each["host"] == host["name"] and each["state"] in LEFT]
        assert left, deed
        assert all(each["reason"] for each in left), deed
        assert host["pages"] == 0, deed


def test_who_lies_about_pages_delivers_none_and_the_others_do_it(
    farm_factory: FarmFactory, document: Path, reference: dict[str, bytes]
) -> None:
    farm = _farm(farm_factory, LIES)
    ended = _run(farm, document, "-v")
    _check(farm, ended, reference)
    for deed, host in _hosts(ended, LIES).items():
        assert host["pages"] == 0, (deed, host)
    assert ended.summary["hosts"][0]["pages"] == PAGES


def test_who_says_too_much_harms_nobody(
    farm_factory: FarmFactory, document: Path, reference: dict[str, bytes]
) -> None:
    farm = _farm(farm_factory, ODDITIES)
    ended = _run(farm, document)
    _check(farm, ended, reference)
    assert ended.summary["hosts"][0]["state"] == "idle"


DEAF = (
    "for _ in asked('prepare'): hello(); break\n"
    "while True:\n"
    "    time.sleep(0.5); say('heartbeat', others=0.0, ours=0.0, free_memory=1, available_slots=0)"
)
"""Takes pages, says that other jobs have its slots, and gives no page back."""


def test_a_host_that_gives_no_page_back_holds_up_no_job(
    farm_factory: FarmFactory, document: Path
) -> None:
    farm = _farm(farm_factory, {"deaf": DEAF})
    open_gate_after(farm.hosts[:1], 0.5, 2, GATE)  # or the other is not met in time to get a page
    with gated(farm, node2="sent"):
        ended = _run(farm, document, "--no-hedge", "--pages", "1-8")
    assert ended.summary["pages"]["done"] == 8
    (journal,) = farm.san.glob("*/journal.jsonl")
    states = [entry for entry in lines_of(journal) if entry["type"] == "host_state"]
    left = [each for each in states if (each["host"], each["state"]) == ("node2", "lost")]
    assert "request to return page" in left[0]["reason"]


@pytest.mark.matrix
@pytest.mark.parametrize("deed", list(DEEDS))
def test_one_good_host_beside_a_bad_one_is_enough(
    farm_factory: FarmFactory, document: Path, reference: dict[str, bytes], deed: str
) -> None:
    farm = _farm(farm_factory, {deed: DEEDS[deed]})
    _check(farm, _run(farm, document), reference)
