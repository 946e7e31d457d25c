"""Whatever the environment does gets an error and a hint, and never a traceback.

Commands run in processes that are forked off the test, so that limits, users and folders can be theirs
alone. Starting the program as a shell does costs half a second, and is left to one test for each kind.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sshrender import program
from sshrender.api import errorlog
from sshrender.api.documentarguments import find_documents, require_files
from sshrender.cli import dashboard
from sshrender.config import paths
from sshrender.coordinator import inboxhandlers, signals, userswitchcheck
from sshrender.errors import ExitCode, UserError, limit_reached
from sshrender.process import signalexceptions, startlimits, threadfailure
from sshrender.renderers import canary
from sshrender.runner.handshake import HandshakeFacts
from sshrender.runner.host import hostfacts, processlimits
from sshrender.runner.host.loadmeasurement import LoadMeter
from sshrender.runner.rendering.warmsession import reason_for
from sshrender.runner.wire import Wire
from sshrender.views.backgroundprocess import is_in_background
from tests import pdfs
from tests.conftest import PROGRAM
from tests.lab import prepared

if TYPE_CHECKING:
    from sshrender.coordinator.runcomponents import RunParts
    from sshrender.core.events import StopRequested

OTHER_USER = 65534
"""nobody: a user that may enter nothing that is closed to others."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")


@dataclass(frozen=True)
class Around:
    """What surrounds a command. ``words``: its arguments; ``says``: what stands in its error."""

    code: int
    says: str = ""
    words: Sequence[str] = ("status",)
    env: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] = lambda _home: None
    """Called in the command's process, before it becomes the other user."""
    limits: dict[int, int] = field(default_factory=dict)
    is_other_user: bool = True


def _leave_folder(home: Path) -> None:
    gone = home.parent / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()


def _close_folder(home: Path) -> None:
    closed = home.parent / "closed"
    closed.mkdir(mode=0o700)
    os.chdir(closed)


AROUND = {
    "HOME is closed": Around(6, "Permission denied", ["status"]),
    "HOME is closed, the queue is elsewhere": Around(0, "", ["status", "--san", "{san}"]),
    "HOME is closed, configuration": Around(0, "", ["config", "path"]),
    "HOME is a file": Around(6, "hint: this is a file, and has to be", env={"HOME": "/etc/passwd"}),
    "the shared folder is closed": Around(6, "Permission denied", ["status", "--san", "{home}"]),
    "the shared folder is closed to a render": Around(
        6, "Permission denied", ["render", "{san}/../a.pdf", "--san", "{home}"]
    ),
    "HOME is missing": Around(0, "", env={"HOME": "/nonexistent/x"}),
    "HOME is not text": Around(0, "", env={"HOME": "/nonexistent/\udcff"}),
    "the current folder is gone": Around(
        2,
        "the current folder cannot be used",
        ["render", "a.pdf"],
        prepare=_leave_folder,
        is_other_user=False,
    ),
    "the current folder is gone, and is not needed": Around(
        0, "", ["status", "--san", "{san}"], prepare=_leave_folder
    ),
    "the current folder is closed": Around(0, "", ["status", "--san", "{san}"], prepare=_close_folder),
    "no other process or thread": Around(
        2, "RLIMIT_NPROC", ["status", "--san", "{san}"], limits={resource.RLIMIT_NPROC: 0}
    ),
    "no other process, with the document's reader": Around(
        2, "RLIMIT_NPROC", ["render", "a.pdf", "--san", "{san}"], limits={resource.RLIMIT_NPROC: 0}
    ),
    "no further file": Around(
        2, "RLIMIT_NOFILE", ["status", "--san", "{san}"], limits={resource.RLIMIT_NOFILE: 3}
    ),
    "no file of any size": Around(
        2,
        "RLIMIT_FSIZE",
        ["submit", "{home}/a.pdf", "--san", "{own}", "-o", "{home}/out"],
        limits={resource.RLIMIT_FSIZE: 0},
        is_other_user=False,
    ),
}


@pytest.fixture(scope="module")
def _loaded() -> None:
    """Load all of the program: another user may not be able to read its modules, or Python's."""
    prepared._load()


@needs_root
@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("case", AROUND)
def test_it_is_named_with_a_hint(case: str, home: Path) -> None:
    around = AROUND[case]
    home.chmod(0o700)
    for folder in home.parents:  # pytest closes its folders to others
        if "pytest" in str(folder):
            folder.chmod(0o755)
    san = home.parent / "san"
    san.mkdir(mode=0o777)
    san.chmod(0o777)
    (home / "own").mkdir()
    pdfs.write(home / "a.pdf", pdfs.numbered(1))
    pdfs.write(san.parent / "a.pdf", pdfs.numbered(1))
    names = {"home": home, "san": san, "own": home / "own"}
    code, said = _forked(around, home, [word.format(**names) for word in around.words])
    assert code == around.code, said
    assert "Traceback" not in said
    assert "a bug in" not in said
    if code:
        assert said.startswith("sshrender: error: ") or "\nsshrender: error: " in said
        assert around.says in said
        assert "\nhint: " in said


def _forked(around: Around, home: Path, words: Sequence[str]) -> tuple[int, str]:
    """Return the exit code of a command in its surroundings, and what it wrote."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            for stream, descriptor in ((sys.__stdout__, 1), (sys.__stderr__, 2)):
                os.dup2(writing, descriptor)
                assert stream is not None
            os.environ.update(around.env)
            sys.stdout, sys.stderr = (
                os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2)
            )
            around.prepare(home)
            sys.argv = ["sshrender", *words]
            os.closerange(3, 256) if resource.RLIMIT_NOFILE in around.limits else None
            if around.is_other_user:
                os.setgroups([])
                os.setresgid(OTHER_USER, OTHER_USER, OTHER_USER)
                os.setresuid(OTHER_USER, OTHER_USER, OTHER_USER)
            for kind, value in around.limits.items():
                resource.setrlimit(kind, (value, value))
            os._exit(program.main())
        except BaseException:  # noqa: BLE001 - not the test's frames: this is another process
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(99)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def test_a_log_that_cannot_be_written_goes_among_the_temporary_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHRENDER_LOG_FILE", "/proc/nowhere/log")
    monkeypatch.setattr("tempfile.tempdir", str(home))
    what, _ = errorlog.defect(ValueError("the cause"))
    (log,) = home.glob("sshrender-*.log")
    assert str(log) in what
    assert "the cause" in log.read_text()
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    assert "--log-file FILE" in errorlog.record(ValueError("the cause"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.EROFS])
def test_a_file_that_fails_is_no_defect(home: Path, number: int) -> None:
    error = OSError(number, os.strerror(number), str(home / "a b"))
    found = errorlog.of_environment(error)
    assert found is not None
    assert (found.code, found.what) == (ExitCode.STORAGE, f"{home}/a b: {os.strerror(number)}")
    assert found.hint == f"ls -ld '{home}/a b'"
    assert errorlog.of_environment(ValueError()) is None


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (MemoryError(), "RLIMIT_AS"),
        (RuntimeError("can't start new thread"), "RLIMIT_NPROC"),
        (BlockingIOError(errno.EAGAIN, "x"), "RLIMIT_NPROC"),
        (OSError(errno.EMFILE, "x"), "RLIMIT_NOFILE"),
        (OSError(errno.EFBIG, "x"), "RLIMIT_FSIZE"),
        (ImportError("x.so: failed to map segment from shared object"), "RLIMIT_AS"),
    ],
)
def test_a_limit_is_named_by_its_name(error: BaseException, name: str) -> None:
    found = limit_reached(error)
    assert found is not None
    assert name in found.what
    # That of a renderer's file shows itself as a signal; the runner has no libraries of its own.
    if name != "RLIMIT_FSIZE" and not isinstance(error, ImportError):
        assert name in str(processlimits.reached(error))


@pytest.mark.parametrize(
    ("hard", "soft"), [(60, 57), (5, 5), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)]
)
def test_a_limit_on_cpu_time_leaves_time_to_stop(
    monkeypatch: pytest.MonkeyPatch, hard: int, soft: int
) -> None:
    """The hard limit kills, and ``ulimit -t`` sets both."""
    limits = (hard, hard)

    def set_limits(_kind: int, new: tuple[int, int]) -> None:
        nonlocal limits
        limits = new

    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    startlimits.leave_time_to_stop()
    assert limits == (soft, hard)


def test_the_limit_on_cpu_time_ends_a_command_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGXCPU, signal.SIG_DFL)

    def work(**_options: object) -> None:
        os.kill(os.getpid(), signal.SIGXCPU)

    monkeypatch.setattr(program, "_app", lambda: work)
    try:
        signalexceptions.raise_on_cpu_limit()
        assert program.until_signal(program.run) == 128 + signal.SIGXCPU
    finally:
        signal.signal(signal.SIGXCPU, before)
    said = capsys.readouterr().err
    assert "the limit on CPU time was reached (RLIMIT_CPU, ulimit -t)" in said
    assert "\nhint: " in said


def test_a_run_stops_in_order_at_the_limit_on_cpu_time() -> None:
    posted: list[signals.SignalCaught] = []
    before = signal.getsignal(signal.SIGXCPU)
    with signals.caught(posted.append, lambda: None):
        os.kill(os.getpid(), signal.SIGXCPU)
    signal.signal(signal.SIGXCPU, before)
    assert [each.number for each in posted] == [signal.SIGXCPU]
    run = SimpleNamespace(signal=None)
    (stop,) = inboxhandlers.on_signal(cast("RunParts", run), posted[0])
    assert run.signal == signal.SIGXCPU
    assert "RLIMIT_CPU" in cast("StopRequested", stop).reason


def test_without_proc_a_render_is_refused_and_a_look_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment: a chroot(1) to which nothing was mounted."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, how: path != "/proc/self/stat" and real(path, how))
    with pytest.raises(UserError, match="/proc is not mounted"):
        startlimits.require("render")
    startlimits.require("status")


def test_what_is_no_limit_is_not_called_one() -> None:
    for error in (RuntimeError("x"), OSError(errno.ENOENT, "x"), ValueError(), ImportError("x")):
        assert limit_reached(error) is None
        assert processlimits.reached(error) is None


def test_the_last_resort_needs_no_python(capfd: pytest.CaptureFixture[str]) -> None:
    assert threadfailure.say_what_is_left(OSError(errno.EMFILE, "Too many open files")) == ExitCode.USAGE
    assert threadfailure.say_what_is_left(ValueError("ß")) == 1
    said = capfd.readouterr().err
    assert "RLIMIT_NOFILE" in said
    assert "ValueError: ?" in said
    assert said.count("hint: ") == 2


@pytest.mark.parametrize("dies", ["_bootstrap_inner", "run"])
def test_a_thread_without_memory_ends_the_command(dies: str) -> None:
    """Whoever waits for the thread, or for its start, would wait for ever."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writing, 2)
        threadfailure.watch_threads(lambda _limit: 1 // 0, print)
        waits = threading.Event()

        def fail(*_: object) -> None:
            raise MemoryError

        setattr(threading.Thread, dies, fail)
        threading.Thread(target=waits.set).start()
        waits.wait()
        os._exit(99)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ExitCode.USAGE
    assert "RLIMIT_AS" in said, "even where the report fails as well"
    assert "\nhint: " in said


class TestFloor:
    """A limit that is too low for a command is refused before it can abort or hang."""

    CASES = (
        *(
            ("RLIMIT_AS", mib << 20, command)
            for mib in (40, 60, 80, 150)
            for command in ("submit", "why")
        ),
        *(("RLIMIT_AS", mib << 20, command) for mib in (300, 599) for command in ("render", "serve")),
        *(("RLIMIT_DATA", 100 << 20, command) for command in ("submit", "status")),
        *(("RLIMIT_STACK", 300 << 10, command) for command in ("render", "status")),
        ("RLIMIT_NOFILE", 31, "watch"),
        ("RLIMIT_NOFILE", 11, "status"),
    )

    @pytest.mark.parametrize(("kind", "value", "command"), CASES)
    @pytest.mark.parametrize("is_root", [True, False])
    @pytest.mark.parametrize("is_soft", [True, False])
    def test_it_names_the_limit_what_is_needed_and_how_to_raise_it(
        self,
        kind: str,
        value: int,
        command: str,
        is_root: bool,
        is_soft: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        number = getattr(resource, kind)
        raised: list[tuple[int, tuple[int, int]]] = []
        monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
        monkeypatch.setattr(
            resource,
            "getrlimit",
            lambda asked: (value, -1 if is_soft else value) if asked == number else (-1, -1),
        )
        monkeypatch.setattr(resource, "setrlimit", lambda *limit: raised.append(limit))
        if kind == "RLIMIT_NOFILE" and is_soft:  # what the hard limit allows is taken
            startlimits.require(command)
            assert raised[0][1][0] > value
            return
        with pytest.raises(UserError) as caught:
            startlimits.require(command)
        assert caught.value.code == ExitCode.USAGE
        assert kind in caught.value.what
        assert "this command needs " in caught.value.what
        expected = "ulimit -S " if is_soft else "ulimit -" if is_root else "in a batch job"
        assert caught.value.hint.startswith(expected)

    @pytest.mark.parametrize("command", ["render", "status", "", "--version"])
    def test_usual_limits_are_enough(self, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = {resource.RLIMIT_STACK: (8 << 20, -1), resource.RLIMIT_NOFILE: (1024, 524288)}
        monkeypatch.setattr(resource, "getrlimit", lambda kind: usual.get(kind, (-1, -1)))
        startlimits.require(command)

    @pytest.mark.parametrize("mib", [40, 60, 100])
    def test_a_submission_neither_hangs_nor_aborts(self, mib: int, home: Path) -> None:
        """With 60 MiB it waited for ever, with 40 a library ended the process."""
        pdfs.write(home / "a.pdf", pdfs.numbered(1))
        limit = f"--as={mib << 20}:{mib << 20}"
        words = [*PROGRAM, "submit", "a.pdf", "--json"]
        answer = subprocess.run(["prlimit", limit, *words], capture_output=True, text=True, check=False)
        assert answer.returncode == ExitCode.USAGE, answer.stderr
        assert f"(RLIMIT_AS, ulimit -v) is {mib} MiB, and this command needs 600 MiB" in answer.stderr
        assert json.loads(answer.stdout)["exit_code"] == ExitCode.USAGE

    def test_a_render_works_with_what_is_asked_for(self, home: Path) -> None:
        pdfs.write(home / "a.pdf", pdfs.numbered(2))
        limits = [
            f"--as={startlimits.MIN_MEMORY}",
            f"--nofile={startlimits.MIN_FILES}",
            "--stack=524288",
        ]
        words = [*PROGRAM, "render", "a.pdf", "-r", "20"]
        answer = subprocess.run(
            ["prlimit", *limits, *words], capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr


def test_an_error_of_a_thread_goes_into_the_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSHRENDER_LOG_FILE", str(home / "log"))
    error = ValueError("of a thread")
    program._log(error)
    assert "of a thread" in (home / "log").read_text()


def test_a_folder_that_may_not_be_searched_holds_no_configuration(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert paths.find_inventory(None) is None


class TestHost:
    """Limits on a host: what it says is the limit, and not that something is missing."""

    def test_a_limit_is_no_missing_ghostscript(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(number: int) -> Callable[..., Any]:
            def run(*_words: object, **_options: object) -> None:
                raise OSError(number, os.strerror(number))

            return run

        monkeypatch.setattr(subprocess, "run", fail(errno.ENOENT))
        assert hostfacts.ghostscript_version("gs") is None
        monkeypatch.setattr(subprocess, "run", fail(errno.EAGAIN))
        with pytest.raises(OSError, match="temporarily unavailable"):
            hostfacts.ghostscript_version("gs")

    def test_a_limit_on_processor_time_is_named_and_kept_away_from(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert reason_for("crashed", -9, "Ghostscript") == "Ghostscript died of signal 9"
        monkeypatch.setattr(resource, "getrlimit", lambda _kind: (600, 600))
        assert "RLIMIT_CPU, ulimit -t is 600 seconds" in reason_for("crashed", -9, "Ghostscript")
        assert "RLIMIT_CPU" not in reason_for("crashed", -11, "Ghostscript")

    def test_its_facts_name_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[dict[str, Any]] = []
        monkeypatch.setattr(Wire, "post", lambda _wire, _type, **fields: said.append(fields))

        def gather() -> dict[str, Any]:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr(hostfacts, "gather", gather)
        HandshakeFacts(Wire(1, "x"), {}, LoadMeter()).gather(0)
        assert "RLIMIT_NPROC" in said[0]["reason"]


class TestDocument:
    """A document has a name under which every process finds the same file."""

    @pytest.mark.parametrize("kind", ["fifo", "socket", "pipe", "standard input", "device"])
    def test_a_stream_is_refused_and_what_to_type_is_said(
        self, home: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reading, writing = os.pipe()
        source = {
            "pipe": Path(f"/dev/fd/{reading}"),
            "standard input": Path("-"),
            "device": Path("/dev/zero"),
        }.get(kind, home / "a.pdf")
        if kind == "fifo":
            os.mkfifo(source)
        if kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(source))
        before = os.dup(0)
        try:
            os.dup2(reading, 0)
            with pytest.raises(UserError, match="a pipe or a device") as caught:
                require_files([source])
        finally:
            os.dup2(before, 0)
            for descriptor in (before, reading, writing):
                os.close(descriptor)
        assert caught.value.code == ExitCode.DOCUMENT
        assert caught.value.hint.endswith("COMMAND > document.pdf")

    def test_a_descriptor_of_a_file_is_that_file(self, home: Path) -> None:
        path = pdfs.write(home / "a.pdf", pdfs.numbered(1))
        with path.open("rb") as file:
            named = [Path(f"{folder}/{file.fileno()}") for folder in ("/dev/fd", "/proc/self/fd")]
            assert require_files(named) == [path.resolve()] * 2

    def test_an_address_of_a_local_file_is_that_file(self, home: Path) -> None:
        path = pdfs.write(home / "a b.pdf", pdfs.numbered(1))
        for address in (f"file://{home}/a%20b.pdf", f"file://localhost{home}/a%20b.pdf", f"file:{path}"):
            assert require_files([Path(address)]) == find_documents([Path(address)]) == [path]
        latin = pdfs.write(home / os.fsdecode(b"\xe9t\xe9.pdf"), pdfs.numbered(1))
        assert require_files([Path(f"file://{home}/%E9t%E9.pdf")]) == [latin]
        no_path = Path("file:///a%00.pdf")
        assert require_files([no_path]) == [no_path], "it is refused as a name that is not there"

    def test_other_names_stay(self, home: Path) -> None:
        pdfs.write(home / "a.pdf", pdfs.numbered(1))
        (home / "link.pdf").symlink_to("a.pdf")
        (home / "loop.pdf").symlink_to("loop.pdf")
        names = [Path("a.pdf"), Path("link.pdf"), Path("missing.pdf"), Path("loop.pdf"), home]
        assert require_files(names) == names


class TestTerminal:
    """A shell's background job does not ask its terminal for anything: the kernel would stop it."""

    @pytest.mark.parametrize("is_background", [True, False])
    def test_a_job_in_the_background_has_no_dashboard(self, is_background: bool, home: Path) -> None:
        code = (
            "import sys\nfrom sshrender.cli import dashboard as d\n"
            "from sshrender.views import backgroundprocess as j\n"
            "print('why:', d.why_no_dashboard(), j.is_in_background(sys.stdout))"
        )
        status, said = _at_terminal([sys.executable, "-c", code], is_background)
        assert status == 0, said
        assert ("runs in the background" in said) == is_background
        assert f"{is_background}\r\n" in said

    def test_a_render_in_the_background_ends(self, home: Path) -> None:
        pdfs.write(home / "a.pdf", pdfs.numbered(1))
        status, said = _at_terminal([*PROGRAM, "render", "a.pdf", "-r", "20"], True)
        assert status == 0, said
        assert "no dashboard: this command runs in the background" in said
        assert "done, 1 of 1 page" in said
        assert "\x1b" not in said, "no cursor is moved while a shell has the terminal"

    def test_where_there_is_no_terminal_nothing_is_in_the_background(self, home: Path) -> None:
        with (home / "file").open("w") as file:
            assert not is_in_background(file)
        assert not is_in_background(file)
        assert dashboard.why_no_dashboard()


def _at_terminal(command: Sequence[str], is_background: bool) -> tuple[int, str]:
    """Run a command as a shell does; return its status (a signal: negative) and what the terminal got.

    The leader of the session is the shell: the command has a process group of its own.
    """
    pid, master = pty.fork()
    if pid == 0:
        _be_shell(command, is_background)
    said = b""
    try:
        while block := os.read(master, 4096):
            said += block
    except OSError:  # EIO: nothing has the terminal open any more
        pass
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode("utf-8", "replace")


def _be_shell(command: Sequence[str], is_background: bool) -> None:
    try:
        os.environ["TERM"] = "xterm"
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            if not is_background:
                os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execvp(command[0], [*command])
        _, status = os.waitpid(job, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.write(1, b"stopped")
            os.kill(job, signal.SIGKILL)
            os._exit(98)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    finally:
        os._exit(97)


class TestSwitches:
    """A value that ends Ghostscript at its start is a mistake of the command, not of the hosts."""

    @pytest.fixture(autouse=True)
    def _busy_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Ghostscript that does not answer in time says nothing of switches."""
        monkeypatch.setattr(canary, "TIMEOUT", 200.0)

    @pytest.mark.parametrize("switch", ["-dLeadingEdge=99", "-dMaxBitmap=-5", "-dOverprint=/foo"])
    def test_the_switch_is_named(self, switch: str) -> None:
        found = userswitchcheck.objection("png16m", ["-dPDFSTOPONERROR", switch])
        assert found is not None
        assert found.switch == switch
        assert "rangecheck" in found.words

    def test_what_works_passes(self) -> None:
        assert userswitchcheck.objection("png16m", ["-dMaxBitmap=1000", "-dOverprint=/simulate"]) is None

    def test_a_missing_or_broken_ghostscript_says_nothing_of_switches(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert userswitchcheck.objection("png16m", ["-dLeadingEdge=99"]) is None
        (tmp_path / "gs").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "gs").chmod(0o755)
        assert userswitchcheck.objection("png16m", ["-dLeadingEdge=99"]) is None
