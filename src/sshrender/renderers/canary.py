"""The canary page: hosts render it before any other page, and their results are compared.

Hosts whose canary pages differ may render other pages differently, too. The page contains what differs
between machines: fonts that documents commonly do not embed, thin lines, curves, a shading, transparency
and an interpolated image.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import List, Tuple

from sshrender.renderers.ghostscript import literal

DPI = 50
"""Resolution of the page: 60 KB of pixels, rendered in a tenth of a second."""

TIMEOUT = 20.0
"""Seconds that the rendering of the page may take."""

FONTS = (
    "Helvetica",
    "Helvetica-BoldOblique",
    "Times-Roman",
    "Times-Italic",
    "Courier",
    "Symbol",
    "ZapfDingbats",
    "Arial",
    "Arial-BoldMT",
    "TimesNewRomanPSMT",
    "CourierNewPSMT",
    "Palatino-Roman",
    "Bookman-Light",
    "NewCenturySchlbk-Roman",
    "AvantGarde-Book",
    "Verdana",
    "Calibri",
    "DejaVuSans",
)
"""Fonts of the page; none is embedded. Some of the standard fourteen, and others in common use."""

_WIDTH, _HEIGHT = 220, 300

_RENDERING = """
0.3 w 10 10 m 60 90 120 -60 210 40 c S
q 0.9 0.2 0.1 rg 20 20 40 30 re f Q
q /Veil gs 0.1 0.3 0.9 rg 45 30 m 85 30 85 70 45 70 c f Q
q 1 0 0 1 110 15 cm 0 0 40 40 re W n /Fade sh Q
q 40 10 -6 38 160 15 cm /Dots Do Q
"""

_FADE = (
    "<< /ShadingType 2 /ColorSpace /DeviceRGB /Coords [0 0 40 40] /Extend [true true]"
    " /Function << /FunctionType 2 /Domain [0 1] /C0 [1 1 0] /C1 [0 0.4 0.6] /N 1.4 >> >>"
)


def document() -> bytes:
    """Return the page as a PDF: the same bytes on every machine."""
    # Objects 1 to 7 are the list below up to the image; fonts follow in the order of FONTS.
    fonts = "".join("/F%d %d 0 R " % (n, 8 + n) for n in range(len(FONTS)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R /Resources <<"
        " /Font << %s>> /ExtGState << /Veil 5 0 R >> /Shading << /Fade 6 0 R >>"
        " /XObject << /Dots 7 0 R >> >> >>" % (_WIDTH, _HEIGHT, fonts),
        _stream("", _content()),
        "<< /ca 0.5 /BM /Multiply >>",
        _FADE,
        _stream(
            "/Type /XObject /Subtype /Image /Width 3 /Height 2 /BitsPerComponent 8"
            # Interpolate: versions of a renderer differ in how they smooth a small image.
            " /ColorSpace /DeviceGray /Interpolate true /Filter /ASCIIHexDecode",
            "00 80 ff c0 20 60>",
        ),
    ]
    objects += [_font(name) for name in FONTS]
    return _file(objects)


def command(program: str) -> List[str]:
    """Return the command line that makes canary.ppm of canary.pdf in its working folder."""
    return [
        program,
        "-q",
        "-dSAFER",
        "-dBATCH",
        "-dNOPAUSE",
        "-sDEVICE=ppmraw",
        "-r%d" % DPI,
        "-sOutputFile=canary.ppm",
        # Relative names: the command runs in a folder of its own (runner/host/fingerprint.py).
        "canary.pdf",
    ]


BLANK = "blank.png"
"""The file of a blank page that Ghostscript writes after the canary page."""


def extended_command(program: str, blank: Tuple[str, str]) -> List[str]:
    """Return the same command; afterwards Ghostscript writes a blank page.

    ``blank``: the device of that page, and its resolution as ``-r`` takes it.
    """
    *words, document = command(program)
    device, dpi = blank
    across, _, down = dpi.partition("x")
    # -r fixes the resolution of setpagedevice, but not the one of a device.
    lines = "{ mark /OutputFile %s /HWResolution [%s %s] /%s findprotodevice copydevice" % (
        literal(BLANK),
        across,
        down or across,
        device,
    )
    lines += " putdeviceprops setdevice << /PageSize [9 9] >> setpagedevice showpage } stopped pop"
    return [*words, "--permit-file-write=" + BLANK, document, "-c", lines]


def mutool_command() -> List[str]:
    """Return the command line with which MuPDF makes canary.ppm of canary.pdf."""
    return ["mutool", "draw", "-q", "-r", str(DPI), "-o", "canary.ppm", "canary.pdf", "1"]


def _content() -> str:
    lines = [_RENDERING]
    for number in range(len(FONTS)):
        position = "%d %d" % (10 + 105 * (number % 2), _HEIGHT - 25 - 22 * (number // 2))
        # \344 is an a with a diaeresis in WinAnsiEncoding, in octal digits (ISO 32000-1, 7.3.4.2).
        lines.append("BT /F%d 13 Tf %s Td (Rag\\344 &@gf 10%%) Tj ET" % (number, position))
    return "\n".join(lines)


def _font(name: str) -> str:
    """Return a font without embedded program and descriptor, so that the host chooses a replacement."""
    # Both have an encoding of their own, which WinAnsiEncoding would replace.
    encoding = "" if name in ("Symbol", "ZapfDingbats") else " /Encoding /WinAnsiEncoding"
    return "<< /Type /Font /Subtype /Type1 /BaseFont /%s%s >>" % (name, encoding)


def _stream(entries: str, content: str) -> str:
    return "<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(content), content)


def _file(objects: List[str]) -> bytes:
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += ("%d 0 obj\n%s\nendobj\n" % (number, body)).encode("latin-1")
    # Each entry has 20 bytes, the end of the line included (ISO 32000-1, 7.5.4).
    table = "xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += "".join("%010d 00000 n \n" % offset for offset in offsets)
    trailer = "trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return data + (table + trailer % (len(objects) + 1, len(data))).encode("latin-1")
