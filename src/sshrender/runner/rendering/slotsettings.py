"""What the slots of a host render with: the job's settings as the coordinator sent them.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from sshrender.renderers import ghostscript
from sshrender.renderers.recipe import Recipe
from sshrender.runner.host import memorylimits
from sshrender.runner.host.rasterfolders import RasterFolders
from sshrender.runner.rendering.stripes import Helpers
from sshrender.runner.slots import slotlocks


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
