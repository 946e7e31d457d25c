"""The runner's parts: what Ghostscript said is whose, what load is whose, and what runs on a host."""

from __future__ import annotations

import ast
import json
import marshal
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.renderers import diagnostics, ghostscript
from sshrender.renderers.recipe import Recipe
from sshrender.runner import wire
from sshrender.runner.host import loadmeasurement, memorylimits, processes, processlimits, scratch
from sshrender.runner.host.loadmeasurement import LoadMeter
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.rendering.oneshot import OneShot
from sshrender.runner.rendering.warmsession import Session, SessionEnded
from sshrender.runner.slots.taskqueue import Task, TaskQueue
from sshrender.transports import payload
from sshrender.transports.interface import OTHER_SHELL, LinkClosed
from tests.stretch import wait_until

SOURCE = Path(payload.__file__).parents[1]
ON_HOSTS = [
    path
    for package in ("runner", "renderers", "renderers/encoders", "storage")
    for path in sorted(SOURCE.glob(f"{package}/*.py"))
    if f"sshrender.{package}.{path.stem}" not in payload.NOT_SENT
]
SENT = ("sshrender.runner", "sshrender.renderers", "sshrender.storage")


@pytest.mark.parametrize("path", ON_HOSTS, ids=lambda path: path.name)
def test_what_runs_on_hosts_is_python_3_7(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 7))


def test_what_runs_on_hosts_uses_only_what_python_3_7_has() -> None:
    answer = subprocess.run(
        [
            str(Path(sys.executable).with_name("vermin")),
            "--processes=1",
            "--no-tips",
            "--violations",
            "-t=3.7-",
        ]
        + [str(path) for path in ON_HOSTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_what_runs_on_hosts_imports_the_standard_library_alone() -> None:
    for path in ON_HOSTS:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                top = name.split(".")[0]
                is_sent = name.startswith(SENT) and name not in payload.NOT_SENT
                assert is_sent or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_hosts_that_are_connected_at_the_same_time_share_one_payload() -> None:
    built = list[bytes]()
    payload._sources.cache_clear()
    threads = [threading.Thread(target=lambda: built.append(payload.build("m", 1.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(built), len(set(built))) == (4, 1)
    assert payload._sources.cache_info().misses == 1


@pytest.mark.parametrize("form", [payload.Form.COMPILED, payload.Form.COMPRESSED])
def test_compiled_modules_are_the_same_and_name_their_lines(form: payload.Form) -> None:
    sent = payload.modules("m", 1.0, form).partition(b"\0")[2]
    found = marshal.loads(sent if form is payload.Form.COMPILED else zlib.decompress(sent))
    sources = json.loads(zlib.decompress(payload._sources()))
    assert {name: is_package for name, (is_package, _) in found.items()} == {
        name: is_package for name, (is_package, _) in sources.items()
    }
    code = found["sshrender.runner.main"][1]
    assert code.co_filename == str(SOURCE / "runner" / "main.py")
    start = next(each for each in code.co_consts if getattr(each, "co_name", "") == "start")
    assert (
        "def start("
        in (SOURCE / "runner" / "main.py").read_text().splitlines()[start.co_firstlineno - 1]
    )


def test_the_payload_holds_the_runner_and_little_else() -> None:
    body = payload._sources()
    assert len(body) < 59_000
    sources = zlib.decompress(body).decode()
    assert "sshrender.runner.main" in sources
    assert "class Device" not in sources


def test_a_module_means_on_a_host_what_it_means_here() -> None:
    """Comments and docstrings are left out on the way, and nothing else."""
    sent = json.loads(zlib.decompress(payload._sources()))
    for path in ON_HOSTS:
        stem = "" if path.stem == "__init__" else f".{path.stem}"
        package = ".".join(path.parent.relative_to(SOURCE).parts)
        text = sent[f"sshrender.{package}{stem}"][1]
        assert not any(_is_text(node) for node in ast.walk(ast.parse(text))), path
        assert _statements(text) == _statements(path.read_text()), path
        assert text.count("\n") == path.read_text().count("\n"), "tracebacks name lines"


def _statements(text: str) -> list[tuple[int, str]]:
    """Return the line and the meaning of every statement but docstrings and ``pass``."""
    return [
        (node.lineno, ast.dump(_without_docstrings(node)))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.stmt) and not _means_nothing(node)
    ]


def _without_docstrings(node: ast.AST) -> ast.AST:
    for each in ast.walk(node):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(each, name, None)
            if isinstance(block, list):
                setattr(each, name, [statement for statement in block if not _means_nothing(statement)])
    return node


def _means_nothing(node: ast.AST) -> bool:
    return isinstance(node, ast.Pass) or _is_text(node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_stripping_keeps_lines_and_what_is_no_docstring() -> None:
    source = (
        '"""One.\n\nTwo."""\n'
        "# comment\n"
        'X = "kept"\n"""Of X."""\n'
        'class E(Exception):\n    """Only this.\n\n    And this."""\n'
        'def f():\n    """Doc ü."""\n    try:\n        f()\n'
        '    except OSError:\n        return """a\n# b"""\n'
    )
    assert payload.strip(source) == (
        '\n\n\n\nX = "kept"\n\nclass E(Exception):\n    pass\n\n\n'
        'def f():\n    pass\n    try:\n        f()\n    except OSError:\n        return """a\n# b"""\n'
    )


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish", "tcsh", "zsh"])
def test_every_login_shell_reads_the_same_command(shell: str, tmp_path: Path) -> None:
    """The command starts a Python that runs what it is fed, whatever shell the account has."""
    command = payload.command(sys.executable, "job with 'quotes' $(and) %d")
    try:
        answer = subprocess.run(
            [shell, "-c", command],
            input=b"import os, sys\nos.write(1, repr(sys.argv).encode())\n\0rest",
            capture_output=True,
            check=False,
            cwd=tmp_path,
        )
    except FileNotFoundError:
        pytest.skip(f"{shell} is not installed here")
    assert answer.stdout == b"['-c', 'sshrender-runner', 'job_with__quotes____and___d']", answer.stderr


def test_a_restricted_shell_starts_a_runner(tmp_path: Path) -> None:
    """It allows neither exec nor a path, and ssh runs python3 there."""
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    answer = subprocess.run(
        [str(shutil.which("bash")), "-r", "-c", payload.command("python3", "job")],
        input=b"import os\nos.write(1, b'runs')\n\0rest",
        capture_output=True,
        env={"PATH": str(tmp_path)},
        check=True,
    )
    assert answer.stdout == b"runs"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish", "tcsh", "zsh"])
def test_a_shell_in_the_place_of_the_runner_runs_none_of_it(shell: str, tmp_path: Path) -> None:
    """What is packed has every byte in it, as those that write to files and start programs."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    ran = b"\necho ran >ran\n" * 3 + bytes(range(1, 256))
    answer = subprocess.run(
        [program],
        input=payload.build("a1", 5.0) + ran,
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={"HOME": str(tmp_path / "home"), "PATH": str(tmp_path)},
    )
    assert [each.name for each in tmp_path.iterdir() if each.name != "home"] == []
    # fish reads all of its input before it runs any of it, and does not run what it cannot read.
    if shell != "fish":
        closed = LinkClosed("", answer.returncode)
        assert "another shell" in closed.reason_on("node2", "python3", "what it says")
        assert not closed.refusal("what it says").may_come_back


def test_a_shell_that_reads_the_test_in_the_place_of_python_ends_with_another_status() -> None:
    """Python ends with one of its own, so that a slow host is told from another program."""
    python = payload.argv(sys.executable, "job")
    assert subprocess.run(python, input=payload.TEST, check=False).returncode == payload.PYTHON_RUNS
    shells = [shell for shell in ("sh", "bash", "dash", "fish", "zsh") if shutil.which(shell)]
    for shell in shells:
        ended = subprocess.run([shell], input=payload.TEST, capture_output=True, check=False)
        assert ended.returncode == OTHER_SHELL, shell


@given(st.text(max_size=40))
def test_no_text_ends_a_postscript_string_early(text: str) -> None:
    literal = ghostscript.literal(text)
    assert re.fullmatch(r"<[0-9a-f]*>", literal)
    assert bytes.fromhex(literal[1:-1]).decode("utf-8", "surrogatepass") == text


@pytest.mark.parametrize(
    ("value", "shown", "size"),
    [
        ("12/0 [595.0 842.0]", 12, (595.0, 842.0)),
        ("0/0 null", 0, None),
        ("3 [1e3 20]", 3, (1000.0, 20.0)),
        ("3 [1 2 3]", 3, None),
    ],
)
def test_the_answer_to_a_page(value: str, shown: int, size: tuple[float, float] | None) -> None:
    assert ghostscript.parse_page_answer(value)[:2] == (shown, size)


@pytest.mark.parametrize(
    ("text", "is_supported"),
    [("10.00.0", True), ("10.05.1", True), ("9.53.3", False), ("9.56.1", False), ("11.0", True)],
)
def test_which_ghostscripts_are_accepted(text: str, is_supported: bool) -> None:
    version = ghostscript.parse_version(text)
    assert version is not None
    assert ghostscript.is_supported(version) is is_supported


def test_standard_phrases_are_no_warnings() -> None:
    lines = [
        "Page 7",
        "Processing pages 1 through 14.",
        "Loading font Helvetica (or substitute) from /usr/share/x",
        "The following errors were encountered at least once while processing this file:",
        "\tcircular reference to indirect object",
        "   **** This file had errors that were repaired or ignored.",
        "   **** The file was produced by: ",
        "   **** >>>> Scribus PDF Library 1.5.5 <<<<",
        "Fontconfig error: No writable cache directories",
        'Fontconfig warning: "/etc/fonts/local.conf", line 5: empty font directory name ignored',
        "Fontconfig error: Cannot load default config file: File not found",
        "   **** Error: page not found.",
    ]
    assert diagnostics.warnings(lines) == [
        "circular reference to indirect object",
        "Fontconfig error: Cannot load default config file: File not found",
        "**** Error: page not found.",
    ]
    assert diagnostics.was_not_rendered(lines)
    assert not diagnostics.was_not_rendered(lines[:-1])


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _meter(clock: Clock, loadavg: list[float], scan: list[tuple[int, int]]) -> LoadMeter:
    return LoadMeter(clock, lambda: loadavg[0], lambda: scan[0])


def test_a_load_average_that_is_history_is_no_load() -> None:
    """Our own job of a minute ago: the average decays as the kernel lets it, nobody is active."""
    clock, average, scan = Clock(), [4.0], [(0, 0)]
    meter = _meter(clock, average, scan)
    meter.greet(samples=1, pause=0)
    assert meter.reading()["others"] >= 3.9
    for _ in range(12):
        clock.now += 1.0
        average[0] = 4.0 * 0.92004 ** ((clock.now - 1000) / 5)
        meter.sample()
    assert meter.reading()["others"] < 0.3


def test_a_load_average_that_stays_is_a_load() -> None:
    clock, average, scan = Clock(), [7.5], [(0, 0)]
    meter = _meter(clock, average, scan)
    meter.greet(samples=1, pause=0)
    for _ in range(30):
        clock.now += 1.0
        assert meter.sample()["others"] > 7.0


def test_our_own_load_is_discounted() -> None:
    """Two renderers of ours for minutes: the average rises to two, and is ours."""
    clock, average, scan = Clock(), [0.0], [(0, 2)]
    meter = _meter(clock, average, scan)
    meter.greet(samples=1, pause=0)
    for second in range(1, 120):
        clock.now += 1.0
        if second % 5 == 0:
            average[0] = average[0] * 0.92004 + 2 * (1 - 0.92004)
        reading = meter.sample()
        assert reading["others"] < 0.4
    assert reading["ours"] > 1.9


def test_other_peoples_threads_are_seen_within_seconds() -> None:
    clock, average, scan = Clock(), [0.0], [(0, 0)]
    meter = _meter(clock, average, scan)
    meter.greet(samples=1, pause=0)
    scan[0] = (4, 1)
    for _ in range(4):
        clock.now += 1.0
        meter.sample()
    assert meter.reading()["others"] > 2.0


def test_looking_at_a_crowded_host_costs_little() -> None:
    clock = Clock()

    def slow_scan() -> tuple[int, int]:
        clock.now += 0.2
        return 0, 0

    calls = []
    meter = LoadMeter(clock, lambda: 0.0, lambda: (calls.append(1), slow_scan())[1])
    began = clock.now
    for _ in range(100):
        clock.now += 1.0
        meter.sample()
    assert len(calls) * 0.2 < (clock.now - began) * 0.02


def test_a_renderer_is_started_meekly_with_the_tools_that_are_there() -> None:
    everything = processlimits.wrap(["gs"], 1 << 30, which=lambda name: "/usr/bin/" + name)
    assert everything[:3] == ["nice", "-n", "19"]
    assert "--pdeathsig" in everything
    assert everything[-1] == "gs"
    assert processlimits.wrap(["gs"], 1 << 30, which=lambda name: None) == ["gs"]
    assert "GS_OPTIONS" not in processlimits.environment({"GS_OPTIONS": "-r1", "PATH": "x"})


def test_only_a_task_that_waits_can_be_revoked() -> None:
    tasks = TaskQueue()
    for name in "ab":
        tasks.put(Task(name, 1, "source.pdf", 1, "work/x"))
    assert tasks.revoke("b")
    assert not tasks.revoke("b")
    first = tasks.take_now()
    assert first is not None
    assert first.attempt == "a"
    assert not tasks.revoke("a")
    assert tasks.take_now() is None
    tasks.finish()
    assert tasks.has_ended()


def test_thousands_of_tasks_are_handed_back_in_a_moment() -> None:
    """Before the coordinator has waited too long for an answer (core/policy.py, answer_timeout)."""
    tasks = TaskQueue()
    for number in range(9000):
        tasks.put(Task(f"1.{number}", number, "source.pdf", number, "work/x"))
    began = time.thread_time()
    assert all(tasks.revoke(f"1.{number}") for number in reversed(range(1, 9000)))
    assert time.thread_time() - began < 4.0
    last = tasks.take_of("source.pdf")
    assert last is not None
    assert last.attempt == "1.0"


def test_the_family_of_a_process_has_what_its_threads_have_started() -> None:
    found: list[subprocess.Popen[bytes]] = []
    done = threading.Event()

    def work() -> None:
        found.append(subprocess.Popen(["sh", "-c", "sleep 60; true"]))
        done.wait()  # a thread that ends leaves its children to others

    thread = threading.Thread(target=work)
    thread.start()
    while not found or len(processes.tree(found[0].pid)) < 2:
        time.sleep(0.01)
    family = processes.tree(os.getpid())
    shell, sleeper = processes.tree(found[0].pid)
    assert {shell, sleeper} <= set(family)
    processes.kill_tree(shell)
    found[0].wait()
    # Until nobody but its parent to be knows of it.
    wait_until(lambda: not Path(f"/proc/{sleeper}/exe").exists(), 10, "it is there", pause=0.01)
    done.set()
    thread.join()


LOOP = "echo $$; while :; do :; done"


def test_what_a_recipe_runs_is_ours_though_nothing_of_ours_is_in_its_name() -> None:
    code = "import subprocess, sys; subprocess.run(['timeout', '60', 'sh', '-c', sys.argv[2]])"
    started = [sys.executable, "-c", code, "sshrender-runner", LOOP]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        loop = process.stdout.readline().strip()
        try:
            assert loadmeasurement.is_ours(loop)
            assert max(ours for _, ours in (loadmeasurement.scan() for _ in range(10))) >= 1
        finally:
            os.kill(int(loop), signal.SIGKILL)


def test_what_others_run_is_not_ours() -> None:
    """Started so that it has no parent of ours, whatever the folder of these tests is called."""
    started = ["sh", "-c", f"timeout 60 sh -c '{LOOP}' &"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        loop = process.stdout.readline().strip()
        process.wait()
        try:
            assert not loadmeasurement.is_ours(loop)
            assert max(others for others, _ in (loadmeasurement.scan() for _ in range(10))) >= 1
        finally:
            os.kill(int(loop), signal.SIGKILL)


def test_a_renderer_that_cannot_be_started_leaves_no_folder(tmp_path: Path) -> None:
    setup = ghostscript.Setup("gs", "png16m", "36", "a.pdf", "work", "p%d.png", (), "test")
    before = dict(scratch._open)
    with pytest.raises(FileNotFoundError):
        Session(setup, ProcessSetup(str(tmp_path / "absent"), dict(os.environ), 1 << 30))
    assert scratch._open == before


def test_a_program_that_was_collected_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be another process's by then."""
    killed: list[int] = []
    monkeypatch.setattr(processes, "kill_tree", killed.append)
    recipe = Recipe("true", [["true"]], "", "png", "x")
    fields = {"scratch": str(tmp_path)}
    guard = memorylimits.Guard()
    setup = ProcessSetup(str(tmp_path), dict(os.environ), 1 << 40)
    run = OneShot(recipe, fields, setup, 60, guard)
    collect = os.wait4

    def wait4(pid: int, options: int) -> object:
        found = collect(pid, options)
        run.kill()
        return found

    monkeypatch.setattr(os, "wait4", wait4)
    with pytest.raises(SessionEnded):
        run.run()
    assert killed == []


def test_the_name_of_an_attempt_is_one_line() -> None:
    assert wire.attempt({"attempt": "1.2"}) == "1.2"
    with pytest.raises(ValueError, match="attempt"):
        wire.attempt({"attempt": "1.2\n"})
