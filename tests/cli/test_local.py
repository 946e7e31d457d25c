"""``render`` on this machine alone, as a user meets it: files, streams, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.generic import RectangleObject

from sshrender.job.journal.journalformat import SCHEMA
from sshrender.renderers.devices import DEVICES
from tests import pdfs
from tests.cli.conftest import Paced
from tests.conftest import PROGRAM, Run, Start
from tests.entries import delivered
from tests.lab.slow import FOR_EVER
from tests.plain import SMOOTHED, page_content
from tests.stretch import page_timeout, stretched, wait_until

NAMES = [f"page-{n:04d}.png" for n in range(1, 6)]
ONE_BIT = ("tiffg4", "pbmraw")


@pytest.fixture
def five(home: Path) -> Path:
    return pdfs.write(home / "five.pdf", pdfs.numbered(5))


def _plain(document: Path, folder: Path, dpi: int = 150, device: str = "png16m") -> dict[str, bytes]:
    """What plain Ghostscript makes of the document: page name to content. ``dpi``: at most 200."""
    folder.mkdir()
    smoothed = () if device in ONE_BIT else SMOOTHED
    extension = DEVICES[device].extension
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", f"-r{dpi}", *smoothed]
        + [f"-sOutputFile={folder}/page-%04d.{extension}", str(document)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return {path.name: page_content(path) for path in folder.iterdir()}


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: page_content(path) for path in folder.iterdir()}


def _leftovers(home: Path) -> list[str]:
    """Runners and renderers that still work below this test's home."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            is_here = (entry / "cwd").resolve().is_relative_to(home)
        except OSError:
            continue
        if is_here and (b"SSHRENDER" in command or b"sshrender-runner" in command):
            found.append(command.decode(errors="replace"))
    return found


def test_pages_are_those_of_plain_ghostscript(sshrender: Run, five: Path, tmp_path: Path) -> None:
    answer = sshrender("render", five)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ""
    assert "5 of 5 pages" in answer.stderr
    assert _content(five.parent / "five-pages") == _plain(five, tmp_path / "plain")


def test_json_is_one_object_on_stdout(sshrender: Run, five: Path) -> None:
    answer = sshrender("render", five, "--json", "-r", "72", "-o", "out")
    summary = json.loads(answer.stdout)
    assert summary["schema"] == 1
    assert summary["state"] == "done"
    assert summary["pages"] == {"total": 5, "done": 5, "suspect": 0, "failed": 0, "missing": 0}
    assert summary["output"] == str(five.parent / "out")
    assert summary["hosts"][0]["pages"] == 5
    job = Path(summary["job_dir"])
    assert job.name == summary["job"]
    assert summary["job"].startswith("five-")
    manifest = json.loads((job / "manifest.json").read_text())
    assert [page["page"] for page in manifest["pages"]] == [1, 2, 3, 4, 5]
    assert manifest["pages"][0]["bytes"] == (five.parent / "out" / NAMES[0]).stat().st_size
    assert list((job / "work").iterdir()) == []


def test_quiet_says_nothing_when_all_is_well(sshrender: Run, five: Path) -> None:
    answer = sshrender("render", five, "-q", "-r", "50")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_a_cron_environment_is_enough(five: Path) -> None:
    answer = subprocess.run(
        ["env", "-i", f"HOME={five.parent}", "PATH=/usr/bin:/bin", *PROGRAM, "render", str(five), "-q"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    # Without a writable working folder the output has to be named: that is the error's hint.
    assert answer.returncode in (0, 6)
    answer = subprocess.run(
        ["env", "-i", "PATH=/usr/bin:/bin", f"HOME={five.parent}", *PROGRAM, "render", str(five)]
        + ["-q", "-o", str(five.parent / "cron")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert len(list((five.parent / "cron").iterdir())) == 5


def test_jsonl_is_one_event_a_line_errors_included(sshrender: Run, five: Path) -> None:
    answer = sshrender("render", five, "--progress", "jsonl", "-r", "50")
    entries = [json.loads(line) for line in answer.stderr.splitlines()]
    assert {entry["schema"] for entry in entries} <= {1, SCHEMA}
    assert sum(entry["type"] == "page_delivered" for entry in entries) == 5
    answer = sshrender("render", "absent.pdf", "--progress", "jsonl")
    (entry,) = [json.loads(line) for line in answer.stderr.splitlines()]
    assert (entry["type"], entry["code"], answer.returncode) == ("error", 5, 5)
    answer = sshrender("render", five, "--bogus", "--progress", "jsonl")
    assert json.loads(answer.stderr)["code"] == 2


def test_off_a_terminal_nothing_moves_the_cursor(sshrender: Run, five: Path) -> None:
    answer = sshrender("render", five, "-r", "50", "--color", "auto", env={"TERM": "xterm-256color"})
    assert "\x1b" not in answer.stderr
    assert "\r" not in answer.stderr


def test_running_again_returns_at_once(sshrender: Run, five: Path) -> None:
    sshrender("render", five, "-r", "50")
    output = five.parent / "five-pages"
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    answer = sshrender("render", five, "-r", "50", "--json")
    summary = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert summary["hosts"][0]["pages"] == 0
    assert {path.name: path.stat().st_mtime_ns for path in output.iterdir()} == before


def test_what_is_missing_is_rendered_and_nothing_else(sshrender: Run, five: Path) -> None:
    first = json.loads(sshrender("render", five, "-r", "50", "--json").stdout)
    (Path(first["job_dir"]) / "pages" / NAMES[2]).unlink()
    (five.parent / "five-pages" / NAMES[2]).unlink()
    (five.parent / "five-pages" / NAMES[3]).unlink()
    again = json.loads(sshrender("render", five, "-r", "50", "--json").stdout)
    assert again["hosts"][0]["pages"] == 1
    assert sorted(_content(five.parent / "five-pages")) == NAMES


@pytest.mark.parametrize(
    "device",
    [
        *["jpeg", "tiffg4", "pbmraw", "pnggray"],
        *(
            pytest.param(name, marks=pytest.mark.matrix)
            for name in ("tiff24nc", "ppmraw", "bmp16m", "psdrgb")
        ),
    ],
)
def test_formats(sshrender: Run, five: Path, tmp_path: Path, device: str) -> None:
    answer = sshrender("render", five, "--device", device, "-r", "72", "-o", "out")
    assert answer.returncode == 0, answer.stderr
    made = _content(five.parent / "out")
    plain = _plain(five, tmp_path / "plain", 72, device)
    assert sorted(made) == sorted(plain)
    if not device.startswith("tiff"):  # a TIFF holds the time at which it was made
        assert made == plain


def test_page_lists_keep_the_documents_numbers(sshrender: Run, five: Path) -> None:
    sshrender("render", five, "--pages", "even,5", "-r", "50", "-o", "out")
    assert sorted(_content(five.parent / "out")) == [NAMES[1], NAMES[3], NAMES[4]]


@pytest.mark.parametrize(
    "split", ["2", "1", *(pytest.param(each, marks=pytest.mark.matrix) for each in ("4", "99")), "auto"]
)
def test_parts_give_the_same_pages(sshrender: Run, five: Path, tmp_path: Path, split: str) -> None:
    answer = sshrender("render", five, "--split", split, "-r", "72", "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    assert _content(five.parent / "out") == _plain(five, tmp_path / "plain", 72)
    parts = list((Path(json.loads(answer.stdout)["job_dir"]) / "parts").iterdir())
    assert len(parts) == {"2": 3, "1": 5, "4": 2}.get(split, 0)


def test_several_documents_go_side_by_side_into_folders_of_their_own(sshrender: Run, five: Path) -> None:
    pdfs.write(five.parent / "two.pdf", pdfs.numbered(2))
    answer = sshrender("render", "five.pdf", "two.pdf", "absent.pdf", "-r", "36", "-o", "out", "--json")
    summary = json.loads(answer.stdout)
    assert answer.returncode == 5
    assert [job["state"] for job in summary["jobs"]] == ["done", "done", "failed"]
    assert len(_content(five.parent / "out" / "five-pages")) == 5
    assert len(_content(five.parent / "out" / "two-pages")) == 2


def test_a_suspect_page_is_delivered_and_named(sshrender: Run, home: Path) -> None:
    pages = pdfs.numbered(12)
    pages[6] = pdfs.bad_operator_page()
    document = pdfs.write(home / "odd.pdf", pages)
    answer = sshrender("render", document, "-r", "36", "--json")
    summary = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert [page["page"] for page in summary["suspect_pages"]] == [7]
    assert summary["pages"] == {"total": 12, "done": 11, "suspect": 1, "failed": 0, "missing": 0}
    again = json.loads(sshrender("render", document, "-r", "36", "--json").stdout)
    assert again["pages"] == summary["pages"]
    strict = sshrender("render", document, "-r", "36", "--json", "--strict")
    assert strict.returncode == 3
    assert json.loads(strict.stdout)["failed_pages"][0]["page"] == 7


def test_a_page_without_end_is_given_up_and_the_others_delivered(sshrender: Run, home: Path) -> None:
    pages = pdfs.numbered(4)
    pages[1] = pdfs.endless_page()
    document = pdfs.write(home / "hang.pdf", pages)
    answer = sshrender(
        *("render", document, "-r", "36", "--json"),
        *("--page-timeout", page_timeout(2), "--retries", "1"),
    )
    summary = json.loads(answer.stdout)
    assert answer.returncode == 3
    assert summary["state"] == "partial"
    (failed,) = summary["failed_pages"]
    assert (failed["page"], failed["kind"], failed["attempts"]) == (2, "timeout", 1)
    assert sorted(_content(home / "hang-pages")) == ["page-0001.png", "page-0003.png", "page-0004.png"]
    assert "page 2 failed after" in answer.stderr


def _fake_ghostscript(folder: Path, script: str) -> dict[str, str]:
    """A PATH on which ``gs`` is a script that hands most of what it is told to the real one."""
    folder.mkdir()
    program = folder / "gs"
    program.write_text(
        "#!/usr/bin/python3 -u\nimport os, re, signal, subprocess, sys, time\n"
        "if '--version' in sys.argv: print('10.00.0'); sys.exit()\n"
        f"other = {str(folder.parent / 'other.pdf')!r}\n"
        "words = ['--permit-file-read=' + other, *sys.argv[1:]]\n"
        "gs = subprocess.Popen(['/usr/bin/gs', *words], stdin=subprocess.PIPE)\n"
        "for line in sys.stdin:\n"
        "    page = re.search(r'{ (\\d+) \\d+ dopdfpages', line)\n"
        "    page = int(page[1]) if page else None\n" + script + "\n"
        "    gs.stdin.write(line.encode()); gs.stdin.flush()\n"
        "gs.stdin.close(); gs.wait()\n"
    )
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("    if page == 2: gs.kill(); os.kill(os.getpid(), signal.SIGSEGV)", "crashed"),
        ("    if page == 2: gs.kill(); sys.exit(0)", "crashed"),
        ("    if page == 2: time.sleep(600)", "timeout"),
        ("    if page == 2: line = line.replace('2 2 dopdfpages', '')", "no_output"),
        ("    line = re.sub('<[0-9a-f]+>(?=.*runpdfbegin)', '(' + other + ')', line)", "bad_output"),
        (
            "    if page == 2: x = bytearray(1 << 28); x[::4096] = b'x' * (1 << 16); time.sleep(600)",
            "memory",
        ),
    ],
)
def test_each_way_of_failing_is_told_apart(
    sshrender: Run, five: Path, tmp_path: Path, script: str, kind: str
) -> None:
    env = _fake_ghostscript(tmp_path / "bin", script)
    # For bad_output: a document whose second page has another size.
    writer = PdfWriter(clone_from=five)
    writer.pages[1].mediabox = RectangleObject((0, 0, 50, 50))
    writer.write(tmp_path / "other.pdf")
    limit = page_timeout(6) if kind == "timeout" else "600s"
    options = ["-r", "36", "--page-timeout", limit, "--retries", "2", "--page-memory", "200M", "--json"]
    answer = sshrender("render", five, *options, env=env)
    summary = json.loads(answer.stdout)
    assert answer.returncode == 3, answer.stderr
    found = [(each["page"], each["kind"], each["attempts"]) for each in summary["failed_pages"]]
    assert found == [(2, kind, 2)], summary["failed_pages"]
    assert summary["failed_pages"][0]["hosts"] == ["localhost"]
    assert sorted(_content(five.parent / "five-pages")) == [NAMES[0], *NAMES[2:]]
    manifest = json.loads((Path(summary["job_dir"]) / "manifest.json").read_text())
    assert [page["state"] for page in manifest["pages"]] == ["done", "failed", "done", "done", "done"]


def test_a_failed_page_is_tried_anew_by_the_next_run(sshrender: Run, five: Path, tmp_path: Path) -> None:
    env = _fake_ghostscript(tmp_path / "bin", "    if page == 2: gs.kill(); sys.exit(0)")
    assert sshrender("render", five, "-r", "36", "--retries", "1", env=env).returncode == 3
    answer = sshrender("render", five, "-r", "36", "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["hosts"][0]["pages"] == 1


def test_a_renderer_that_floods_its_output_is_heard_in_short(
    sshrender: Run, five: Path, tmp_path: Path
) -> None:
    script = "    if page == 2: os.write(1, b'**** Error: again and again\\n' * 2_000_000)"
    env = _fake_ghostscript(tmp_path / "bin", script)
    answer = sshrender("render", five, "-r", "36", "--json", env=env)
    summary = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert [page["page"] for page in summary["suspect_pages"]] == [2]
    assert len(answer.stdout) < 20_000


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda path: None, 5, "no such file"),
        (lambda path: path.write_bytes(b""), 5, "empty"),
        (lambda path: path.write_text("hello, world\n" * 100), 5, "not a PDF"),
        (lambda path: path.write_bytes(b"%PDF-1.4\n" + b"x" * 3000), 5, "beyond repair"),
        (lambda path: path.mkdir(), 5, "directory"),
    ],
)
def test_what_is_no_document(sshrender: Run, home: Path, make, code: int, words: str) -> None:  # type: ignore[no-untyped-def]
    make(home / "bad.pdf")
    answer = sshrender("render", "bad.pdf")
    assert answer.returncode == code, answer.stderr
    assert words in answer.stderr
    assert answer.stderr.startswith("sshrender: error: ")
    assert "\nhint: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "keep", [90, 30, *(pytest.param(each, marks=pytest.mark.matrix) for each in (99, 60))]
)
def test_a_truncated_document_gives_what_plain_ghostscript_gives(
    sshrender: Run, home: Path, tmp_path: Path, keep: int
) -> None:
    whole = pdfs.build(pdfs.numbered(8))
    document = home / "cut.pdf"
    document.write_bytes(whole[: len(whole) * keep // 100])
    plain = _plain(document, tmp_path / "plain", 36)
    answer = sshrender("render", document, "-r", "36", "-o", "out")
    if plain:
        assert set(_content(home / "out")) >= set(plain), answer.stderr
        assert answer.returncode in (0, 3)
    else:
        assert answer.returncode == 5, answer.stderr
    assert "Traceback" not in answer.stderr


def test_passwords(sshrender: Run, five: Path) -> None:
    locked = pdfs.protect(five, five.parent / "locked.pdf", "s3cret", "owner")
    secret = five.parent / "password"
    answer = sshrender("render", locked)
    assert answer.returncode == 5
    assert "--password-file" in answer.stderr
    secret.write_text("wrong\n")
    answer = sshrender("render", locked, "--password-file", secret)
    assert answer.returncode == 5
    assert "wrong password" in answer.stderr
    secret.write_text("s3cret\n")
    for split in ("none", "2"):
        options = ["--password-file", secret, "-r", "36", "-o", f"out-{split}", "--split", split]
        answer = sshrender("render", locked, *options, "--json")
        assert answer.returncode == 0, answer.stderr
        job = Path(json.loads(answer.stdout)["job_dir"])
        assert len(_content(five.parent / f"out-{split}")) == 5
        for path in job.rglob("*"):
            assert not path.is_file() or b"s3cret" not in path.read_bytes(), path


def test_usage_errors_come_before_anything_starts(sshrender: Run, five: Path) -> None:
    for words in (
        ["--device", "png17"],
        ["--pages", "9-"],
        ["-r", "0"],
        ["--retries", "x"],
        ["--bogus"],
    ):
        answer = sshrender("render", five, *words)
        assert answer.returncode == 2, (words, answer.stderr)
        assert "hint: " in answer.stderr
    assert not (five.parent / "five-pages").exists()


def test_an_output_folder_that_cannot_be_written(sshrender: Run, five: Path) -> None:
    (five.parent / "file").write_text("in the way")
    answer = sshrender("render", five, "-o", "file/out")
    assert answer.returncode == 6
    file = five.parent / "file"
    assert f"\nhint: this is a file, and has to be a folder: ls -ld {file}\n" in answer.stderr


def test_a_san_that_is_not_there(sshrender: Run, five: Path) -> None:
    answer = sshrender("render", five, "--san", "/no/such/san")
    assert answer.returncode == 6
    assert "--san" in answer.stderr


def test_no_ghostscript_anywhere(sshrender: Run, five: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = sshrender("render", five, env={"PATH": str(empty)})
    assert answer.returncode == 7, answer.stderr
    assert "Ghostscript is not installed" in answer.stderr


def test_the_deadline(sshrender: Run, home: Path, paced: Paced) -> None:
    paced(FOR_EVER)
    document = pdfs.write(home / "slow.pdf", pdfs.numbered(1))
    # It counts from the command's start, and a busy machine takes seconds to open a document.
    answer = sshrender("render", document, "--deadline", f"{stretched(3) + 3:.0f}s", "--json")
    assert answer.returncode == 10
    assert json.loads(answer.stdout)["pages"]["missing"] == 1


def _start(start: Start, five: Path, *words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return start("render", five, "-o", "out", *words, stdout=pipe, stderr=pipe, text=True)


def _wait_for_pages(folder: Path, count: int) -> None:
    wait_until(lambda: len(list(folder.glob("page-*"))) >= count, what=f"{count} pages", pause=0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_it_and_the_next_run_finishes(
    sshrender: Run, start: Start, home: Path, paced: Paced, number: int
) -> None:
    paced(0.4, last=10)
    document = pdfs.write(home / "five.pdf", pdfs.numbered(30))
    process = _start(start, document)
    _wait_for_pages(home / "out", 3)
    process.send_signal(number)
    process.communicate(timeout=90)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not _leftovers(home), 30, lambda: _leftovers(home))
    paced(0)
    assert all(path.name.startswith("page-") for path in (home / "out").iterdir())
    before = delivered(home.glob(".local/state/sshrender/*/journal.jsonl"))
    answer = sshrender("render", document, "-o", "out", "--json")
    summary = json.loads(answer.stdout)
    assert answer.returncode == 0, answer.stderr
    assert len(_content(home / "out")) == 30
    assert summary["hosts"][0]["pages"] <= 30 - len(before)


def test_usr1_prints_one_status_line(home: Path, start: Start, paced: Paced) -> None:
    paced(0.1, last=10)
    document = pdfs.write(home / "five.pdf", pdfs.numbered(60))
    process = _start(start, document, "-q")
    _wait_for_pages(home / "out", 3)
    process.send_signal(signal.SIGUSR1)
    assert process.stderr is not None
    line = process.stderr.readline()
    paced(0)
    assert process.wait(timeout=60) == 0
    assert "/60 pages" in line
    assert process.stderr.read() == ""


def test_two_runs_of_one_job_at_once(sshrender: Run, start: Start, home: Path, paced: Paced) -> None:
    paced(0.25, last=10)
    document = pdfs.write(home / "five.pdf", pdfs.numbered(80))
    process = _start(start, document)
    _wait_for_pages(home / "out", 3)
    answer = sshrender("render", document, "-o", "out")
    assert answer.returncode == 9, answer.stderr
    assert "pid" in answer.stderr
    paced(0)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_config_commands(sshrender: Run, home: Path) -> None:
    shown = sshrender("config", "show", env={"SSHRENDER_DPI": "99"})
    assert "SSHRENDER_DPI" in shown.stdout
    assert sshrender("config", "path").stdout.count("hosts.toml") == 3
    assert json.loads(sshrender("config", "schema").stdout)["properties"]["hosts"]
    (home / "hosts.toml").write_text('[[hosts]]\nnaem = "x"\n')
    answer = sshrender("config", "validate")
    assert answer.returncode == 2
    assert "did you mean name?" in answer.stderr
    (home / "hosts.toml").write_text('[san]\npath = "/san"\n[[hosts]]\nname = "x[1-3]"\n')
    assert "inventory of 3 hosts" in sshrender("config", "validate").stdout


def test_a_defect_is_an_exit_code_and_a_log(sshrender: Run, five: Path, tmp_path: Path) -> None:
    """A module of the program that breaks when it is imported stands for any defect."""
    broken = tmp_path / "broken"
    (broken / "platformdirs").mkdir(parents=True)
    (broken / "platformdirs" / "__init__.py").write_text("raise RuntimeError('a defect')\n")
    log = tmp_path / "trace.log"
    answer = sshrender("render", five, "--log-file", log, env={"PYTHONPATH": str(broken)})
    assert answer.returncode == 1
    assert str(log) in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "RuntimeError: a defect" in log.read_text()


def test_a_dry_run_tells_the_plan_and_does_nothing(sshrender: Run, five: Path, home: Path) -> None:
    san = home / "san"
    san.mkdir()
    words = ("--pages", "2-4", "-r", "72", "--san", san, "--json")
    answer = sshrender("render", five, *words, "--dry-run")
    assert answer.returncode == 0
    assert "3 pages (2-4), 0 of them delivered already" in answer.stderr
    assert list(san.iterdir()) == []
    assert not (home / "five-pages").exists()
    plan = json.loads(answer.stdout)
    assert plan["hosts"][0]["state"] == "idle"
    assert plan["space"]["pages_at_most"] == 3 * 200 * 100 * 3
    done = json.loads(sshrender("render", five, *words).stdout)
    assert plan["job"] == done["job"]
    again = json.loads(sshrender("render", five, *words, "--dry-run").stdout)
    assert again["pages"] == {"total": 3, "done": 3, "suspect": 0, "failed": 0, "missing": 0}
    text = sshrender("render", five, *words[:-1], "--dry-run")
    assert "3 pages (2-4), 3 of them delivered already" in text.stdout
    assert text.stderr == ""


def test_a_dry_run_meets_the_errors_of_a_render(sshrender: Run, five: Path, home: Path) -> None:
    assert sshrender("render", five, "--pages", "9", "--dry-run").returncode == 2
    assert sshrender("render", home / "none.pdf", "--dry-run").returncode == 5
    assert sshrender("render", five, "--san", home / "none", "--dry-run").returncode == 6
