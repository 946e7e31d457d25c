"""The settings of a host's slots: those of the job, as the coordinator sent them.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from sshrender.renderers import ghostscript
from sshrender.renderers.constants import BWRAP
from sshrender.renderers.recipe import Recipe
from sshrender.runner import wire
from sshrender.runner.host import memorylimits
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.host.rasterfolders import RasterFolders, RasterRequest
from sshrender.runner.rendering.stripes import Helpers
from sshrender.runner.slots import slotlocks
from sshrender.runner.slots.taskqueue import TaskQueue


class SlotSettings(NamedTuple):
    """The settings that all slots of a runner share.

    ``folder``: the job's folder on this host. ``page_timeout``: seconds that one page may take.
    ``page_memory``: bytes that one renderer may use while it renders. ``recycle_pages`` and
    ``recycle_memory`` (bytes): after how much a warm renderer is replaced between two pages.
    ``is_eager``: start a renderer before the first page comes, because the host is idle.
    ``slots``: the slots of this host for all jobs, ``share``: this job's share of them.
    ``recipes``: the job's recipes by number; None stands for the warm Ghostscript.
    ``password_bytes``: the password as the document's encryption has it, for Ghostscript.
    ``epoch``: the coordinator's, which is part of each file name in ``work/``. ``page_fields``: fields
    of recipes that have the same value on every page. ``rasters``: where Ghostscript's rasters go; None:
    it writes the pages' files itself. ``recipe_rasters``: the same of a recipe's warm program.
    ``helpers``: encode large pages as well, on free slots. ``pages``: of the whole document; None: it
    was split.
    """

    setup: ghostscript.Setup
    folder: str
    password: Optional[str]
    page_timeout: float
    page_memory: int
    recycle_pages: int
    recycle_memory: int
    is_eager: bool
    guard: memorylimits.Guard
    slots: int
    share: slotlocks.JobShare
    recipes: Tuple[Optional[Recipe], ...] = ()
    is_sandboxed: bool = False
    epoch: int = 0
    page_fields: Tuple[Tuple[str, str], ...] = ()
    password_bytes: Optional[bytes] = None
    rasters: Optional[RasterFolders] = None
    recipe_rasters: Optional[RasterFolders] = None
    helpers: Optional[Helpers] = None
    pages: Optional[int] = None

    def process_setup(
        self, environ: Dict[str, str], inherited: Tuple[int, ...], writable: Tuple[str, ...] = ()
    ) -> ProcessSetup:
        """Return how a renderer of a slot runs that passes on these variables and descriptors."""
        return ProcessSetup(
            self.folder, environ, self.page_memory, self.is_sandboxed, inherited, writable
        )


class HostSlots(NamedTuple):
    """The slots of this host: the number for all jobs, and this job's share of them.

    ``is_idle`` says whether other people's load is low enough to start work.
    """

    total: int
    share: slotlocks.JobShare
    is_idle: Callable[[], bool]


class SlotParts(NamedTuple):
    """Objects that a slot shares with its renderers.

    ``lock`` guards what ``kill`` reads from another thread. ``may_continue`` tells whether the slot is
    sure to keep its lock for another page.
    """

    settings: SlotSettings
    tasks: TaskQueue
    post: wire.Wire
    environ: Dict[str, str]
    locks: slotlocks.SlotLocks
    lock: threading.Lock
    may_continue: Callable[[], bool]


def setup_of(request: Dict[str, Any], program: str) -> ghostscript.Setup:
    """Return how Ghostscript is started for the document of a request. ``program``: its name."""
    return ghostscript.Setup(
        program=program,
        device=request["device"],
        dpi=request["dpi"],
        document=request["file"],
        # Relative to the job's folder, which is the renderer's current folder.
        folder="work",
        output="",
        options=tuple(request.get("options", ())),
        tag=request.get("tag", ""),
        thumbnails=request.get("thumbnails") or "",
        files=tuple(request.get("files", ())),
        profile=tuple(request["profile"]) if request.get("profile") else None,
    )


def settings_of(
    request: Dict[str, Any],
    program: str,
    folder: str,
    recipes: List[Optional[Recipe]],
    slots: HostSlots,
    chunks: Callable[[ghostscript.Setup], Optional[bytes]] = lambda _setup: None,
) -> SlotSettings:
    """Return the settings of a ``prepare`` request. Raises KeyError, ValueError: a bad request.

    ``program``: Ghostscript's. ``chunks`` says what PNG files of Ghostscript contain before their
    pixels, if that is known.
    """
    settings = SlotSettings(
        setup=setup_of(request, program),
        folder=folder,
        password=request.get("password"),
        password_bytes=wire.password_bytes(request),
        page_timeout=float(request["page_timeout"]),
        page_memory=int(request["page_memory"]),
        recycle_pages=int(request["recycle_pages"]),
        recycle_memory=int(request["recycle_memory"]),
        # A recipe has no warm program to start, and on a busy host the first page may never come.
        is_eager=slots.is_idle() and not (recipes and recipes[0] is not None),
        guard=memorylimits.Guard(),
        slots=slots.total,
        share=slots.share,
        recipes=tuple(recipes),
        is_sandboxed=request.get("sandbox") == BWRAP,
        epoch=int(request.get("epoch") or 0),
        pages=request.get("pages"),
        page_fields=tuple(sorted(request.get("page_fields", {}).items())),
    )
    # After the others, because rasters depend on the number of slots and on the memory of a page.
    return settings._replace(
        rasters=_rasters(request.get("raster"), settings, chunks(settings.setup)),
        recipe_rasters=_rasters(request.get("recipe_raster"), settings),
        helpers=Helpers(*slots),
    )


def _rasters(
    wanted: Optional[Dict[str, Any]], settings: SlotSettings, chunks: Optional[bytes] = None
) -> Optional[RasterFolders]:
    """Return where rasters of this form go; None if the renderer writes the files itself."""
    if not wanted:
        return None
    form = RasterRequest(str(wanted["device"]), int(wanted["bits"]))
    return RasterFolders(form, settings.slots, settings.page_memory, chunks)
