"""PDFs that try to reach files or programs, and PostScript that claims to be a PDF."""

from __future__ import annotations

from tests.faults.odd_documents import assemble, changed, drawing, sound, stream, with_resources


def hostile_documents(secret: str, target: str) -> dict[str, bytes]:
    """Documents that try to read the file ``secret``, or to write or run something as ``target``."""
    script = postscript_attack(secret, target)
    use = "<< /XObject << /X 20 0 R >> /Font << /F1 3 0 R >> >>"
    shown = b"BT /F1 9 Tf 5 5 Td (x) Tj ET "
    function = (
        f"<< /FunctionType 4 /Domain [0 1] /Range [0 1 0 1 0 1] /Length {len(script) + 2} >>\nstream\n"
    )
    tint = function.encode() + b"{" + script + b"}\nendstream"
    launch = f"/OpenAction << /S /Launch /F (/bin/sh) /P (-c 'touch {target}') >> /Type".encode()
    return {
        "escape-as-postscript-xobject": with_resources(
            use, shown + b"/X Do", o20=stream(script, "/Type /XObject /Subtype /PS")
        ),
        "escape-as-postscript-form": with_resources(
            use, shown + b"/X Do", o20=stream(script, "/Subtype /Form /Subtype2 /PS /BBox [0 0 9 9]")
        ),
        "escape-as-level-one": with_resources(
            use, shown + b"/X Do", o20=stream(b"", "/Subtype /PS /Level1 21 0 R"), o21=stream(script)
        ),
        "escape-in-the-content": drawing(shown + script),
        "escape-as-tint": with_resources(
            "<< /ColorSpace << /C [/Separation /Odd /DeviceRGB 20 0 R] >> >>",
            b"/C cs 1 scn 0 0 50 50 re f",
            o20=tint,
        ),
        "escape-as-transfer": with_resources(
            "<< /ExtGState << /G << /TR 20 0 R /BG 20 0 R /HT /Default >> >> >>",
            b"/G gs 0 0 50 50 re f",
            o20=tint,
        ),
        "escape-as-font": with_resources(
            "<< /Font << /F1 20 0 R >> >>",
            shown,
            o20=b"<< /Type /Font /Subtype /Type1 /BaseFont /Odd /FontDescriptor 21 0 R >>",
            o21=b"<< /Type /FontDescriptor /FontName /Odd /FontFile 22 0 R >>",
            o22=stream(b"%!PS-AdobeFont-1.0: Odd\n" + script, f"/Length1 {len(script) + 24} /Length2 0"),
        ),
        "escape-as-cmap": with_resources(
            "<< /Font << /F1 20 0 R >> >>",
            shown,
            o20=b"<< /Type /Font /Subtype /Type0 /BaseFont /Odd /Encoding 21 0 R /ToUnicode 21 0 R"
            b" /DescendantFonts [<< /Subtype /CIDFontType0 /BaseFont /Odd >>] >>",
            o21=stream(b"/CIDInit /ProcSet findresource begin\n" + script, "/Type /CMap /CMapName /Odd"),
        ),
        "escape-by-font-name": with_resources(
            "<< /Font << /F1 20 0 R >> >>",
            shown,
            o20=f"<< /Type /Font /Subtype /TrueType /BaseFont /{_as_name(secret)} >>".encode(),
        ),
        "escape-by-file-of-a-stream": drawing(b"", f"/F ({secret}) /FFilter /ASCIIHexDecode"),
        "escape-by-reference": with_resources(
            use,
            shown + b"/X Do",
            o20=stream(b"", f"/Subtype /Form /BBox [0 0 9 9] /Ref << /F ({secret}) /Page 0 >>"),
        ),
        "escape-by-launching": changed(1, b"/Type", launch),
        "escape-behind-a-header": b"%PDF-1.4\n" + script + b"\nshowpage\n",
        "escape-after-the-end": sound() + b"\n%!PS\n" + script,
    }


def shared_tree(
    claimed: int | None = None, levels: int = 14, width: int = 10, leaf: bool = True
) -> bytes:
    """A page tree whose nodes share their kids: ``width ** levels`` leaves in two kilobytes.

    ``claimed``: what the root says instead. Without ``leaf`` the lowest node has no kids.
    """
    last = 2 + levels
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", last + 1: stream(b"0 0 50 50 re f")}
    for number in range(2, last):
        count = claimed if claimed is not None and number == 2 else width ** (last - number)
        kids = f"{number + 1} 0 R " * width if leaf or number + 1 < last else ""
        objects[number] = f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode()
    objects[last] = f"<< /Type /Page /MediaBox [0 0 99 60] /Contents {last + 1} 0 R >>".encode()
    return assemble(objects)


def shared_kids(claimed: int, levels: int = 14, width: int = 10) -> bytes:
    """The same by arrays of kids: each node is written where it is used, and has no number."""
    last = 3 + levels
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", last + 1: stream(b"0 0 50 50 re f")}
    objects[2] = f"<< /Type /Pages /Kids 3 0 R /Count {claimed} >>".encode()
    for number in range(3, last):
        node = f"<< /Type /Pages /Kids {number + 1} 0 R /Count 1 >> "
        objects[number] = ("[" + node * width + "]").encode()
    objects[last] = f"[<< /Type /Page /MediaBox [0 0 99 60] /Contents {last + 1} 0 R >>]".encode()
    return assemble(objects)


def shared_forms(levels: int = 14, width: int = 10) -> bytes:
    """One page of forms in forms, each of which uses the next one ten times."""
    first, font = 20, "<< /F1 3 0 R >>"
    objects = {}
    for number in range(first, first + levels):
        inner = (
            " ".join(f"/X{n} {number + 1} 0 R" for n in range(width))
            if number < first + levels - 1
            else ""
        )
        uses = f"/Resources << /XObject << {inner} >> /Font {font} >>"
        objects[f"o{number}"] = stream(b"", f"/Type /XObject /Subtype /Form /BBox [0 0 9 9] {uses}")
    return with_resources(f"<< /XObject << /X 20 0 R >> /Font {font} >>", b"", **objects)


def shared_descendants(levels: int = 14, width: int = 10) -> bytes:
    """A font of fonts of fonts."""
    first = 20
    objects = {}
    for number in range(first, first + levels):
        below = f"{number + 1} 0 R " * width
        objects[f"o{number}"] = (
            f"<< /Subtype /Type0 /BaseFont /Odd /DescendantFonts [{below}] >>".encode()
        )
    objects[f"o{first + levels}"] = b"<< /Type /Font /Subtype /Type3 >>"
    return with_resources("<< /Font << /F1 20 0 R >> >>", b"", **objects)


def postscript(secret: str, target: str, header: bytes = b"") -> bytes:
    """A program in PostScript, whatever the file is called; ``header`` is its second line."""
    return (
        b"%!PS-Adobe-3.0\n"
        + header
        + postscript_attack(secret, target)
        + b"\n0 0 50 50 rectfill showpage\n"
    )


def postscript_attack(secret: str, target: str) -> bytes:
    """Each of the ways to a file or to a shell, none of which a failure of the last one stops."""
    tries = [
        f"({secret}) (r) file 200 string readstring pop =",
        f"({target}) (w) file dup (taken) writestring closefile",
        f"(%pipe%touch {target}) (w) file closefile",
        f"({target}) (a) file closefile",
        f"({secret}) run",
        f"({secret}) deletefile",
        f"({secret}) ({target}) renamefile",
        f"<< /OutputFile ({target}) >> setpagedevice showpage",
    ]
    return "\n".join(f"{{ {attempt} }} stopped clear" for attempt in tries).encode()


def _as_name(text: str) -> str:
    return text.replace("/", "#2F").replace(" ", "#20")
