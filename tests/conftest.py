"""What all tests share."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_timeout
from hypothesis import settings

from tests import order
from tests.lab.prepared import PROGRAM, Prepared
from tests.stretch import stretched

__all__ = ["PROGRAM", "Run"]

pytest_plugins = ["tests.lab.plugin"]

# A property is about answers, not about time: test machines are noisy.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

# Under nohup(1) what is started would ignore SIGHUP as well, rightly, and not do what tests expect.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A shell starts background processes with SIGINT ignored, and what a test starts would inherit that:
# tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return how many processes ``-n auto`` starts: three for each core.

    Many tests wait for another machine's clock, a timeout or a page that takes its time, and leave their
    core idle meanwhile.
    """
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None  # the plugin itself reads that
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> object:
    """Let the limit of a test, as all others, stretch with the load at its beginning."""
    longer = settings._replace(timeout=stretched(settings.timeout))
    return pytest_timeout.pytest_timeout_set_timer(item, longer)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each of several workers its share of the long tests first."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = order.dealt(items, lambda item: item.nodeid.partition("::")[0], workers)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where CI is set: there everything is to be tested."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: where CI is set, a skip is a failure: {why}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _ghostscript_is_there() -> None:
    """Nothing here means anything without a real Ghostscript, so its absence is no skip."""
    if shutil.which("gs") is None:
        pytest.exit("install ghostscript first: apt install ghostscript", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def _key_is_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Signing makes a key on first use (config/keyfile.py): not in the home of the person who tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))


@pytest.fixture(scope="session", autouse=True)
def _slots_are_of_the_tests() -> None:
    """Also without ``home``: two runs of the tests on this machine would wait for each other's slots."""
    os.environ["SSHRENDER_SLOT_NAMESPACE"] = uuid.uuid4().hex[:12]


_RESTORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _signals_are_as_before() -> Iterator[None]:
    """A run that a signal has ended leaves it ignored; what a later test starts would inherit that."""
    before = {number: signal.getsignal(number) for number in _RESTORED}
    yield
    for number, handler in before.items():
        if handler is not None:  # not one of Python's
            signal.signal(number, handler)


_started: list[subprocess.Popen[Any]] = []
"""Processes that the running test itself has started, and those of earlier tests that still run."""


@pytest.fixture(autouse=True)
def _pipes_of_tests_are_closed() -> Iterator[None]:
    """Close the pipes of a process that a test has killed or left: a warning of them would be an error.

    Processes that the program starts are not meant: what it leaves open is a defect.
    """
    original = subprocess.Popen.__init__

    def remembered(self: subprocess.Popen[Any], *words: Any, **options: Any) -> None:
        original(self, *words, **options)
        if str(sys._getframe(1).f_globals.get("__name__")).startswith("tests."):
            _started.append(self)

    subprocess.Popen.__init__ = remembered  # type: ignore[method-assign]
    try:
        yield
    finally:
        subprocess.Popen.__init__ = original  # type: ignore[method-assign]
        for process in [each for each in _started if each.poll() is not None]:
            _started.remove(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # nobody reads any more what was not written yet
                        pipe.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home without any configuration; tests run in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("SSHRENDER_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    temporary = tmp_path / "temporary-files"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    # Jobs of one user share a machine's slots (runner/slots/slotlocks.py): tests side by side must not.
    monkeypatch.setenv("SSHRENDER_SLOT_NAMESPACE", uuid.uuid4().hex[:12])
    monkeypatch.chdir(folder)
    return folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sshrender(home: Path, prepared: Prepared) -> Run:
    """Run the program as a user does: a process of its own, both streams apart."""

    def run(
        *words: object, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        command = [*PROGRAM, *map(str, words)]
        environment = {**os.environ, **(env or {})}
        return prepared.run(command, cwd=home, env=environment, text=True, timeout=timeout)

    return run


Start = Callable[..., subprocess.Popen[Any]]


@pytest.fixture
def start(home: Path, prepared: Prepared) -> Start:
    """Start the program as ``sshrender`` does; the test waits for its end, or kills it."""

    def begin(*words: object, **streams: Any) -> subprocess.Popen[Any]:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, **streams}
        return prepared.popen([*PROGRAM, *map(str, words)], cwd=home, env=dict(os.environ), **options)

    return begin
