"""Names that mean something to a shell, to Ghostscript, to a terminal: to us they are only names."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sshrender.config import inventory
from sshrender.core.snapshot import HostView, Snapshot
from sshrender.errors import ExitCode, UserError
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.spec import RenderSettings, job_name, safe_stem
from sshrender.renderers import ghostscript
from sshrender.transports import payload
from sshrender.views import plain, progressboard, summary
from sshrender.views.jsonl import JsonLinesView
from sshrender.views.rate import Rate
from sshrender.views.reporter import Reporter
from tests import pdfs
from tests.conftest import PROGRAM, Run
from tests.entries import entries_of, entry
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.lab.prepared import Prepared
from tests.lab.slow import GATE, gated, open_gate_after
from tests.plain import SMOOTHED, page_content

NASTY = {
    "blanks": b" leading and trailing ",
    "shell": b'it\'s "a" `touch canary`$(touch canary);touch canary&|>canary',
    "formats": b"%pipe%touch canary %d %s %04d % %%",
    "dots": b"..",
    "options": b"--help",
    "dash": b"-",
    "a device": b"-sDEVICE=pdfwrite",
    "postscript": b"(a\\)) <> {quit}\\",
    "wildcards": b"~*?[a]#@!^",
    "controls": b"a\nb\tc\rd\x1b[31me\x1b]0;f\x07\x7f",
    "no utf-8": b"\xff\xfe\x80caf\xe9",
    "emoji": "🖨️ 𝟙 \u202egnp.\u2066".encode(),
    "long": b"n" * 230,
}
TEXTS = [os.fsdecode(name) for name in NASTY.values()]
NAMES = st.binary(min_size=1, max_size=60).filter(
    lambda name: not {b"\0", b"/"} & {bytes([byte]) for byte in name} and name.strip(b".") != b""
)
STEMS = st.sampled_from(TEXTS) | NAMES.map(os.fsdecode)
SAID = st.text(max_size=60) | st.sampled_from(TEXTS)
SETTINGS = RenderSettings(device="png16m", dpi=150, pages="1-")
HARMLESS = re.compile(r"[\w+][\w.+-]*")
SHELLS = ("sh", "bash", "dash", "fish", "tcsh")


# Job names


@given(STEMS)
def test_a_job_is_called_by_one_harmless_word(stem: str) -> None:
    name = job_name(stem, "0" * 64, SETTINGS)
    assert HARMLESS.fullmatch(name)
    assert len(os.fsencode(name)) <= 255
    assert name == job_name(stem, "0" * 64, SETTINGS)
    assert safe_stem(safe_stem(stem)) == safe_stem(stem)


@given(STEMS, STEMS, st.text("0123456789abcdef", min_size=64, max_size=64))
def test_documents_that_differ_never_share_a_job(one: str, other: str, sha256: str) -> None:
    assume(sha256 != "0" * 64)
    assert job_name(one, sha256, SETTINGS) != job_name(other, "0" * 64, SETTINGS)


# Shells


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that prints the words it is given."""
    program = tmp_path_factory.mktemp("bin") / "show"
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label=STEMS)
def test_a_documents_name_is_one_word_to_every_login_shell(
    shell: str, label: str, show: Path, tmp_path: Path
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    command = [shell, "-c", payload.command(str(show), label)]
    answer = subprocess.run(command, capture_output=True, cwd=tmp_path, check=True)
    switch, program, name, safe, end = answer.stdout.split(b"\0")
    assert (switch, name, end) == (b"-ISuc", b"sshrender-runner", b"")
    assert program.decode() == payload.argv("python3", label)[2]
    assert re.fullmatch(rb"[A-Za-z0-9._-]*", safe)
    assert len(safe) == len(label)
    assert list(tmp_path.iterdir()) == []


# Ghostscript


def test_ghostscript_reads_back_every_string_that_it_is_told() -> None:
    texts = [*(text.encode("utf-8", "replace").decode() for text in TEXTS), "\0", ")", "\\", "<~>", "é"]
    echo = "(%stdout) (w) file dup {} writehexstring (\\n) writestring\n"
    answer = subprocess.run(
        ["gs", "-q", "-dSAFER", "-dNODISPLAY", "-dBATCH", "-"],
        input="".join(echo.format(ghostscript.literal(text)) for text in texts).encode("ascii"),
        capture_output=True,
        check=True,
    )
    assert [bytes.fromhex(line.decode()).decode() for line in answer.stdout.split()] == texts


@given(STEMS)
def test_no_documents_name_becomes_an_option_of_ghostscript(stem: str) -> None:
    tag = job_name(stem, "0" * 64, SETTINGS)
    setup = ghostscript.Setup("gs", "png16m", "72", "source.pdf", "work", "s1.%d", (), tag)
    plainly = ghostscript.command(setup._replace(tag="x"))
    found = ghostscript.command(setup)
    assert [word.replace(tag, "x") for word in found] == plainly


# What is shown


def _is_harmless(line: str) -> bool:
    bad = {"\u202d", "\u202e", "\u2066", "\u2067", "\u2028", "\u2029"}
    return not bad & set(line) and not any(unicodedata.category(c) == "Cc" for c in line)


DELIVERED = {"file": "page-0001.png", "bytes": 1, "sha256": "0" * 64, "width": 1, "height": 1}


def _entries(said: str) -> list[JournalEntry]:
    host = {"host": said, "state": "lost", "reason": said}
    failed = {"page": 1, "kind": "crashed", "attempts": 3, "attempt": "1.1"}
    delivered = {**DELIVERED, "page": 1, "ghostscript": said, "seconds": 0.5, "attempts": 1, **host}
    told: list[tuple[str, dict[str, Any]]] = [
        ("host_state", host),
        ("attempt_failed", {**failed, **host}),
        ("page_failed", {**failed, **host, "hosts": [said, said]}),
        ("page_delivered", {**delivered, "diagnostics": [said]}),
        ("page_suspected", {"page": 1, "diagnostics": [said]}),
        ("document_diagnosed", {"diagnostics": [said]}),
        ("storage_failed", {"reason": said}),
        ("split_failed", {"reason": said}),
        ("host_connected", {"cores": 1, "ghostscript": said, "python": said, **host}),
        ("page_sent", {"page": 1, "attempt": "1.1", **host}),
    ]
    return [entry(kind, 1.8e9, **fields) for kind, fields in told]


def _summary(said: str) -> dict[str, Any]:
    page = {"page": 1, "kind": "crashed", "reason": said, "attempts": 3, "hosts": [said]}
    host = {"name": said, "state": "lost", "reason": said, "pages": 0, "failures": 1}
    counts = {"total": 1, "done": 0, "suspect": 0, "failed": 1, "missing": 0}
    return {
        "job": "j",
        "state": "partial",
        "output": said,
        "seconds": 1.0,
        "pages": counts,
        "failed_pages": [page],
        "suspect_pages": [{"page": 1, "said": [said]}],
        "notes": [said],
        "fonts_missing": [{"font": said, "pages": said}],
        "hosts": [host],
        "exit_code": 3,
    }


@given(SAID)
@example("\x1b[2J\x9b1A\x00\u2028\u202e\ud800")
def test_every_line_that_is_shown_is_one_harmless_line(said: str) -> None:
    lines = [plain.describe(each, verbose=1) or "" for each in _entries(said)]
    lines += summary.lines(_summary(said))
    stream = io.StringIO()
    Reporter(stream, progress="plain").error(UserError(ExitCode.USAGE, said, said))
    lines += stream.getvalue().removesuffix("\n").split("\n")
    for line in lines:
        assert _is_harmless(line), line


@given(SAID)
@example("[red]x[/red] [link=x]y[/link] [/] [bold")
def test_the_board_shows_names_as_they_are_and_nothing_acts_on_the_terminal(said: str) -> None:
    host = HostView(said, "lost", said, 2, 1, 0.25, 0.5, 12, 0, 0.07)
    shot = Snapshot(10, 5, 0, 0, 5, 1, 5, said, "", (host,))
    stream = io.StringIO()
    Console(file=stream, width=200, height=24).print(
        progressboard.render(shot, said, Rate(), 1.0, 200, 24)
    )
    assert all(_is_harmless(line) for line in stream.getvalue().split("\n"))
    if "[" in said and len(said) < 60 and said.isascii() and said.isprintable():
        assert said.strip() in stream.getvalue()


@given(SAID)
def test_a_line_of_json_is_one_line_of_valid_utf8(said: str) -> None:
    stream = io.StringIO()
    view = JsonLinesView(stream)
    for each in _entries(said):
        view.entry(each)
    view.print_line(said)
    reporter = Reporter(stream, progress="jsonl")
    reporter.summary(_summary(said), 3)
    reporter.error(UserError(ExitCode.USAGE, said, said))
    lines = stream.getvalue().encode("utf-8").splitlines()
    shown = [json.loads(line) for line in lines][: len(_entries(said))]
    assert entries_of(shown) == _entries(said)
    assert len(lines) == len(_entries(said)) + 3
    assert all(line.isascii() and line.decode().isprintable() for line in lines)


# Whole runs on this machine


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What plain Ghostscript makes of the two pages."""
    folder = tmp_path_factory.mktemp("plain")
    document = pdfs.write(folder / "two.pdf", pdfs.numbered(2))
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", "-r36", *SMOOTHED]
    subprocess.run([*command, "-o", str(folder / "page-%04d.png"), str(document)], check=True)
    return {path.name: page_content(path) for path in folder.glob("*.png")}


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if not path.is_dir()}


def _render_here(
    prepared: Prepared, name: bytes, root: Path, *words: str
) -> subprocess.CompletedProcess[bytes]:
    """A document, in a folder, with a SAN beside it: each called ``name``."""
    stem = os.fsdecode(name)
    here = root / f"{stem}.d"
    san = here / f"{stem}.san"
    san.mkdir(parents=True)
    document = pdfs.write(here / f"{stem}.pdf", pdfs.numbered(2))
    before = _files(root)
    command = [*PROGRAM, "render", "-r", "36", "--json", f"--san={san}", *words, "--", document.name]
    env = {key: value for key, value in os.environ.items() if not key.startswith("XDG")}
    answer = prepared.run(command, cwd=here, env={**env, "HOME": str(root)})
    new = _files(root) - before
    new -= {root / ".config" / "sshrender" / "key"}  # made with the first job
    strays = [path for path in new if not path.is_relative_to(san) and path.suffix != ".png"]
    assert strays == []
    return answer


def _check_run(
    answer: subprocess.CompletedProcess[bytes], output: Path, wanted: dict[str, bytes]
) -> None:
    assert answer.returncode == 0, answer.stderr
    assert {path.name: page_content(path) for path in output.iterdir()} == wanted
    told = answer.stderr.decode("utf-8")
    assert all(_is_harmless(line) for line in told.removesuffix("\n").split("\n"))
    said = json.loads(answer.stdout.decode("utf-8"))
    assert said["state"] == "done"
    assert said["output"] == str(output)
    assert HARMLESS.fullmatch(said["job"])


ALIKE = ("blanks", "dash", "a device", "wildcards")
"""Those that the matrix renders: each is harmless to shells and Ghostscript as the tests above show."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=key, marks=(pytest.mark.matrix,) if key in ALIKE else ())
        for key, name in NASTY.items()
    ],
)
def test_a_document_is_rendered_whatever_it_and_its_folders_are_called(
    prepared: Prepared, name: bytes, pages: dict[str, bytes], tmp_path: Path
) -> None:
    stem = os.fsdecode(name)
    answer = _render_here(prepared, name, tmp_path, f"--output={stem}.out")
    _check_run(answer, tmp_path / f"{stem}.d" / f"{stem}.out", pages)


@settings(max_examples=3)
@given(NAMES)
def test_any_name_at_all_will_do(
    prepared: Prepared,
    pages: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    name: bytes,
) -> None:
    root = tmp_path_factory.mktemp("any")
    stem = os.fsdecode(name)
    answer = _render_here(prepared, name, root)
    _check_run(answer, root / f"{stem}.d" / f"{stem}-pages", pages)
    shutil.rmtree(root)


@pytest.mark.parametrize("words", [("--progress=jsonl",), ("--progress=board",)])
def test_no_view_lets_a_name_through(prepared: Prepared, words: tuple[str, ...], tmp_path: Path) -> None:
    name = NASTY["controls"] + b"[red]"
    answer = _render_here(prepared, name, tmp_path, *words)
    assert answer.returncode == 0, answer.stderr
    assert b"\x1b[31me" not in answer.stderr
    assert b"\x1b]0;" not in answer.stderr
    assert b"\x07" not in answer.stderr


@pytest.mark.parametrize(
    "name", ["absent\x1b[31m\n.pdf", "-absent.pdf", "$(touch canary).pdf", "\udcff"]
)
def test_what_is_not_there_is_said_in_harmless_words(sshrender: Run, home: Path, name: str) -> None:
    answer = sshrender("render", "--", name)
    assert answer.returncode == ExitCode.DOCUMENT
    assert all(_is_harmless(line) for line in answer.stderr.removesuffix("\n").split("\n"))
    assert answer.stderr.startswith("sshrender: error: ")
    assert list(home.glob("*canary*")) == []


# Hosts


NO_HOST_NAMES = ["-oProxyCommand=touch canary", "a b", "a\nb", "a\x1b[31m", "\t", "a\x00b", "a\u202eb"]


@pytest.mark.parametrize("name", NO_HOST_NAMES)
def test_what_is_no_host_name_is_a_mistake_of_the_inventory(tmp_path: Path, name: str) -> None:
    file = tmp_path / "hosts.toml"
    file.write_text(f"[[hosts]]\nname = {json.dumps(name)}\n")
    with pytest.raises(UserError) as caught:
        inventory.load(file)
    assert caught.value.code is ExitCode.USAGE
    assert "hosts[1].name: " in caught.value.what


def _with_san(farm: Farm, path: str) -> Path:
    hosts = farm.write_inventory()
    text = hosts.read_text()
    hosts.write_text(text.replace(f'path = "{farm.san_inside}"', f"path = {json.dumps(path)}"))
    return hosts


def test_a_san_and_an_output_may_be_called_anything(
    farm_factory: FarmFactory, pages: dict[str, bytes], tmp_path: Path
) -> None:
    canary = Path(f"/tmp/canary-{uuid.uuid4().hex}")
    nasty = f"it's \"$(touch {canary})`touch {canary}` %d %s\n(a\\)) é;*"
    farm = farm_factory(2)
    (farm.san / nasty).mkdir(parents=True)
    for folder in (farm.san / nasty, *(farm.san / nasty).parents):
        folder.chmod(0o777)
        if folder == farm.san:
            break
    hosts = _with_san(farm, f"{farm.san_inside}/{nasty}")
    document = pdfs.write(tmp_path / "two.pdf", pdfs.numbered(2))
    output = farm.root / "out" / nasty
    words = ["render", str(document), "--hosts", str(hosts), "-o", str(output), "-r", "36", "--json"]
    answer = farm.run([*PROGRAM, *words])
    assert answer.returncode == 0, answer.stderr
    assert {path.name: page_content(path) for path in output.iterdir()} == pages
    assert all(_is_harmless(line) for line in answer.stderr.removesuffix("\n").split("\n"))
    assert not canary.exists()
    assert [host.exec("test", "-e", str(canary)).returncode for host in farm.hosts] == [1, 1]


def _evil_users(canary: Path) -> list[str]:
    """Those that could be users; each would touch the canary if a shell ever saw it."""
    touch = f"touch${{IFS}}{canary}"
    return [f"$({touch})", f"`{touch}`", f"x;{touch}", f"x|{touch}", f"'{touch}'", "%h%r%%", ".."]


@pytest.mark.parametrize("user", ["-oProxyCommand=x", "x\nproxycommand y", "x -oProxyCommand=y", "a b"])
def test_what_no_user_can_be_called_is_a_mistake_in_the_inventory(sshrender: Run, user: str) -> None:
    Path("hosts.toml").write_text(f'[[hosts]]\nname = "a"\nuser = {json.dumps(user)}\n')
    answer = sshrender("config", "validate", "hosts.toml")
    assert answer.returncode == 2
    assert "hosts[1].user" in answer.stderr


def test_a_user_who_is_a_command_is_nobody(farm_factory: FarmFactory, tmp_path: Path) -> None:
    farm = farm_factory(1)
    canary = Path(f"/tmp/canary-{uuid.uuid4().hex}")
    hosts = farm.write_inventory()
    common = hosts.read_text().partition("[[hosts]]")[2].replace('name = "node1"', "")
    for number, user in enumerate(_evil_users(canary)):
        entry = f'\n[[hosts]]\nname = "evil{number}"\nuser = {json.dumps(user)}\n{common}'
        hosts.write_text(hosts.read_text() + entry)
    open_gate_after(farm.hosts, 0.0, 4, GATE)
    document = pdfs.write(tmp_path / "two.pdf", pdfs.numbered(16))
    words = ["render", str(document), "--hosts", str(hosts), "-o", str(farm.root / "out"), "--json"]
    with gated(farm, **{f"evil{number}": "gone" for number in range(len(_evil_users(canary)))}):
        answer = farm.run([*PROGRAM, *words])
    assert answer.returncode == 0, answer.stderr
    found = {host["name"]: host for host in json.loads(answer.stdout)["hosts"]}
    assert found.pop("node1")["pages"] == 16
    assert {host["state"] for host in found.values()} <= {"refused", "lost"}
    assert not canary.exists()
    assert farm["node1"].exec("test", "-e", str(canary)).returncode == 1


def test_a_run_over_this_machine_needs_no_shell(home: Path) -> None:
    """Neither here nor in the payload does a name meet a shell of ours."""
    argv = payload.argv(sys.executable, "$(touch canary)")
    assert argv[-1] == "$(touch canary)"
    assert list(home.iterdir()) == []
