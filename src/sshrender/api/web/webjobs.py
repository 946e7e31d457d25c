"""Jobs of web users: their settings, the check of an uploaded document, and an estimate of the time.

A web user may choose from a short list of settings. Recipes, switches of Ghostscript, paths, passwords
and commands are not on it, because uploaded documents and their users are not trusted.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sshrender.api import jobchanges
from sshrender.api.jobchanges import Changed
from sshrender.api.jobs import all_jobs, on_san, read_or_record
from sshrender.api.runcontext import RunContext
from sshrender.api.runevents import SilentListener
from sshrender.api.submission import OwnedByAnother, Submitted, submit
from sshrender.api.web.uploads import stem_of
from sshrender.config.settings import resolve
from sshrender.document import facts, pagelist
from sshrender.document.facts import PasswordError
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import read_journal
from sshrender.job.spec import JobSpec
from sshrender.renderers.appearance import page_box
from sshrender.views.jobduration import RunTimes

DEVICES = {
    "png16m": "PNG, colour",
    "pnggray": "PNG, grey",
    "pngmono": "PNG, black and white",
    "jpeg": "JPEG, colour",
    "jpeggray": "JPEG, grey",
    "tiff24nc": "TIFF, colour",
    "tiffgray": "TIFF, grey",
    "tiffg4": "TIFF, fax group 4",
}
"""The devices that a web user may choose, with the words for them."""

MIN_DPI, MAX_DPI = 30, 600
LOWEST_PRIORITY = -1024
MAX_PAGE_PIXELS = 250_000_000
"""Most pixels of one page: A2 at 600 dpi has 139 million, A0 at 400 dpi 248 million."""

MAX_PIXELS = 2_000_000_000_000
"""Most pixels of all pages: 20,000 pages A4 at 600 dpi have 0.7 of it."""

MAX_PASSWORD = 127
"""Bytes of a password that count (ISO 32000-2, 7.6.4.3.3); Acrobat takes no longer ones."""

MAX_COMPARED = 6
"""Earlier jobs that an estimate uses, at most."""

MAX_COMPARED_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class WebOptions:
    """The options of a web user. ``pages``: a page list, empty for all."""

    dpi: int = 150
    device: str = "png16m"
    pages: str = ""
    priority: int = 0
    assemble: bool = False
    password: str = field(default="", repr=False)
    """The document's password. It is kept in memory, and is in no file."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> WebOptions:
        """Return the options of a request. Raises ValueError with words for the user."""
        known = ("dpi", "device", "pages", "priority", "assemble", "password")
        # Unknown settings are refused and not ignored, so that a misspelled one is noticed.
        unknown = sorted(fields.keys() - set(known))
        if unknown:
            raise ValueError(
                f"{unknown[0]}: not a setting of uploaded jobs; there are {', '.join(known)}"
            )
        # An empty field of a form is the same as none.
        found = {key: value for key, value in fields.items() if value is not None and value != ""}
        options = cls(
            dpi=_number(found, "dpi", 150, MIN_DPI, MAX_DPI),
            device=_text(found, "device", "png16m"),
            pages=_text(found, "pages", "").strip(),
            # Web users may lower the priority of a job, never raise it.
            priority=_number(found, "priority", 0, LOWEST_PRIORITY, 0),
            assemble=_flag(found, "assemble"),
            password=_text(found, "password", ""),
        )
        if options.device not in DEVICES:
            raise ValueError(f"device: one of {', '.join(DEVICES)}")
        if len(options.pages) > 1000:
            raise ValueError("pages: a page list has at most 1,000 characters")
        if len(options.password) > MAX_PASSWORD:
            raise ValueError(f"password: a text of at most {MAX_PASSWORD} characters")
        return options


def _flag(fields: Mapping[str, Any], key: str) -> bool:
    value = fields.get(key, False)
    # "yes" and 1 are refused: taken as false they would be noticed when the file is missing.
    if not isinstance(value, bool):
        raise ValueError(f"{key}: true or false")
    return value


def _text(fields: Mapping[str, Any], key: str, default: str) -> str:
    value = fields.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key}: a text")
    return value


def _number(fields: Mapping[str, Any], key: str, default: int, low: int, high: int) -> int:
    value = fields.get(key, default)
    # bool is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{key}: a whole number from {low} to {high}")
    return value


@dataclass(frozen=True, slots=True)
class DocumentCheck:
    """The check of a document. ``pages``: those to render; None if damage hides their number.

    ``seconds``: how long the job may take once it starts; None if no earlier job can be compared.
    """

    pages: int | None
    total: int | None
    seconds: float | None
    compared: int


def context_for(settings: Mapping[str, Any], config: Path | None, options: WebOptions) -> RunContext:
    """Return the context that submits an uploaded document. Raises UserError."""
    typed: dict[str, Any] = {**settings, "dpi": str(options.dpi), "device": options.device}
    if options.pages:
        typed["pages"] = options.pages
    if options.assemble:
        typed["assemble"] = "pdf"
    # 0 is the default, and is left to the settings of the administrator.
    if options.priority:
        typed["priority"] = str(options.priority)
    context = RunContext.start(typed, config, lambda _settings: SilentListener())
    # Uploads may be hostile: the sandbox is on unless the administrator has decided otherwise.
    # A file or a variable of the administrator may say "none"; only the default is replaced.
    if context.resolved.origins["sandbox"] == "default":
        typed["sandbox"] = "bwrap"
        context = RunContext.start(typed, config, lambda _settings: SilentListener())
    context.require_key()
    context.password = options.password or None
    return context


def cancel(san: Path, name: str, typed: Mapping[str, Any], config: Path | None) -> list[Changed]:
    """Stop a job, and the pilots that it has left in pools of the server's inventory.

    ``typed`` and ``config``: as context_for has them. Raises UserError.
    """
    return jobchanges.cancel(san, [name], settings=resolve(typed, config).settings)


def hold(
    san: Path, name: str, note: str, typed: Mapping[str, Any], config: Path | None
) -> list[Changed]:
    """Pause a job, and hold the pilots that it has left, as for ``cancel``. Raises UserError."""
    return jobchanges.hold(san, [name], note, settings=resolve(typed, config).settings)


class LockedDocument(UserError):
    """The document needs a password. ``is_wrong``: one was given, and does not open it."""

    def __init__(self, *, is_wrong: bool) -> None:
        what = "the password is wrong" if is_wrong else "this document needs a password"
        super().__init__(ExitCode.DOCUMENT, what, 'send the password, as {"password": "…"}')
        self.is_wrong = is_wrong


def inspect(context: RunContext, document: Path) -> DocumentCheck:
    """Count a document's pages and estimate the time.

    Raises UserError, for too large pages, too; LockedDocument if the password is missing or wrong.
    """
    reading = Reading()
    try:
        return on_san(context.san, partial(_inspect, context, document, reading))
    except PasswordError:
        raise LockedDocument(is_wrong=context.password is not None) from None
    except UserError as error:
        raise _without_path(error, document) from None
    finally:
        reading.close()


def _without_path(error: UserError, document: Path) -> UserError:
    """Return the error for a person without a terminal, who must not see paths of the machine."""
    what, hint = (text.replace(str(document), document.name) for text in (error.what, error.hint))
    hint = hint.partition("; to see what is wrong: qpdf")[0].replace(
        "--pages takes a list", "use a list"
    )
    return UserError(error.code, what, hint)


def require_password(san: Path, folder: JobFolder, password: str) -> None:
    """Raise LockedDocument unless the password opens the document of a job; UserError for others."""
    reading = Reading()
    try:
        reading.begin(folder.source, password, "media")
        on_san(san, reading.facts)
    except PasswordError:
        raise LockedDocument(is_wrong=True) from None
    finally:
        reading.close()


def _inspect(context: RunContext, document: Path, reading: Reading) -> DocumentCheck:
    request = context.request(document, is_only=True)
    facts.check_file(document)
    # Sizes are read with the facts, because the limits need them.
    reading.begin(document, context.password, page_box(request.appearance, request.options))
    known = reading.facts()
    total = known.pages
    if total is None:
        # Hosts count the pages of a damaged document later; sizes are then not checked here.
        return DocumentCheck(None, None, None, 0)
    pages = pagelist.parse(request.pages, total) if request.pages else list(range(1, total + 1))
    _require_sizes(reading, pages, float(request.dpi))
    found = _rates(context.san, request.device, float(request.dpi))
    # The median: one slow job among six does not count much.
    seconds = None if not found else statistics.median(found) * len(pages)
    return DocumentCheck(len(pages), total, seconds, len(found))


def _require_sizes(reading: Reading, pages: list[int], dpi: float) -> None:
    sum_of_pixels = 0.0
    for page in pages:
        box = reading.box(page)
        # 72 points are an inch.
        pixels = 0.0 if box is None else box[0] * box[1] * (dpi / 72) ** 2
        sum_of_pixels += pixels
        if pixels > MAX_PAGE_PIXELS:
            raise UserError(
                ExitCode.USAGE,
                f"page {page} would have {pixels / 1e6:,.0f} million pixels; the limit is"
                f" {MAX_PAGE_PIXELS / 1e6:,.0f} million",
                "choose a lower resolution, or leave out that page",
            )
    if sum_of_pixels > MAX_PIXELS:
        raise UserError(
            ExitCode.USAGE,
            f"all pages together would have {sum_of_pixels / 1e9:,.0f} billion pixels; the limit is"
            f" {MAX_PIXELS / 1e9:,.0f} billion",
            "choose a lower resolution, or fewer pages",
        )


def _rates(san: Path, device: str, dpi: float) -> list[float]:
    """Return the seconds per page of earlier jobs with this device, scaled to ``dpi``."""
    similar = [
        (spec.created, folder, spec)
        for folder, spec in all_jobs(san)
        # Jobs at a similar resolution only: the time of a page does not scale over a wide range.
        if spec.settings.device == device and 0.4 <= spec.settings.dpi / dpi <= 2.5
    ]
    rates: list[float] = []
    # The latest first; some of them may have too few pages to be compared.
    for _, folder, spec in sorted(similar, key=lambda each: each[0], reverse=True)[: 3 * MAX_COMPARED]:
        rate = read_or_record(san, folder.name, partial(_rate, folder, spec, dpi), {})
        if rate is not None:
            rates.append(rate)
        if len(rates) == MAX_COMPARED:
            break
    return rates


def _rate(folder: JobFolder, spec: JobSpec, dpi: float) -> float | None:
    # A job that failed or was cancelled says little about the speed.
    if jobattributes.load(folder).over not in ("", "done"):
        return None
    times, delivered = RunTimes(), 0
    for entry in read_journal(folder.journal, MAX_COMPARED_BYTES):
        times.take(entry, entry.moment.timestamp())
        delivered += entry.type == "page_delivered"
    seconds = times.seconds()
    # Too few pages: their time is mostly that of the start.
    if delivered < 3 or seconds <= 0:
        return None
    return seconds / delivered * (dpi / spec.settings.dpi)


def submit_upload(context: RunContext, document: Path, user: str) -> Submitted:
    """Queue an uploaded document as a job of this user. Raises UserError.

    The same document with the same settings is one job. If it is another user's, this one gets a job of
    its own, under another name: no user sees that another one has the document.
    """
    stem, name = document.stem, stem_of(user.rpartition(":")[2])[:40]
    # The last one is random: another user may have given just the name before to the same document.
    for suffix in ("", f"-{name}", f"-{secrets.token_hex(6)}"):
        # Another name makes another job: the name of a job begins with that of its document.
        named = document.with_name(f"{stem}{suffix}.pdf")
        if named != document:
            document = document.rename(named)
        # The next name is tried.
        with contextlib.suppress(OwnedByAnother):
            return _submit(context, document, user)
    raise AssertionError("a random name is another user's")


def _submit(context: RunContext, document: Path, user: str) -> Submitted:
    try:
        return submit(context, document, {"not_before": "", "after": ()}, only_of=user)
    except OwnedByAnother:
        raise
    except UserError as error:
        raise _without_path(error, document) from None
