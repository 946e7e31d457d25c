"""Verifies, publishes and delivers one page: from the file of a host to the output folder.

Each step may be repeated after any error, and another coordinator may do the same at any moment: so the
fence is asked before a page is published, and what is found under its name is verified, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from sshrender.coordinator.workers.verificationresults import VerificationTask, Verified
from sshrender.coordinator.workers.writeerrorscope import OutputFailed
from sshrender.job.output import publish
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.process import Verifications
from sshrender.job.verification.verify import Expected, PageImage, open_page

MAX_REPLACEMENTS = 3
"""Times that something in place of a published page is removed before the storage counts as
failed."""


class _Published(NamedTuple):
    """A published page in ``pages/``, open. The caller closes the descriptor."""

    descriptor: int
    image: PageImage
    doubt: str = ""
    is_copy: bool = False
    was_taken: bool = False


class PageSizes(Protocol):
    """The page sizes that the document states (document/reading.py)."""

    def box(self, page: int) -> tuple[float, float] | None:
        """Return width and height in points; None if they are not known."""

    def is_sound(self) -> bool:
        """Return whether the document could be read without repairs."""


class PageDelivery:
    """Handles pages for one thread.

    ``reading``: the sizes that the document states. ``fence`` raises LeaseLost once another coordinator
    has the job, and DocumentReplaced if pages may be of another document. ``limit``: most bytes of a
    page. ``on_slow`` is called while a verification takes long.
    """

    def __init__(
        self,
        reading: PageSizes,
        fence: Callable[[], None],
        limit: int | None,
        on_slow: Callable[[], None],
    ) -> None:
        self._reading = reading
        self._fence = fence
        self._limit = limit
        self._on_slow = on_slow
        self._verifications = Verifications()

    def stop(self) -> None:
        """End the process that reads files for this thread."""
        self._verifications.stop()

    def cancel(self) -> None:
        """End that process while it reads a file; called by another thread."""
        self._verifications.cancel()

    def handle(self, task: VerificationTask) -> Verified:
        """Verify, publish and deliver a page. May be called again after any error.

        Raises FileNotFoundError, VerificationFailed, OSError, LeaseLost or DocumentReplaced.
        """
        # Before the file is opened: so large a file is not even read.
        if self._limit is not None and (task.expected.bytes or 0) > self._limit:
            raise VerificationFailed(f"{task.expected.bytes} bytes are more than a page may have")
        found = self._publish(task)
        copies = [task.final] if found.is_copy else []
        try:
            copies += _deliver(found, task)
            # Bounded: a host could replace the file for as long as the run lasts.
            for _ in range(MAX_REPLACEMENTS):
                other = self._other(found, task)
                if other is None:
                    break
                # The one that is replaced is closed at once; ``finally`` closes the last.
                os.close(found.descriptor)
                found = other
                copies += _deliver(found, task)
                # After the delivery of another's page: if the lease is lost, the other coordinator
                # repeats it.
                self._fence()
        finally:
            os.close(found.descriptor)
        return Verified(task, found.image, found.doubt, tuple(copies), found.was_taken)

    def _other(self, found: _Published, task: VerificationTask) -> _Published | None:
        """Return the page that replaced this one meanwhile, to deliver it instead; None if none did.

        Needs no lease: if another coordinator has the job by now, this repairs what was delivered over
        its page.
        """
        page = publish.other_in_place(found.descriptor, task.final, found.image.sha256)
        if page is None:
            return None
        try:
            image, doubt = self._verify(page, task, task.expected._replace(bytes=None, sha256=None))
        # BaseException: the descriptor must not stay open, whatever ends the thread's work.
        except BaseException as failed:
            os.close(page)
            if isinstance(failed, VerificationFailed):
                return None
            raise
        return _Published(page, image, doubt, was_taken=True)

    def _publish(self, task: VerificationTask) -> _Published:
        try:
            attempt = open_page(task.work)
        except FileNotFoundError:
            # After a storage failure, an earlier try may have published the page already.
            if (found := self._published(task, task.expected)) is None:
                raise
            return found
        try:
            image, doubt = self._verify(attempt, task, task.expected)
            for _ in range(MAX_REPLACEMENTS):
                # Before each publication, as the verification may have taken long.
                self._fence()
                try:
                    page, is_copy = publish.publish(attempt, task.work, task.final, image.sha256)
                    return _Published(page, image, doubt, is_copy)
                except publish.PageTaken:
                    if (found := self._give_way(task)) is not None:
                        return found
            raise OSError(
                errno.EBUSY,
                "a file under a page's name was removed, and reappears",
                str(task.final),
            )
        finally:
            os.close(attempt)

    def _give_way(self, task: VerificationTask) -> _Published | None:
        """Return the page that was published before: by another attempt, or a coordinator thought dead.

        None if what has its name is not a page and was removed: no host is charged.
        """
        seen = publish.identity(task.final)
        found = self._published(task, task.expected._replace(bytes=None, sha256=None))
        if found is None:
            self._fence()
            _clear(task.final, seen)
            return None
        with contextlib.suppress(OSError):
            # The attempt's own file is not needed; work/ is cleared at the end anyway.
            task.work.unlink()
        return found._replace(was_taken=True)

    def _published(self, task: VerificationTask, expected: Expected) -> _Published | None:
        """Return the verified page in ``pages/``; None if there is none.

        Raises OSError if the storage fails.
        """
        try:
            page = open_page(task.final)
        except (FileNotFoundError, VerificationFailed):
            return None
        try:
            image, doubt = self._verify(page, task, expected)
            self._fence()
            owned = publish.own(page, task.final, image.sha256)
            return _Published(
                owned, image, doubt, is_copy=True
            )  # flushed again: its publisher may have crashed before
        except VerificationFailed:
            return None
        finally:
            os.close(page)

    def _verify(self, page: int, task: VerificationTask, expected: Expected) -> tuple[PageImage, str]:
        """Verify against the page size that the document states, or that Ghostscript reported.

        The latter only if the document is damaged, so that its own statement may be wrong.
        """
        box = self._reading.box(task.page) if expected.is_sized else None
        if box is None:
            return self._check(page, expected), ""
        try:
            return self._check(page, expected._replace(box=box)), ""
        except VerificationFailed as failed:
            if self._reading.is_sound() or expected.box is None:
                # A sound document states its sizes reliably: then the image is wrong.
                raise
            return self._check(page, expected), str(failed)

    def _check(self, page: int, expected: Expected) -> PageImage:
        return self._verifications.verify(page, expected, self._limit, self._on_slow)


def _deliver(found: _Published, task: VerificationTask) -> list[Path]:
    """Deliver a page; return the copies to flush. Raises VerificationFailed or OutputFailed."""
    try:
        is_copy = task.claim.deliver(found.descriptor, task.target, found.image.sha256)
    except FileNotFoundError:
        raise OutputFailed(errno.ENOTDIR, "the folder is gone", str(task.target)) from None
    except OSError as error:
        raise OutputFailed.at(task.target, error) from error
    return [task.target] if is_copy else []


def _clear(final: Path, seen: publish.Identity | None) -> None:
    """Remove what has a page's name.

    Raises OSError, but not FileNotFoundError, which would be taken for the absence of the host's file.
    """
    try:
        publish.remove(final, seen)
    except FileNotFoundError:
        raise OSError(errno.ENOTDIR, "the folder of the pages is gone", str(final)) from None
