"""``--assemble``: makes one file of all pages, as a step of a job's run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from sshrender.errors import ExitCode, NeedsUser, UserError
from sshrender.views.text import count

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.coordinator.jobplan import JobPlan
    from sshrender.coordinator.outcome import Outcome
    from sshrender.job.spec import RecipeRecord


def require_kind(settings: Settings, recipes: tuple[RecipeRecord, ...], device: str) -> None:
    """Raise UserError if the file of ``--assemble`` cannot hold pages of this format."""
    if settings.assemble is None:
        return
    from sshrender.config.validation import invalid
    from sshrender.job.assembly.assemble import can_hold
    from sshrender.renderers.devices import DEVICES

    made = [recipe.format for recipe in recipes if not recipe.is_built_in]
    format_ = made[0] if made else DEVICES[device].format
    if not can_hold(settings.assemble, format_):
        raise invalid(
            [f"--assemble {settings.assemble}: it cannot hold {format_}; zip and cbz hold any format"],
            "sshrender config values assemble",
        )


class Assembly:
    """Makes the file ``name``. ``path`` is set when it is made, else ``lacks`` or ``error``."""

    def __init__(self, plan: JobPlan, kind: str) -> None:
        self.path: str | None = None
        self.lacks = ""
        self.error: UserError | None = None
        self.name = plan.delivery.assembled
        self._plan = plan
        self._kind = kind

    def make(self, outcome: Outcome, fence: Callable[[], None]) -> None:
        """Make the file if all pages are there. Raises UserError if the storage fails.

        The job is not finished then, and the next run tries again. Raises LeaseLost as ``fence`` does.
        """
        from sshrender.coordinator.storageerrors import run_error
        from sshrender.job.assembly.assemble import assemble
        from sshrender.job.assembly.pagereader import AssemblyFailed, PageChanged
        from sshrender.storage.hangguard import guarded_call

        # Both count: a page that failed and one that was never rendered would leave a gap in the file.
        lacking = outcome.pages["failed"] + outcome.pages["missing"]
        if lacking:
            self.lacks = f"no {self._kind} was made: {count(lacking, 'page')} missing"
            return
        plan, kind = self._plan, self._kind
        target = plan.output / self.name

        # assemble() calls it before each step that others see, so that a run that lost its lease or its
        # folder stops.
        def ensure() -> None:
            fence()
            plan.claim.require()

        pages, dpi = list(plan.history.pages.values()), plan.spec.settings.resolutions
        try:
            # Recorded first: after a crash in between, --overwrite can still replace the file.
            guarded_call(target.parent, lambda: plan.claim.note_assembled(self.name))
            guarded_call(target.parent, lambda: assemble(plan.folder, pages, target, kind, dpi, ensure))
            self.path = str(target)
        except OSError as error:
            raise run_error(error, plan.folder.path.parent, plan.output) from None
        except NeedsUser as refused:
            # The queue tries again: the obstacle may be gone by then.
            raise UserError(refused.code, refused.what, refused.hint) from None
        # A page was replaced after it was verified: the next run renders it again.
        except PageChanged as failed:
            what = f"{target} cannot be made: {failed}"
            hint = f"sshrender resume {shlex.quote(plan.spec.name)}"
            self.error = UserError(ExitCode.PARTIAL, what, hint)
        except AssemblyFailed as failed:
            what = f"{target} cannot be made: {failed}"
            self.error = UserError(ExitCode.PARTIAL, what, "--assemble zip takes any page")
