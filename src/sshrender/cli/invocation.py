"""One invocation of ``render``: settings, hosts and streams, and the jobs that run with them."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sshrender.cli import errorlog
from sshrender.cli.jobstore import deadline_of, on_san, own_san, san_of, whoami
from sshrender.config import inventory as inv
from sshrender.config import pins, recipes
from sshrender.config.mailaddresses import MAX_LENGTH as MAX_ADDRESSES
from sshrender.config.mailaddresses import are_addresses
from sshrender.config.paths import find_inventory
from sshrender.config.settingnames import option
from sshrender.config.settings import Resolved, Settings, resolve, wishes
from sshrender.config.validation import invalid
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.plan import HostSetup, RenderRequest, RunLimits
from sshrender.core.policy import HostPlan, Policy
from sshrender.document.facts import read_password
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.job import delivery, requests
from sshrender.job.attributes import Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec, RecipeRecord, safe_stem
from sshrender.renderers.devices import DEVICES
from sshrender.transports.protocol import Transport
from sshrender.views.reporter import Reporter

if TYPE_CHECKING:
    from sshrender.cli.assembly import Assembly
    from sshrender.coordinator.outcome import Outcome
    from sshrender.coordinator.pagecountprobe import PageCountProbe
    from sshrender.coordinator.plan import JobPlan


@dataclass(frozen=True, slots=True)
class Resumption:
    """A job that is there, and is to go on. ``output``: where to deliver it; None: nowhere."""

    folder: JobFolder
    spec: JobSpec
    output: Path | None
    is_from_queue: bool = False
    known_dead: str = ""


HERE = "localhost"
"""The name of this machine where no inventory names any."""


@dataclass(slots=True)
class Invocation:
    """What all documents of one command line share."""

    resolved: Resolved
    san: Path
    hosts: list[HostSetup]
    reporter: Reporter
    inventory: list[inv.HostTable] = field(default_factory=list)
    on_job: Callable[[JobFolder], None] | None = None
    """Told as soon as a document has a job."""

    @property
    def settings(self) -> Settings:
        """What was wanted."""
        return self.resolved.settings

    @classmethod
    def start(
        cls,
        typed: dict[str, Any],
        config: Path | None,
        *,
        wants_json: bool,
        job: Mapping[str, Any] | None = None,
    ) -> Invocation:
        """``job``: the wishes of a job that is there. Raises UserError before anything is touched."""
        resolved = resolve(typed, config, job=job)
        settings = resolved.settings
        reporter = Reporter(
            sys.stderr,
            progress=settings.progress,
            quiet=settings.quiet,
            verbose=settings.verbose,
            color=settings.color,
            is_json=wants_json,
            log=errorlog.record,
        )
        asked = (job or {}).get("mail_to")
        if asked is not None and not are_addresses(asked):
            reporter.remark(f"no mail to {str(asked)[:MAX_ADDRESSES]}: that is no address")
        file = find_inventory(settings.hosts)
        if file is None:
            for name, value in (("--on", settings.on), ("--avoid", settings.avoid)):
                if value is not None:
                    raise invalid([f"{name} {value}: there is no inventory to select from"])
            san = (settings.san or own_san()).absolute()
            return cls(resolved, san, [_this_machine(san, settings)], reporter)
        inventory = inv.load(file)
        san = (settings.san or san_of(inventory, file)).absolute()
        chosen = inv.select(inv.expand(inventory), settings.on, settings.avoid)
        hosts = [_host_setup(host, inventory, san, settings) for host in chosen]
        return cls(resolved, san, hosts, reporter, chosen)

    def render(self, source: Path, *, is_only: bool) -> tuple[int, dict[str, Any]]:
        """One document, from start to summary: (exit code, summary)."""
        if not is_only:
            self.reporter.speak_for(source.stem)
        reading = Reading()
        try:
            return self._render(source, reading, is_only)
        except UserError as error:
            self.reporter.error(error)
            return error.code, self.reporter.failure(source, error)
        finally:
            reading.close()

    def _render(self, source: Path, reading: Reading, is_only: bool) -> tuple[int, dict[str, Any]]:
        from sshrender.coordinator.jobopening import open_job

        wanted = self.wanted(source, is_only)
        until = deadline_of(self.settings)
        looks_done = on_san(self.san, lambda: _looks_done(self.san, source), until)
        return self._see_to_the_end(
            source.stem, looks_done, lambda: open_job(wanted, reading, self.inspection(wanted))
        )

    def resume(self, order: Resumption) -> tuple[int, dict[str, Any]]:
        """A job that is there, to its end: (exit code, summary)."""
        from sshrender.coordinator.jobopening import reopen_job

        reading = Reading()
        try:
            settings = order.spec.settings
            require_allowed(self.settings, order.spec.name, settings.recipes)
            _check_assembly(self.settings, settings.recipes, settings.device)
            wanted = self._wanted_again(order)
            return self._see_to_the_end(
                order.spec.name, False, lambda: reopen_job(wanted, reading, order.folder, order.spec)
            )
        except UserError as error:
            if not (order.is_from_queue and error.code == ExitCode.LEASE):
                self.reporter.error(error)  # that another looks after it is what the queue is for
            return error.code, self.reporter.failure(Path(order.spec.document.name), error)
        finally:
            reading.close()

    def _see_to_the_end(
        self, label: str, looks_done: bool, open_: Callable[[], JobPlan]
    ) -> tuple[int, dict[str, Any]]:
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        links = ConnectionPool(self.hosts, label, inbox, is_mixed=self.settings.mixed)
        if not looks_done:
            links.begin(self.hosts)
        try:
            outcome, plan, assembly = self._see_through(open_, links, inbox)
        finally:
            links.close()
        summary = outcome.as_json()
        if assembly is not None:
            self._add(assembly, summary)
        code = summary["exit_code"]
        self._tell("the summary cannot be shown", lambda: self.reporter.summary(summary, code))
        if outcome.is_over or not plan.is_from_queue:
            self._notify(summary)
        return summary["exit_code"], summary

    def _add(self, assembly: Assembly, summary: dict[str, Any]) -> None:
        """What became of the file that is made of all pages."""
        summary["assembled"] = assembly.path
        if assembly.lacks:
            self.reporter.remark(assembly.lacks)
        if assembly.error is not None:
            self.reporter.error(assembly.error)
            summary |= {"exit_code": int(assembly.error.code), "reason": assembly.error.what}

    def _notify(self, summary: Mapping[str, Any]) -> None:
        """Tell all who want to know how it went, unless a signal has stopped it."""
        from sshrender.coordinator import notification
        from sshrender.views.summary import lines

        settings = self.settings
        if summary["exit_code"] > 128:
            return
        command, to, say = settings.on_done, settings.mail_to, self.reporter.remark
        if command:
            self._tell("on_done was not run", lambda: notification.run(command, summary, say))
        if to and (summary["exit_code"] or settings.mail_when == "always"):
            self._tell(f"no mail to {to}", lambda: notification.mail(to, summary, lines(summary), say))

    def _tell(self, failure: str, tell: Callable[[], None]) -> None:
        """The one place where a run's result is told: what goes wrong with that is no result."""
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - pages are there, or not, whatever this is
            self.reporter.failed_to(failure, error)

    def dry_run(self, source: Path, *, is_only: bool) -> tuple[int, dict[str, Any]]:
        """What a render of this document would do: (exit code, plan). The plan is printed, too."""
        from sshrender.cli import dryrun

        reading = Reading()
        try:
            wanted = self.wanted(source, is_only)
            return dryrun.show(self, wanted, reading)
        except UserError as error:
            self.reporter.error(error)
            return error.code, self.reporter.failure(source, error)
        finally:
            reading.close()

    def wanted(self, source: Path, is_only: bool, **attributes: Any) -> RenderRequest:
        """What is wanted of a document, and of its job by ``attributes``. Raises UserError."""
        settings = self.settings
        chosen = _recipes(settings)
        _check_assembly(settings, chosen, settings.device)
        output = output_of(settings.output, source, is_only)
        fields = {
            **delivery.recorded(output, self.san),
            "wishes": wishes(self.resolved),
            **self._rank(),
            **attributes,
        }
        return self._wanted(
            source=source,
            output=output,
            device=settings.device,
            dpi=settings.dpi,
            pages=settings.pages,
            split=settings.split,
            recipes=chosen,
            attributes=_attributes(fields),
            changes=fields,
        )

    def _wanted_again(self, order: Resumption) -> RenderRequest:
        """Of a job that is there: what was typed now changes it for those who come later, too."""
        typed = {key for key, origin in self.resolved.origins.items() if origin == option(key)}
        asked = {key: value for key, value in wishes(self.resolved).items() if key in typed}
        ranked = {key: value for key, value in self._rank().items() if key in typed}
        output, named = order.output, self.settings.output
        if "output" in typed and named is not None:
            output = named.absolute()
            ranked |= delivery.recorded(output, self.san)
        return self._wanted(
            source=order.folder.source,
            output=output or order.folder.pages,
            changes=ranked,
            wished=asked,
            is_delivered_as_asked="output" not in ranked,
            is_from_queue=order.is_from_queue,
            known_dead=order.known_dead,
        )

    def _wanted(self, **fields: Any) -> RenderRequest:
        """With what holds for every document."""
        settings = self.settings
        password = read_password(settings.password_file) if settings.password_file else None
        names = {host.plan.name for host in self.hosts}
        return RenderRequest(
            san=self.san,
            password=password,
            limits=RunLimits(settings.page_timeout, settings.page_memory),
            policy=self._policy(),
            strict=settings.strict,
            has_overview=settings.overview,
            pins=pins.check(map(pins.parse, settings.pin), names),
            remark=self.reporter.remark,
            **fields,
        )

    def _rank(self) -> dict[str, Any]:
        """The job's place among others, as far as somebody says something of that."""
        keys = [key for key in ("priority", "limit") if self.resolved.origins[key] != "default"]
        return {key: getattr(self.settings, key) for key in keys}

    def inspection(self, wanted: RenderRequest) -> PageCountProbe:
        """Who is asked how many pages a damaged document has."""
        from sshrender.coordinator.pagecountprobe import PageCountProbe

        return PageCountProbe(self.hosts, wanted.password, wanted.limits)

    def _see_through(
        self, open_: Callable[[], JobPlan], links: ConnectionPool, inbox: queue.SimpleQueue[Any]
    ) -> tuple[Outcome, JobPlan, Assembly | None]:
        from sshrender.cli.assembly import Assembly
        from sshrender.coordinator.jobrun import see_through

        plan = on_san(self.san, open_, deadline_of(self.settings))
        if self.on_job is not None:
            self.on_job(plan.folder)
        kind = self.settings.assemble
        assembly = None if kind is None else Assembly(plan, kind)
        finish = (lambda outcome, fence: None) if assembly is None else assembly.make
        with self.reporter.showing(plan.spec.name) as view:
            outcome = see_through(plan, self.hosts, view, links, inbox, finish)
        if plan.has_overview and outcome.code != ExitCode.STORAGE:
            self._write_overview(plan)
        return outcome, plan, assembly

    def _write_overview(self, plan: JobPlan) -> None:
        """An extra: that it cannot be written is said, and spoils nothing."""
        from sshrender.coordinator import overview

        def write() -> None:
            try:
                on_san(self.san, lambda: overview.write(plan.folder, plan.spec))
            except UserError as error:
                self.reporter.remark(f"no overview: {error.what}")

        self._tell("no overview", write)

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


def _attributes(fields: dict[str, Any]) -> Attributes:
    """Of a new job. Raises UserError for text that none can hold, as a file's name may be."""
    # Requests of an earlier job of this name are none of this one's. A day: clocks differ.
    before = requests.floor(time.time() - 86400)
    try:
        return Attributes(owner=whoami(), handled_before=before).changed(**fields)
    except ValueError:
        raise invalid(["a job keeps its settings as UTF-8, and one of these is no such text"]) from None


def _recipes(settings: Settings) -> tuple[RecipeRecord, ...]:
    """What draws, in order; nothing where only Ghostscript does. Raises UserError."""
    names = recipes.chain(settings.recipe, settings.fallback, settings.recipes)
    try:
        found = [RecipeRecord.of(fields) for fields in recipes.as_sent(names, settings.recipes)]
    except ValidationError as error:
        words = "; ".join(str(problem["msg"]) for problem in error.errors())
        raise invalid([f"recipe {', '.join(names)}: {words}"]) from None
    made = {recipe.extension or DEVICES[settings.device].extension for recipe in found}
    if len(made) > 1:
        raise invalid([f"{', '.join(names)} make files of different kinds: {', '.join(sorted(made))}"])
    return tuple(found)


def require_allowed(settings: Settings, job: str, found: tuple[RecipeRecord, ...]) -> None:
    """Raises UserError where the site runs configured recipes only, and a job brings another one."""
    if settings.recipes_allowed == "signed":
        return
    known = {*settings.recipes, *recipes.SHIPPED}
    for recipe in found:
        if recipe.is_built_in:
            continue
        sent = recipes.as_sent([recipe.name], settings.recipes) if recipe.name in known else []
        if not any(RecipeRecord.of(fields) == recipe for fields in sent):
            raise UserError(
                ExitCode.USAGE,
                f"recipe {recipe.name} of {job} is not in the configuration of this machine,"
                " and recipes_allowed is configured",
                "sshrender config show lists the recipes that may run here",
            )


def _check_assembly(settings: Settings, recipes_: tuple[RecipeRecord, ...], device: str) -> None:
    """Raises UserError where the pages will be nothing that the file could hold."""
    from sshrender.job.assembly.assemble import can_hold

    made = [recipe.format for recipe in recipes_ if not recipe.is_built_in]
    format_ = made[0] if made else DEVICES[device].format
    if settings.assemble is not None and not can_hold(settings.assemble, format_):
        raise invalid([f"--assemble {settings.assemble}: it holds no {format_}; zip and cbz hold all"])


def _looks_done(san: Path, source: Path) -> bool:
    """Whether an earlier run finished a job of such a document: then no host may be needed."""
    return any(san.glob(f"{safe_stem(source.stem)}-????????/manifest.json"))


def output_of(named: Path | None, source: Path, is_only: bool) -> Path:
    """``-o DIR`` itself for one document, a folder in it for each of several."""
    own = f"{source.stem}-pages"
    if named is None:
        return Path(own).absolute()
    return named.absolute() if is_only else named.absolute() / own


def _this_machine(san: Path, settings: Settings) -> HostSetup:
    from sshrender.transports.local import LocalTransport

    return HostSetup(
        plan=HostPlan(HERE, ignores_load=True),
        transport=LocalTransport(),
        san=str(san),
        sandbox=settings.sandbox,
    )


def _host_setup(
    host: inv.HostTable, inventory: inv.Inventory, san: Path, settings: Settings
) -> HostSetup:
    return HostSetup(
        plan=HostPlan(
            host.name, host.slots, host.idle_below, host.busy_above, is_carried=host.san is False
        ),
        transport=_transport(host, settings),
        san=_seen_san(host, inventory, san),
        scratch=host.scratch,
        python=host.python,
        ghostscript=host.ghostscript,
        sandbox=host.sandbox or settings.sandbox,
        connect_timeout=host.connect_timeout,
    )


def _seen_san(host: inv.HostTable, inventory: inv.Inventory, san: Path) -> str | None:
    """Where a host sees the SAN: as it says, as the inventory says, as this machine does."""
    if host.san is False:
        return None
    if host.san is not None:
        return host.san
    return str(inventory.san.path if inventory.san is not None else san)


def _transport(host: inv.HostTable, settings: Settings) -> Transport:
    from sshrender.transports.ssh import SshTransport
    from sshrender.transports.sshconfig import Overrides

    return SshTransport(
        host.name,
        Overrides(
            address=host.address,
            port=host.port,
            user=host.user,
            identity_file=host.identity_file,
            known_hosts=host.known_hosts,
            host_key=host.host_key,
            config_file=str(settings.ssh_config) if settings.ssh_config else None,
        ),
    )
