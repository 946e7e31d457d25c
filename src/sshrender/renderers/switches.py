"""Checks switches of Ghostscript that a user adds (``--gs-option``), and knows what they do.

A switch that is allowed sets one parameter of the interpreter or the device. Those that decide safety,
files, the device, the resolution or which pages are rendered are refused, each with the reason: another
option does the same, or the program itself depends on the value. Sources: Use.htm and Devices.htm of
Ghostscript 10.00, and the names that Resource/Init/gs_init.ps, pdf_main.ps and gs_fapi.ps look up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sshrender.renderers.devices import Device

MAX_LENGTH = 1000
"""Characters of a switch."""

_SWITCH = re.compile(r"-([dDsS])([^=#]*)(?:[=#](.*))?", re.DOTALL)
"""``-dNAME=VALUE``; Ghostscript takes ``#`` for ``=``, and ``-D`` for ``-d`` (imainarg.c)."""

_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
"""All switches that set a parameter begin with a capital. A switch enters its name into systemdict,
where the operators, which the dialogue with Ghostscript needs, have names in small letters."""

# Names, numbers, numbers with a unit and radix numbers; nothing in brackets or braces.
_TOKEN = re.compile(
    r"true|false|null|/[A-Za-z][A-Za-z0-9_.-]*"
    r"|[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+|[kKmMgG])?|[0-9]{1,2}#[0-9A-Za-z]+"
)
"""Values of ``-d``. Ghostscript takes any PostScript token, a procedure included, which it would run."""

# Surrogates stand for bytes that are no UTF-8: such a text cannot be sent as JSON.
_CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")

MAX_DOWNSCALE = 8
"""Devices.htm: DownScaleFactor is 1 to 8; larger values are other ratios, of few devices."""

_SAFETY = "it decides what a document may do to the host"
_DIALOGUE = "it decides how Ghostscript starts, ends and prints, which this program depends on"
_RESOURCES = "it names files, which may differ on each host"

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            *("SAFER", "NOSAFER", "DELAYSAFER", "PARANOIDSAFER", "OLDSAFER", "NOSAFERERRORS"),
            *("SAFERERRORS", "SAFERUNDEFINEPOSTSCRIPTOPERATORS", "LOCKSAFETYPARAMS"),
            *("WRITESYSTEMDICT", "NOBIND", "DELAYBIND", "DOPS", "LOCKFILEPERMISSIONS", "SAFETY"),
            *("PERMITFILEREADING", "PERMITFILEWRITING", "PERMITFILECONTROL", "ALLOWPSTRANSPARENCY"),
            *("PSLEVEL1", "STARTUPMODE"),
        ),
        _SAFETY,
    ),
    **dict.fromkeys(
        (
            *("BATCH", "NOPAUSE", "NOPROMPT", "NOPAGEPROMPT", "TTYPAUSE", "QUIET", "SHORTERRORS"),
            *("JOBSERVER", "STRICT", "NOOUTERSAVE", "SSHRENDER", "ARGUMENTS", "INITFILES", "DEBUG"),
            *("INITDEBUG", "ESTACKPRINT", "OSTACKPRINT", "VMDEBUG", "PDFDEBUG", "PDFINFO", "GSVIEW"),
            *("EPSBOUNDINGBOXINIT", "NEWPDF", "DISABLEPAGEHANDLER", "PAGECOUNT", "VERBOSEERRORS"),
            *("STDIN", "STDERR", "BEGINPAGE", "ENDPAGE", "INSTALL", "LEVEL2DICT", "FONTDIRECTORY"),
            *("PDFSTEP", "PDFSTEPCOUNT", "DOPDFMARKS", "WAITTIMEOUT", "JOBTIMEOUT", "OUTPUTDEVICE"),
        ),
        _DIALOGUE,
    ),
    **dict.fromkeys(
        (
            *("FONTPATH", "FONTMAP", "LIBPATH", "GENERICRESOURCEDIR", "GENERICRESOURCEPATHSEP"),
            *("FONTRESOURCEDIR", "RESOURCEDIR", "CIDFSUBSTPATH", "CIDFONTPATH", "CIDFMAP"),
            *("FAPICONFIG", "FAPIFONTMAP", "FAPICIDFMAP", "FAPIDEBUG", "UFST_PLUGIN", "UFST_SSDIR"),
            *("FCOFONTFILE", "FCOFONTFILE2", "ICCPROFILESDIR", "SOURCEOBJECTICC", "TEMPDIR", "OCRPATH"),
            *("TESSDATA", "OCRLANGUAGE", "STARTUPGLOBAL", "INPUTFILE", "FILE"),
        ),
        _RESOURCES,
    ),
    **dict.fromkeys(
        ("OUTPUTFILE", "STDOUT", "OUTPUTDIR"),
        "the program names the files of pages itself; -o DIR says where they are delivered",
    ),
    **dict.fromkeys(
        ("DEVICE", "NODISPLAY", "PAGEDEVICENAME", "SUBDEVICE"), "--device NAME says what is written"
    ),
    **dict.fromkeys(
        ("DEVICEXRESOLUTION", "DEVICEYRESOLUTION", "HWRESOLUTION", "FIXEDRESOLUTION", "RESOLUTION"),
        "--dpi N or --dpi WxH sets the resolution",
    ),
    **dict.fromkeys(("DEVICEWIDTH", "DEVICEHEIGHT", "HWSIZE"), "--size WxHpx sets the size"),
    **dict.fromkeys(
        ("FIRSTPAGE", "LASTPAGE", "PAGELIST", "PDFPAGELIST", "NUMPAGES"), "--pages LIST selects pages"
    ),
    **dict.fromkeys(
        ("NUMCOPIES", "COPIES", "DUPLEX", "TUMBLE", "COLLATE"), "each page is one file, and not printed"
    ),
    **dict.fromkeys(
        ("PDFPASSWORD", "OWNERPASSWORD", "USERPASSWORD"),
        "passwords do not belong into a job's settings; --password-file FILE keeps them unseen",
    ),
    **dict.fromkeys(
        ("SYSTEMDICT", "USERDICT", "GLOBALDICT", "STATUSDICT", "ERRORDICT", "SERVERDICT"),
        "it is a dictionary of the interpreter",
    ),
}
"""The refused switches, in capitals, and why: a name in another case would only do nothing."""

_OTHER_FORMS = {
    "--permit": _SAFETY,
    "-r": "--dpi N or --dpi WxH sets the resolution",
    "-g": "--size WxHpx sets the size",
    "-o": "the program names the files of pages itself; -o DIR says where they are delivered",
    "-c": "it runs PostScript",
    "-f": "it names files, and the program names the document itself",
    "-I": _RESOURCES,
    "-q": _DIALOGUE,
    "-p": "only -d and -s set a parameter that a document cannot use to run PostScript",
    "@": _RESOURCES,
}
"""Other arguments of Ghostscript by how they begin (Use.htm), and why they are refused."""

_BOXES = {
    "UseBleedBox": "bleed",
    "UseTrimBox": "trim",
    "UseArtBox": "art",
    "UseCropBox": "crop",
}
"""The first of these that is on, and that a page has, decides (pdf_main.ps, newpdf_get_any_box)."""

BOX_SWITCHES = {box: "-d%s" % name for name, box in _BOXES.items()}

_ALPHA_BITS = frozenset(("TextAlphaBits", "GraphicsAlphaBits"))
"""With other values than 1, 2 and 4 Ghostscript ends with a rangecheck (measured, 10.00)."""

_OWN_SIZE = frozenset(
    (
        *("PDFFitPage", "FitPage", "PSFitPage", "EPSFitPage", "EPSCrop", "FIXEDMEDIA", "PAPERSIZE"),
        *("DEFAULTPAPERSIZE", "DEVICEWIDTHPOINTS", "DEVICEHEIGHTPOINTS", "NoUserUnit", "PageSize"),
        *("NORANGEPAGESIZE", "NOMEDIAATTRS", "ORIENT1", "Orientation", "MediaSize", "LeadingEdge"),
        *("PageOffset", "Margins", "RollFedMedia"),
    )
)
"""Switches after which the size of a page is not the one that the document states."""

OUTPUT_PROFILE = "OutputICCProfile"
"""The switch for the device's own profile, whose name PNG files contain."""

SHIPPED_PROFILES = frozenset(
    (
        *("a98.icc", "default_cmyk.icc", "default_gray.icc", "default_rgb.icc", "esrgb.icc"),
        *("gray_to_k.icc", "lab.icc", "ps_cmyk.icc", "ps_gray.icc", "ps_rgb.icc", "rommrgb.icc"),
        *("scrgb.icc", "sgray.icc", "srgb.icc"),
    )
)
"""The profiles that come with every Ghostscript: its folder iccprofiles/, on disk or compiled in."""


class Switch(NamedTuple):
    """A switch. ``kind``: d or s; ``value`` None: none was given, which is true or an empty text."""

    kind: str
    name: str
    value: str | None

    @property
    def is_on(self) -> bool:
        """Whether a switch of the kind on or off is on."""
        return self.value is None or self.value == "true"

    @property
    def is_profile(self) -> bool:
        """Whether its value names an ICC profile (Use.htm, ICC color parameters)."""
        return self.kind == "s" and self.name.endswith("Profile")


def parse(text: str) -> Switch:
    """Return the switch that ``text`` is. Raises ValueError with a sentence if it is not allowed."""
    # ascii(), cut: the text is the user's, and is printed to a terminal.
    shown = ascii(text[:60])[1:-1]
    match = _SWITCH.fullmatch(text)
    if match is None or len(text) > MAX_LENGTH:
        others = [why for form, why in _OTHER_FORMS.items() if text.startswith(form)]
        others.append("only -dNAME=VALUE and -sNAME=VALUE can be added")
        raise ValueError("%s is not allowed: %s" % (shown, others[0]))
    switch = Switch(match.group(1).lower(), match.group(2), match.group(3))
    # Names with a leading point are internal ones of the interpreter; they are refused under the same
    # name.
    refused = switch.name.upper().lstrip(".")
    # Before the test of the form, so that the reason is the specific one.
    if refused in REFUSED:
        raise ValueError("-%s%s is not allowed: %s" % (switch.kind, switch.name, REFUSED[refused]))
    if _NAME.fullmatch(switch.name) is None:
        raise ValueError("%s: a switch is named by a capital, letters and digits, as -dNAME" % shown)
    if _CONTROL.search(text) is not None:
        raise ValueError("%s: it contains a control character" % shown)
    _check_value(switch, shown)
    return switch


def problem_of(text: str) -> str:
    """Return why a switch is not allowed; empty if it is."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def _check_number(switch: Switch, shown: str) -> None:
    """Raise ValueError for a number with which Ghostscript would not start."""
    value = switch.value or ""
    if switch.name == "DownScaleFactor" and not _is_downscale(switch.value):
        raise ValueError("%s: a whole number from 1 to %d is needed" % (shown, MAX_DOWNSCALE))
    if switch.name in _ALPHA_BITS and value not in ("1", "2", "4"):
        raise ValueError("%s: 1, 2 or 4 is needed" % shown)
    if switch.name == "AdjustWidth" and re.fullmatch(r"[0-9]{1,5}", value) is None:
        raise ValueError("%s: a number of pixels is needed, 0 or 1" % shown)
    if re.fullmatch(r"[-+]?[0-9]{10,}", value):
        raise ValueError("%s: the number is larger than Ghostscript takes" % shown)


def _check_value(switch: Switch, shown: str) -> None:
    value = switch.value
    if switch.kind == "d":
        if value is not None and _TOKEN.fullmatch(value) is None:
            raise ValueError(
                "%s: the value of -d is a number, true, false, null or /Name; -s takes a text" % shown
            )
        _check_number(switch, shown)
        if switch.is_profile or switch.name.endswith("Profile"):
            raise ValueError("%s: a profile is named with -s%s=FILE" % (shown, switch.name))
        return
    # They are numbers, or on and off: a text is a value of the wrong type.
    if switch.name in _OWN_SIZE - {"PAPERSIZE", "DEFAULTPAPERSIZE"} or switch.name in _BOXES:
        raise ValueError("%s: this switch is written -d%s" % (shown, switch.name))
    if switch.name == "DownScaleFactor":
        raise ValueError("%s: this switch is written -dDownScaleFactor=N" % shown)
    if switch.is_profile:
        if not value:
            raise ValueError("%s: it names no ICC profile" % shown)
    # ``%`` begins a device of files such as %pipe%, and ``|`` a pipe.
    elif value is not None and (re.search(r"[/\\%|@]", value) or ".." in value):
        raise ValueError("%s: files other than ICC profiles do not travel to the hosts" % shown)


def _is_downscale(value: str | None) -> bool:
    return value is not None and re.fullmatch("[1-%d]" % MAX_DOWNSCALE, value) is not None


def downscale(options: Sequence[str]) -> int:
    """Return the factor by which pages become smaller than the resolution says; the last one counts."""
    found = [parse(option) for option in options]
    # parse() has refused everything that is not a number.
    factors = [int(each.value or "1") for each in found if each.name == "DownScaleFactor"]
    return factors[-1] if factors else 1


def adjust_width(options: Sequence[str]) -> int:
    """Return the AdjustWidth of a fax device: 1 unless a switch says otherwise."""
    found = [parse(option) for option in options]
    values = [int(each.value or "1") for each in found if each.name == "AdjustWidth"]
    return values[-1] if values else 1


def boxes(options: Sequence[str]) -> list[str]:
    """Return the boxes that the switches select: a page that lacks the first has the second."""
    # A later switch replaces an earlier one, as in Ghostscript.
    on = {each.name: each.is_on for each in map(parse, options) if each.name in _BOXES}
    return [box for name, box in _BOXES.items() if on.get(name)]


def has_own_size(options: Sequence[str]) -> bool:
    """Return whether the size of a page may be another than the document states."""
    return any(each.name in _OWN_SIZE for each in map(parse, options))


def sets_antialiasing(options: Sequence[str]) -> bool:
    """Return whether the user chose the smoothing of text or graphics by switches."""
    return any(each.name in ("TextAlphaBits", "GraphicsAlphaBits") for each in map(parse, options))


def require_device(options: Sequence[str], device: Device) -> None:
    """Raise ValueError if a device ignores a switch, and the page's size would be wrong."""
    if downscale(options) > 1 and not device.can_downscale:
        raise ValueError(
            "-dDownScaleFactor: device %s cannot do that; png16m, pnggray and jpeg can" % device.name
        )


def require_paper(options: Sequence[str]) -> None:
    """Raise ValueError if pages would get the size of the paper that each host has by default."""
    names = {each.name for each in map(parse, options)}
    fitted = names & {"PDFFitPage", "FitPage", "FIXEDMEDIA"}
    # Both sides are needed: Ghostscript takes the default of the other one.
    is_named = "PAPERSIZE" in names or {"DEVICEWIDTHPOINTS", "DEVICEHEIGHTPOINTS"} <= names
    if fitted and not is_named:
        raise ValueError(
            "-d%s: hosts may have different default papers; name one: --size A4" % sorted(fitted)[0]
        )


def require_no_size(options: Sequence[str]) -> None:
    """Raise ValueError if a switch contradicts a size that another option fixes."""
    harmless = ("FIXEDMEDIA", "PDFFitPage", "FitPage", "NoUserUnit")
    for each in map(parse, options):
        if each.name in _OWN_SIZE and each.name not in harmless:
            raise ValueError("-%s%s: --size decides the size of the pages" % (each.kind, each.name))


def output_profile(options: Sequence[str]) -> str:
    """Return the value of the switch for the device's own ICC profile; empty if there is none."""
    found = [each.value or "" for each in map(parse, options) if each.name == OUTPUT_PROFILE]
    return found[-1] if found else ""


# The profile is given by the dialogue instead (ghostscript.profile_lines).
def without_output_profile(options: Sequence[str]) -> tuple[str, ...]:
    """Return the switches but those for the device's own ICC profile."""
    return tuple(each for each in options if parse(each).name != OUTPUT_PROFILE)


def profiles(options: Sequence[str]) -> list[tuple[int, str]]:
    """Return the ICC profiles that switches name by a path, with the position of each switch."""
    found = [(number, parse(option)) for number, option in enumerate(options)]
    return [
        (number, each.value or "")
        for number, each in found
        # Names of shipped profiles are found on every host; everything else is a file that has to be
        # staged.
        if each.is_profile and each.value not in SHIPPED_PROFILES
    ]
