"""The settings, hosts and listener of one command, and the runs of jobs that use them.

This module prints nothing: remarks, errors, progress and summaries go to the listener.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshrender.api import commandlines
from sshrender.api.assembly import Assembly, require_kind
from sshrender.api.hostaccess import host_setup, this_machine
from sshrender.api.jobs import current_user, deadline_of, on_san, own_san, san_of
from sshrender.api.poolaccess import pool_setup
from sshrender.api.renderoptions import is_like_file, rendering_of, require_allowed
from sshrender.api.results import RenderResult
from sshrender.api.runevents import Listener, PauseView
from sshrender.api.summaryfiles import SummaryFiles
from sshrender.config import inventory as inv
from sshrender.config import pins
from sshrender.config.mailaddresses import MAX_LENGTH as MAX_ADDRESSES
from sshrender.config.mailaddresses import are_addresses
from sshrender.config.paths import find_inventory
from sshrender.config.settingnames import option
from sshrender.config.settings import Resolved, Settings, job_settings, resolve
from sshrender.config.validation import invalid
from sshrender.coordinator.hosts.handshake import blank_page
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.renderrequest import HostSetup, RenderRequest, RunLimits
from sshrender.core.policy import Policy
from sshrender.document.facts import others_may_read, read_password
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.storagepause import Pause
from sshrender.job.output import outputlocation
from sshrender.job.queue import requests
from sshrender.job.spec import JobSpec, safe_stem
from sshrender.process import startlimits
from sshrender.shellwords import path_word

if TYPE_CHECKING:
    from sshrender.coordinator.jobplan import JobPlan
    from sshrender.coordinator.outcome import Outcome
    from sshrender.coordinator.pagecountprobe import PageCountProbe
    from sshrender.coordinator.pilots.pool import PoolSetup


COMMAND_LINES = 2
"""How many -v make the command lines visible."""

FAILED = "failed: "
"""The first word of the stage of a document that cannot be opened (RunContext.on_stage)."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """An existing job that shall continue. ``output``: where to deliver; None: only into its folder.

    ``is_from_queue``: run it only if it still waits in the queue. ``known_dead``: a lease that the queue
    has seen unchanged for long enough (job/lease.py, take).
    """

    folder: JobFolder
    spec: JobSpec
    output: Path | None
    is_from_queue: bool = False
    known_dead: str = ""


@dataclass(slots=True)
class RunContext:
    """The data that all documents of one command share."""

    resolved: Resolved
    san: Path
    hosts: list[HostSetup]
    listener: Listener
    inventory: list[inv.HostTable] = field(default_factory=list)
    pools: list[PoolSetup] = field(default_factory=list)
    unused_pools: list[PoolSetup] = field(default_factory=list)
    on_job: Callable[[JobFolder], None] | None = None
    """Called as soon as a document has a job."""
    on_stage: Callable[[str, str], None] | None = None
    """Called with a document's file name and what is being done to open its job."""
    on_pause: Callable[[JobFolder, Pause | None], None] | None = None
    """Called when a pause of a run begins, and with None when it ends."""
    password: str | None = field(default=None, repr=False)
    """The document's password, if it is in no file."""

    @property
    def settings(self) -> Settings:
        """Return the settings in force."""
        return self.resolved.settings

    @classmethod
    def start(
        cls,
        typed: Mapping[str, Any],
        config: Path | None,
        listener_for: Callable[[Settings], Listener],
        *,
        job: Mapping[str, Any] | None = None,
    ) -> RunContext:
        """Resolve settings and hosts; touch nothing yet. Raises UserError.

        ``typed``: the options that the user gave, by setting. ``job``: the settings of an existing job.
        ``listener_for`` makes the listener once the settings are known.
        """
        # Before the first thread: threading.Thread.start() never returns if the new thread dies of
        # MemoryError before it reports that it runs.
        startlimits.require_memory()
        resolved = resolve(dict(typed), config, job=job)
        settings = resolved.settings
        listener = listener_for(settings)
        # The address comes from the job's file, which another release may have written.
        address = (job or {}).get("mail_to")
        if address is not None and not are_addresses(address):
            listener.print_line(f"no mail to {str(address)[:MAX_ADDRESSES]}: this is not a mail address")
        _warn_of_password_file(settings, listener)
        if settings.output is not None and not settings.quiet and is_like_file(settings.output):
            listener.print_line(f"note: {settings.output} is a folder here; --assemble makes one file")
        file = find_inventory(settings.hosts)
        if file is None:
            _require_no_selection(settings)
            # Without an inventory the jobs are in the user's own folder, which is made here.
            san = (settings.san or own_san()).absolute()
            return cls(resolved, san, [this_machine(san, settings)], listener)
        inventory = inv.load(file)
        san = (settings.san or san_of(inventory, file)).absolute()
        names = [pool.name for pool in inventory.pools]
        chosen = inv.select(inv.expand(inventory), settings.on, settings.avoid, names)
        # With --engine only pools are wanted, so the hosts are left out.
        chosen = [] if settings.engine is not None else chosen
        hosts = [host_setup(host, inventory, san, settings) for host in chosen]
        entries = inv.select_pools(inventory.pools, settings.on, settings.avoid, settings.engine)
        pools, unused = (
            [pool_setup(pool, inventory, san, settings) for pool in some]
            for some in (entries, [each for each in inventory.pools if each not in entries])
        )
        return cls(resolved, san, hosts, listener, chosen, pools, unused)

    @staticmethod
    def leave_reader_to_child() -> None:
        """Drop the process that reads the document: after a fork it belongs to the child."""
        from sshrender.document import readerprocess

        readerprocess.forget()

    def require_key(self) -> None:
        """Load the key that signs this user's jobs, or make one. Raises UserError if it is unusable.

        If no file can be written, the key stays in memory: a process that runs its jobs itself needs no
        file, but no other process can use these jobs.
        """
        from sshrender.config import keyfile

        try:
            keyfile.load_or_make()
        except keyfile.NoPlace as error:
            keyfile.keep_in_memory()
            self.listener.print_line(f"only this run can use its jobs: {error.what}; hint: {error.hint}")

    def render(self, source: Path, *, is_only: bool) -> RenderResult:
        """Render one document, from its job's creation to the summary.

        ``is_only``: no other document is rendered by this command.
        """
        # With several documents each line begins with its document.
        if not is_only:
            self.listener.label_lines(source.stem)
        reading = Reading()
        try:
            return self._render(source, reading, is_only)
        except UserError as error:
            self._tell_stage(source.name, FAILED + error.what)
            self.listener.error(error)
            return RenderResult.failure(source, error)
        finally:
            # Also after an error: the reader of the document is another process.
            reading.close()

    def _render(self, source: Path, reading: Reading, is_only: bool) -> RenderResult:
        from sshrender.coordinator.jobopening import open_job

        request = self.request(source, is_only)
        until = deadline_of(self.settings)
        # A quick look at the folder; the answer only decides whether to connect early.
        looks_done = on_san(self.san, lambda: _looks_done(self.san, source), until)
        return self._complete(
            source.stem,
            looks_done,
            lambda: open_job(request, reading, self.page_count_probe(request)),
            blank_page(request),
        )

    def resume(self, order: Resumption) -> RenderResult:
        """Run an existing job until it ends."""
        from sshrender.coordinator.jobopening import reopen_job

        reading = Reading()
        try:
            settings = order.spec.settings
            require_allowed(
                self.settings,
                order.spec.name,
                settings.recipes,
                settings.dpi,
                settings.appearance,
            )
            require_kind(self.settings, settings.recipes, settings.device)
            request = self._resume_request(order)
            return self._complete(
                order.spec.name,
                False,
                lambda: reopen_job(request, reading, order.folder, order.spec),
                blank_page(settings),
            )
        except UserError as error:
            # The queue expects that another coordinator may have taken the job first.
            if not (order.is_from_queue and error.code == ExitCode.LEASE):
                self.listener.error(error)
            return RenderResult.failure(Path(order.spec.document.name), error)
        finally:
            reading.close()

    def _complete(
        self,
        label: str,
        looks_done: bool,
        open_: Callable[[], JobPlan],
        blank: tuple[str, str] | None,
    ) -> RenderResult:
        """Connect, open the job, run it, and report its end to the listener, by mail and by command.

        ``looks_done``: no page may be left to render, so connections are not opened in advance.
        ``blank``: see ConnectionPool.begin.
        """
        # One inbox for the whole run: connections that are opened now post into it before the loop
        # exists.
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        connections = ConnectionPool(
            self.hosts, label, inbox, is_mixed=self.settings.mixed, has_pools=bool(self.pools)
        )
        # Handshakes take time: they run while the document is read and the job is opened.
        if not looks_done:
            connections.begin(self.hosts, blank)
        try:
            outcome, plan, assembly = self._run(open_, connections, inbox)
        finally:
            # In any case: a host that is connected holds a runner.
            connections.close()
        summary = outcome.as_json()
        if assembly is not None:
            self._add(assembly, summary)
        # Overview and statistics come after the run, so that an error in them affects no page.
        summary |= SummaryFiles(self.settings, self.listener).add(plan, summary)
        code = summary["exit_code"]
        self._report("the summary cannot be shown", lambda: self.listener.summary(summary, code))
        # A job of the queue that has not ended is tried again: only its end is worth a mail.
        if outcome.is_over or not plan.request.is_from_queue:
            self._notify(summary)
        return RenderResult(code, summary, None if assembly is None else assembly.error)

    def _add(self, assembly: Assembly, summary: dict[str, Any]) -> None:
        """Add the result of ``--assemble`` to the summary."""
        summary["assembled"] = assembly.path
        if assembly.lacks:
            self.listener.print_line(assembly.lacks)
        if assembly.error is not None:
            self.listener.error(assembly.error)
            summary |= {"exit_code": int(assembly.error.code), "reason": assembly.error.what}

    def _notify(self, summary: Mapping[str, Any]) -> None:
        """Run ``on_done`` and send mail as the settings say, unless a signal has ended the run."""
        from sshrender.coordinator import notification
        from sshrender.views.summary import lines

        settings = self.settings
        if summary["exit_code"] > 128:  # the user stopped it, and knows
            return
        command, to, say = settings.on_done, settings.mail_to, self.listener.print_line
        if command:
            # Separately: if one of the two fails, the other is still done.
            self._report("on_done was not run", lambda: notification.run(command, summary, say))
        if to and (summary["exit_code"] or settings.mail_when == "always"):
            self._report(f"no mail to {to}", lambda: notification.mail(to, summary, lines(summary), say))

    def _report(self, failure: str, report: Callable[[], None]) -> None:
        """Call ``report``. An error in it goes to the listener, and does not change the run's result."""
        try:
            report()
        except Exception as error:  # noqa: BLE001 - what was delivered does not depend on it
            self.listener.report_defect(failure, error)

    def request(self, source: Path, is_only: bool, **attributes: Any) -> RenderRequest:
        """Return the request to render a document. ``attributes``: of its job. Raises UserError."""
        settings = self.settings
        how = rendering_of(settings)
        require_kind(settings, how.recipes, settings.device)
        output = output_of(settings.output, source, is_only)
        fields = {
            **outputlocation.recorded(output, self.san),
            "wishes": job_settings(self.resolved),
            **self._rank(),
            **attributes,
        }
        return self._complete_request(
            source=source,
            output=output,
            device=settings.device,
            dpi=how.dpi,
            appearance=how.appearance,
            options=how.taken.options,
            profiles=how.taken.profiles,
            profile_name=how.taken.output_name,
            pages=settings.pages,
            split=settings.split,
            recipes=how.recipes,
            encoder=how.encoder,
            attributes=_attributes(fields),
            changes=fields,
        )

    def _resume_request(self, order: Resumption) -> RenderRequest:
        """Return the request to continue an existing job. Raises UserError.

        Options of this command are written into the job, so that later runs use them, too.
        """
        # Only options of this command line: what a file of this machine says must not change another
        # one's job.
        typed = {key for key, origin in self.resolved.origins.items() if origin == option(key)}
        changed = {key: value for key, value in job_settings(self.resolved).items() if key in typed}
        ranked = {key: value for key, value in self._rank().items() if key in typed}
        output, named = order.output, self.settings.output
        # Relative to the folder in which the user typed it.
        if "output" in typed and named is not None:
            output = named.absolute()
            ranked |= outputlocation.recorded(output, self.san)
        return self._complete_request(
            source=order.folder.source,
            output=output or order.folder.pages,
            changes=ranked,
            job_settings=changed,
            is_delivered_as_asked="output" not in ranked,
            is_from_queue=order.is_from_queue,
            known_dead=order.known_dead,
        )

    def _complete_request(self, **fields: Any) -> RenderRequest:
        """Complete a request with the settings that are the same for every document."""
        settings = self.settings
        # Read once and kept in memory; it is in no file of the job.
        password = self.password
        if password is None and settings.password_file:
            password = read_password(settings.password_file)
        # A job of the queue: only its submitter decides, not this machine's settings.
        may_replace = settings.overwrite and not fields.get("is_from_queue")
        names = {host.plan.name for host in self.hosts}
        return RenderRequest(
            san=self.san,
            password=password,
            limits=RunLimits(settings.page_timeout, settings.page_memory),
            policy=self._policy(),
            strict=settings.strict,
            has_overview=settings.overview or settings.overview_embed,
            may_replace=may_replace,
            assemble=settings.assemble or "",
            pins=pins.check(map(pins.parse, settings.pin), names),
            remark=self.listener.print_line,
            stage=partial(self._tell_stage, fields["source"].name),
            **fields,
        )

    def _tell_stage(self, document: str, words: str) -> None:
        if self.on_stage is not None:
            self.on_stage(document, words)

    def _rank(self) -> dict[str, Any]:
        """Return the job's priority and limit, as far as an option, variable or file sets them."""
        # A default is not recorded, so the job follows what a later command sets.
        keys = [key for key in ("priority", "limit") if self.resolved.origins[key] != "default"]
        return {key: getattr(self.settings, key) for key in keys}

    def page_count_probe(self, request: RenderRequest) -> PageCountProbe:
        """Return what asks the hosts for the page count of a damaged document."""
        from sshrender.coordinator.pagecountprobe import PageCountProbe

        return PageCountProbe(self.hosts, request.password, request.limits)

    def _run(
        self, open_: Callable[[], JobPlan], connections: ConnectionPool, inbox: queue.SimpleQueue[Any]
    ) -> tuple[Outcome, JobPlan, Assembly | None]:
        from sshrender.coordinator.jobrun import run_job
        from sshrender.coordinator.runcomponents import RunResources

        # From here on the job exists: what fails later is found by resume.
        plan = on_san(self.san, open_, deadline_of(self.settings))
        if self.on_job is not None:
            self.on_job(plan.folder)
        # Only with -vv, because a farm has hundreds of lines.
        if self.settings.verbose >= COMMAND_LINES:
            for line in (
                *commandlines.of_connections(self.hosts, plan.spec.name),
                *commandlines.of_renderers(self.hosts, plan),
            ):
                self.listener.print_line(line)
        kind = self.settings.assemble
        assembly = None if kind is None else Assembly(plan, kind)
        # Run under the job's lease: a job whose file cannot be made is not finished.
        finish = (lambda _outcome, _fence: None) if assembly is None else assembly.make
        with self.listener.showing(plan.spec.name) as view:
            shown = (
                view if self.on_pause is None else PauseView(view, partial(self.on_pause, plan.folder))
            )
            resources = RunResources(
                self.hosts, connections, inbox, shown, self.pools, self.unused_pools
            )
            outcome = run_job(plan, resources, finish)
        return outcome, plan, assembly

    def _policy(self) -> Policy:
        settings = self.settings
        return replace(
            Policy(),
            retries=settings.retries,
            wait=settings.wait,
            deadline=deadline_of(settings),
            page_timeout=settings.page_timeout,
            hedge=settings.hedge,
            is_mixed=settings.mixed,
        )


def _warn_of_password_file(settings: Settings, listener: Listener) -> None:
    """Warn of a password file that others can read, unless only failures are to be printed.

    The file is used anyway: scripts write such files with the permissions that umask gives them.
    """
    path = settings.password_file
    if path is not None and not settings.quiet and others_may_read(path):
        listener.print_line(
            f"warning: other users can read the password in {path}; hint: chmod 600 {path_word(path)}"
        )


def _require_no_selection(settings: Settings) -> None:
    """Raise UserError for options that select from an inventory: there is none.

    To ignore them would render elsewhere.
    """
    named = {"--on": settings.on, "--avoid": settings.avoid, "--engine": settings.engine}
    for name, value in named.items():
        if value is not None:
            what = f"{name} {value}: there is no inventory to select from"
            # A node set may have a dot, but hardly this suffix.
            is_file = value.endswith(".toml")
            hint = f"{name} takes names; to read an inventory: --hosts {path_word(value)}"
            raise UserError(ExitCode.USAGE, what, hint if is_file else "sshrender init")


def _attributes(fields: dict[str, Any]) -> Attributes:
    """Return the attributes of a new job. Raises UserError for text that is not UTF-8."""
    # Requests to an earlier job of the same name must not reach this one. A day: clocks differ.
    before = requests.floor(time.time() - 86400)
    try:
        return Attributes(owner=current_user(), handled_before=before).changed(**fields)
    except ValueError:
        what = "a job stores its settings as UTF-8, and one of these is not UTF-8"
        raise invalid([what], "sshrender config show") from None


# The manifest is written at the end of a run; eight characters are the digest in a job's name.
def _looks_done(san: Path, source: Path) -> bool:
    """Return whether an earlier run finished a job of this document: then no host may be needed."""
    return any(san.glob(f"{safe_stem(source.stem)}-????????/manifest.json"))


def output_of(named: Path | None, source: Path, is_only: bool) -> Path:
    """Return the output folder: ``-o DIR`` for a single document, a folder in it for each of several."""
    own = f"{source.stem}-pages"
    if named is None:
        return Path(own).absolute()
    return named.absolute() if is_only else named.absolute() / own
