"""PDFs that are odd, each under a name.

Everything is small: pages of 100 by 60 points, content that is not compressed, so that a byte changed
anywhere means something.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator, Mapping

PAGES = 3
FIRST_PAGE, FIRST_CONTENT = 4, 5
"""Object numbers: 1 the catalog, 2 the page tree, 3 the font, then each page and its content."""

LENGTH, TABLE = b"/Length ", b"xref\n0 10\n"

Objects = dict[int, bytes]


def document(count: int = PAGES) -> Objects:
    """The objects of a sound document whose pages differ."""
    kids = " ".join(f"{FIRST_PAGE + 2 * n} 0 R" for n in range(count))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for n in range(count):
        at = FIRST_PAGE + 2 * n
        objects[at] = page(at + 1)
        drawing = f"BT /F1 18 Tf 10 30 Td (page {n + 1}) Tj ET 0 0 1 rg {9 * n % 80} 5 15 8 re f"
        objects[at + 1] = stream(drawing.encode())
    return objects


def page(content: int, extra: str = "") -> bytes:
    """A page object; ``extra`` keys stand first, and the box is the last one's business."""
    return (
        f"<< /Type /Page /Parent 2 0 R {extra} /MediaBox [0 0 100 60] /Contents {content} 0 R"
        " /Resources << /Font << /F1 3 0 R >> >> >>"
    ).encode()


def stream(data: bytes, extra: str = "") -> bytes:
    """A stream object."""
    return f"<< /Length {len(data)} {extra} >>\nstream\n".encode() + data + b"\nendstream"


def assemble(objects: Mapping[int, bytes], trailer: str = "/Root 1 0 R") -> bytes:
    """A file with a right table of objects, whatever is in them."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places: dict[int, int] = {}
    for number in sorted(objects):
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + objects[number] + b"\nendobj\n"
    table = len(out)
    out += b"xref\n" + "".join(_sections(places)).encode()
    size = max(objects) + 1
    out += f"trailer\n<< /Size {size} {trailer} >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def _sections(places: Mapping[int, int]) -> Iterator[str]:
    """The table's lines: a heading for each row of numbers without a gap, and its entries."""
    entries = {0: "0000000000 65535 f \n"} | {n: f"{at:010d} 00000 n \n" for n, at in places.items()}
    first = 0
    for number in sorted(entries):
        if number + 1 not in entries:
            yield f"{first} {number + 1 - first}\n"
            yield from (entries[each] for each in range(first, number + 1))
            first = min((each for each in entries if each > number), default=0)


def sound() -> bytes:
    """What is damaged further down."""
    return assemble(document())


def changed(number: int, old: bytes, new: bytes, **more: bytes) -> bytes:
    """The sound document with one object edited; ``more`` gives whole objects, as ``o20=b'...'``."""
    objects = document()
    assert old in objects[number], (number, old)
    objects[number] = objects[number].replace(old, new)
    objects |= {int(name[1:]): content for name, content in more.items()}
    return assemble(objects)


def drawing(content: bytes, extra: str = "", **more: bytes) -> bytes:
    """The sound document with another content stream on page 2 (object 7)."""
    objects = document()
    objects[7] = stream(content, extra)
    objects |= {int(name[1:]): content for name, content in more.items()}
    return assemble(objects)


def with_resources(resources: str, content: bytes, **more: bytes) -> bytes:
    """The same, with other resources on that page (object 6)."""
    objects = document()
    objects[6] = objects[6].replace(b"<< /Font << /F1 3 0 R >> >>", resources.encode())
    objects[7] = stream(content)
    objects |= {int(name[1:]): content for name, content in more.items()}
    return assemble(objects)


def _tree_cases() -> dict[str, bytes]:
    """Page trees that lie, loop, or have holes."""
    kids = b"/Kids [4 0 R 6 0 R 8 0 R]"
    node = b"<< /Type /Pages /Parent 2 0 R /Kids [%s] /Count %d >>"
    counts = {"9": "too-big", "0": "zero", "-3": "negative", "/Three": "a-name"}
    counts |= {"3.7": "a-fraction", "null": "null", "99999999999": "huge", "[3]": "an-array"}
    counts |= {"2 0 R": "the-node-itself", "1": "too-small", "1000000": "a-million"}
    cases = {
        f"count-{word}": changed(2, b"/Count 3", f"/Count {value}".encode())
        for value, word in counts.items()
    }
    cases["count-missing"] = changed(2, b"/Count 3", b"")
    lists = {
        "kids-lead-to-the-root": b"[4 0 R 6 0 R 2 0 R]",
        "kids-with-null": b"[4 0 R null 8 0 R]",
        "kids-with-a-number": b"[4 0 R 17 8 0 R]",
        "kids-with-a-hole": b"[4 0 R 99 0 R 8 0 R]",
        "kids-with-a-stream": b"[4 0 R 5 0 R 8 0 R]",
        "kids-with-the-catalog": b"[4 0 R 1 0 R 8 0 R]",
        "kids-twice-the-same": b"[4 0 R 4 0 R 8 0 R]",
        "kids-empty": b"[]",
        "kids-a-name": b"/None",
        "kids-one-reference": b"4 0 R",
        "kids-with-an-array": b"[[4 0 R] 6 0 R 8 0 R]",
        "kids-written-out": b"[4 0 R << /Type /Page /MediaBox [0 0 100 60] >> 8 0 R]",
    }
    cases |= {name: changed(2, kids, b"/Kids " + value) for name, value in lists.items()}
    cases["kids-missing"] = changed(2, kids, b"")
    three = b"/Kids [4 0 R 20 0 R 8 0 R]"
    cases["kids-lead-to-an-ancestor"] = changed(2, kids, three, o20=node % (b"6 0 R 2 0 R", 1))
    cases["kids-lead-to-themselves"] = changed(2, kids, three, o20=node % (b"20 0 R", 1))
    cases["kids-node-without-pages"] = changed(2, kids, three, o20=node % (b"", 0))
    cases["kids-node-that-lies"] = changed(2, kids, three, o20=node % (b"6 0 R", 7))
    cases["page-without-type"] = changed(6, b"/Type /Page ", b"")
    cases["page-of-another-type"] = changed(6, b"/Type /Page ", b"/Type /Font ")
    cases["page-without-parent"] = changed(6, b"/Parent 2 0 R", b"")
    cases["page-its-own-parent"] = changed(6, b"/Parent 2 0 R", b"/Parent 6 0 R")
    cases["page-with-kids"] = changed(6, b"/Type /Page ", b"/Type /Page /Kids [8 0 R] /Count 1 ")
    cases["pages-of-another-type"] = changed(2, b"/Type /Pages", b"/Type /Page")
    cases["pages-without-type"] = changed(2, b"/Type /Pages", b"")
    cases["tree-deep"] = _deep_tree(40)
    cases["tree-very-deep"] = _deep_tree(300)
    return cases


def _deep_tree(depth: int) -> bytes:
    """The second page hangs on a chain of nodes."""
    objects = document()
    objects[2] = objects[2].replace(b"6 0 R", b"20 0 R")
    for number in range(20, 20 + depth):
        kid = number + 1 if number < 19 + depth else 6
        objects[number] = f"<< /Type /Pages /Parent 2 0 R /Kids [{kid} 0 R] /Count 1 >>".encode()
    return assemble(objects)


BOXES = {
    "box-none": b"",
    "box-upside-down": b"/MediaBox [100 60 0 0]",
    "box-half-upside-down": b"/MediaBox [0 60 100 0]",
    "box-not-a-number": b"/MediaBox [0 0 nan inf]",
    "box-of-names": b"/MediaBox [/a /b /c /d]",
    "box-of-strings": b"/MediaBox [(0) (0) (100) (60)]",
    "box-short": b"/MediaBox [0 0 100]",
    "box-long": b"/MediaBox [0 0 100 60 7 7]",
    "box-empty-array": b"/MediaBox []",
    "box-a-number": b"/MediaBox 100",
    "box-null": b"/MediaBox null",
    "box-with-null": b"/MediaBox [0 0 null 60]",
    "box-its-own-page": b"/MediaBox 6 0 R",
    "box-nowhere": b"/MediaBox 99 0 R",
    "box-without-area": b"/MediaBox [0 0 0 0]",
    "box-without-height": b"/MediaBox [0 0 100 0]",
    "box-negative": b"/MediaBox [-50 -30 50 30]",
    "box-far-away": b"/MediaBox [100000 100000 100100 100060]",
    "box-of-fractions": b"/MediaBox [0.4 0.4 100.7 60.3]",
    "box-of-exponents": b"/MediaBox [0 0 1e2 6e1]",
    "box-with-two-signs": b"/MediaBox [0 0 --100 60]",
    "box-one-point": b"/MediaBox [0 0 1 1]",
    "box-crop-smaller": b"/MediaBox [0 0 100 60] /CropBox [10 10 50 50]",
    "box-crop-outside": b"/MediaBox [0 0 100 60] /CropBox [500 500 600 600]",
    "box-only-crop": b"/CropBox [0 0 100 60]",
    "box-less-than-a-point": b"/MediaBox [0 0 0.1 0.1]",
    "unit-tiny": b"/MediaBox [0 0 100 60] /UserUnit 0.001",
    "unit-two": b"/MediaBox [0 0 100 60] /UserUnit 2",
    "unit-zero": b"/MediaBox [0 0 100 60] /UserUnit 0",
    "unit-negative": b"/MediaBox [0 0 100 60] /UserUnit -2",
    "unit-a-name": b"/MediaBox [0 0 100 60] /UserUnit /Two",
}
"""What stands instead of the second page's MediaBox."""

ROTATIONS = (
    "45",
    "1000000000",
    "/Right",
    "-90",
    "450",
    "90.0",
    "89.9",
    "null",
    "(90)",
    "[90]",
    "6 0 R",
    "1e9",
)
CONTENTS = {
    "contents-missing": b"",
    "contents-null": b"/Contents null",
    "contents-nowhere": b"/Contents 99 0 R",
    "contents-the-page": b"/Contents 6 0 R",
    "contents-a-name": b"/Contents /Nothing",
    "contents-empty-array": b"/Contents []",
    "contents-with-nulls": b"/Contents [null 7 0 R null]",
    "contents-many-times": b"/Contents [" + b"7 0 R " * 200 + b"]",
    "contents-array-of-itself": b"/Contents 20 0 R",
}


def _page_cases() -> dict[str, bytes]:
    """Pages whose keys are odd."""
    box, contents, turn = b"/MediaBox [0 0 100 60]", b"/Contents 7 0 R", b"/Parent 2 0 R"
    cases = {name: changed(6, box, value) for name, value in BOXES.items()}
    for value in ROTATIONS:
        name = "rotate-" + re.sub(r"[^\w.-]+", "", value)
        cases[name] = changed(6, turn, turn + f" /Rotate {value}".encode())
    loop = b"[7 0 R 20 0 R]"
    cases |= {name: changed(6, contents, value, o20=loop) for name, value in CONTENTS.items()}
    inherited = changed(2, b"/Count 3", b"/Count 3 /MediaBox [0 0 70 70] /Rotate 90")
    cases["box-and-turn-inherited"] = inherited.replace(box, b" " * len(box))
    cases["box-inherited-from-a-loop"] = changed(6, turn + b"  " + box, b"/Parent 6 0 R")
    return cases


def _stream_cases() -> dict[str, bytes]:
    """Content streams that are not what their dictionary says."""
    square = b"0 0 50 50 re f\n"
    flat = zlib.compress(square * 200, 9)
    filters = " ".join(["/FlateDecode"] * 60)
    return {
        "stream-longer-than-said": changed(7, LENGTH, b"/Length 1 /Was "),
        "stream-shorter-than-said": changed(7, LENGTH, b"/Length 99"),
        "stream-of-negative-length": changed(7, LENGTH, b"/Length -"),
        "stream-of-no-length": changed(7, LENGTH, b"/Long "),
        "stream-of-its-own-length": changed(7, LENGTH, b"/Length 7 0 R /Was "),
        "stream-without-end": changed(7, b"endstream", b""),
        "stream-of-unknown-filter": drawing(square, "/Filter /Whatever"),
        "stream-of-many-filters": drawing(flat, f"/Filter [{filters}]"),
        "stream-cut": drawing(flat[: len(flat) // 2], "/Filter /FlateDecode"),
        "stream-not-flate": drawing(square, "/Filter /FlateDecode"),
        "stream-with-rubbish-after": drawing(flat + b"rubbish" * 9, "/Filter /FlateDecode"),
        "stream-not-ascii85": drawing(b"zz~!\xff>~>", "/Filter /ASCII85Decode"),
        "stream-odd-predictor": drawing(
            flat, "/Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns -1 >>"
        ),
        "stream-crypt": drawing(square, "/Filter /Crypt /DecodeParms << /Name /StdCF >>"),
        "stream-elsewhere": drawing(square, "/F (/etc/passwd) /FFilter /ASCIIHexDecode"),
        "bomb-of-spaces": drawing(zlib.compress(b" " * (32 << 20), 1), "/Filter /FlateDecode"),
        "bomb-in-a-bomb": drawing(
            zlib.compress(zlib.compress(b" " * (48 << 20), 1), 1), "/Filter [/FlateDecode /FlateDecode]"
        ),
        "content-saves-without-end": drawing(b"q " * 20_000),
        "content-restores-without-end": drawing(b"Q " * 20_000),
        "content-nests-arrays": drawing(b"[" * 20_000 + b"]" * 20_000),
        "content-nests-dictionaries": drawing(
            b"/P " + b"<< /A " * 5_000 + b"1" + b">>" * 5_000 + b" BDC"
        ),
        "content-of-one-long-string": drawing(b"(" * 40_000),
        "content-of-one-long-name": drawing(b"/" + b"A" * 100_000 + b" gs"),
        "content-of-huge-numbers": drawing(b"9" * 400 + b" 0 m 1e400 -1e400 l S " + square),
        "content-of-zeros": drawing(bytes(5000)),
        "content-of-noise": drawing(random.Random(1).randbytes(5000)),
        "content-unfinished-image": drawing(b"BI /W 9999 /H 9999 /CS /RGB /BPC 8 ID xx"),
    }


def _form(content: bytes, resources: str) -> bytes:
    return stream(
        content, f"/Type /XObject /Subtype /Form /BBox [0 0 100 60] /Resources << {resources} >>"
    )


def _loop_cases() -> dict[str, bytes]:
    """Resources that lead back to themselves."""
    draw = b"/X Do 0 0 9 9 re f"
    use = "<< /XObject << /X 20 0 R >> >>"
    itself, other = "/XObject << /X 20 0 R >>", "/XObject << /X 21 0 R >>"
    tile = "/PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 9 9] /XStep 9 /YStep 9"
    paint = b"/Pattern cs /P scn 0 0 50 50 re f"
    pattern = stream(paint, f"/Type /Pattern {tile} /Resources << /Pattern << /P 20 0 R >> >>")
    glyphs = (
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0]"
        b" /CharProcs << /a 21 0 R >> /Encoding << /Differences [97 /a] >> /FirstChar 97 /LastChar 97"
        b" /Widths [9] /Resources << /Font << /T 20 0 R >> >> >>"
    )
    letter = b"BT /T 9 Tf (a) Tj ET"
    mask = b"<< /SMask << /S /Luminosity /G 21 0 R >> >>"
    return {
        "form-draws-itself": with_resources(use, draw, o20=_form(draw, itself)),
        "forms-draw-each-other": with_resources(
            use, draw, o20=_form(draw, other), o21=_form(draw, itself)
        ),
        "form-of-forms": _form_tower(),
        "pattern-of-itself": with_resources("<< /Pattern << /P 20 0 R >> >>", paint, o20=pattern),
        "glyph-of-itself": with_resources(
            "<< /Font << /T 20 0 R >> >>", letter, o20=glyphs, o21=stream(b"9 0 d0 " + letter)
        ),
        "mask-of-itself": with_resources(
            "<< /ExtGState << /G 20 0 R >> >>",
            b"/G gs 0 0 50 50 re f",
            o20=mask,
            o21=_form(b"/G gs 0 0 9 9 re f", "/ExtGState << /G 20 0 R >>"),
        ),
        "resources-the-page": with_resources("6 0 R", draw),
        "resources-themselves": with_resources("20 0 R", draw, o20=b"20 0 R"),
        "resources-in-a-circle": with_resources("20 0 R", draw, o20=b"21 0 R", o21=b"20 0 R"),
        "resources-null": with_resources("null", draw),
        "resources-a-number": with_resources("17", draw),
        "font-nowhere": with_resources("<< /Font << /F1 99 0 R >> >>", b"BT /F1 9 Tf (x) Tj ET"),
        "font-of-unknown-kind": with_resources(
            "<< /Font << /F1 20 0 R >> >>", b"BT /F1 9 Tf (x) Tj ET", o20=b"<< /Subtype /Odd >>"
        ),
        "colours-of-themselves": with_resources(
            "<< /ColorSpace << /C 20 0 R >> >>",
            b"/C cs 1 scn 0 0 9 9 re f",
            o20=b"[/Indexed 20 0 R 1 <00>]",
        ),
    }


def _form_tower() -> bytes:
    """Twelve storeys of forms, each drawn twice by the one above it."""
    more = {
        f"o{20 + n}": _form(b"/X Do /X Do 0 0 9 9 re f", f"/XObject << /X {21 + n} 0 R >>")
        for n in range(12)
    }
    more["o32"] = _form(b"0 0 20 20 re f", "")
    return with_resources("<< /XObject << /X 20 0 R >> >>", b"/X Do", **more)


def _object_cases() -> dict[str, bytes]:
    """Objects and trailers that are odd."""
    whole = sound()
    trailers = {
        "root-missing": "",
        "root-nowhere": "/Root 99 0 R",
        "root-a-page": "/Root 4 0 R",
        "root-the-tree": "/Root 2 0 R",
        "root-null": "/Root null",
        "root-written-out": "/Root << /Type /Catalog /Pages 2 0 R >>",
        "encrypt-nothing": "/Root 1 0 R /Encrypt << >>",
        "encrypt-null": "/Root 1 0 R /Encrypt null",
        "encrypt-nowhere": "/Root 1 0 R /Encrypt 99 0 R",
        "encrypt-unknown": "/Root 1 0 R /Encrypt << /Filter /Odd /V 9 /R 9 >>",
        "encrypt-without-sense": "/Root 1 0 R 7 /Encrypt << /Filter /Standard /V 1 /R 2 /P -4"
        " /O (short) /U (short) >>",
        "encrypt-rubbish": "/Root 1 0 R /ID [(a) (a)] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4"
        " /O (short) /U (short) >>",
        "previous-itself": f"/Root 1 0 R /Prev {whole.rindex(TABLE)}",
        "previous-beyond": "/Root 1 0 R /Prev 99999999",
        "previous-negative": "/Root 1 0 R /Prev -5",
        "previous-a-name": "/Root 1 0 R /Prev /There",
        "xref-stream-nowhere": "/Root 1 0 R /XRefStm 17",
        "info-the-root": "/Root 1 0 R /Info 1 0 R",
    }
    cases = {name: assemble(document(), text) for name, text in trailers.items()}
    deep = b"[" * 5000 + b"]" * 5000
    cases |= {
        "catalog-of-no-type": changed(1, b"/Type /Catalog ", b""),
        "catalog-without-pages": changed(1, b"/Pages 2 0 R", b""),
        "catalog-pages-nowhere": changed(1, b"/Pages 2 0 R", b"/Pages 99 0 R"),
        "catalog-pages-a-page": changed(1, b"/Pages 2 0 R", b"/Pages 4 0 R"),
        "catalog-pages-itself": changed(1, b"/Pages 2 0 R", b"/Pages 1 0 R"),
        "catalog-deeply-nested": changed(1, b"/Type", b"/Deep " + deep + b" /Type"),
        "page-deeply-nested": changed(6, b"/Type", b"/Deep " + deep + b" /Type"),
        "dictionary-deeply-nested": changed(
            6, b"/Type", b"/D " + b"<< /D " * 3000 + b"0" + b" >>" * 3000 + b" /Type"
        ),
        "object-of-huge-number": changed(6, b"7 0 R", b"8388600 0 R", o8388600=document()[7]),
        "object-of-no-number": changed(6, b"7 0 R", b"99999999999999999999 0 R"),
        "object-of-other-generation": whole.replace(b"6 0 obj", b"6 3 obj"),
        "object-of-other-name": whole.replace(b"6 0 obj", b"9 0 obj"),
        "objects-without-endobj": whole.replace(b"endobj\n", b"      \n"),
        "objects-without-obj": whole.replace(b"6 0 obj", b"6 0    "),
        "dictionary-without-end": whole.replace(b"/F1 3 0 R >> >> >>", b"/F1 3 0 R >> >>   "),
        "actions-of-javascript": changed(
            1, b"/Type", b"/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> /Type"
        ),
        "actions-that-launch": changed(
            1, b"/Type", b"/OpenAction << /S /Launch /F (/bin/touch) /Win << /F (calc) >> >> /Type"
        ),
    }
    return cases


def _file_cases() -> dict[str, bytes]:
    """Whole files that are odd around their objects."""
    whole = sound()
    table = whole.rindex(TABLE)
    start = whole.rindex(b"startxref")
    newer = b"6 0 obj\n" + page(7, "/Rotate 90") + b"\nendobj\n"
    update = whole + newer + f"xref\n6 1\n{len(whole):010d} 00000 n \ntrailer\n".encode()
    update += f"<< /Size 10 /Root 1 0 R /Prev {table} >>\nstartxref\n".encode()
    update += f"{len(whole) + len(newer)}\n%%EOF\n".encode()
    linear = b"10 0 obj\n<< /Linearized 1 /L 99999 /H [9 9] /O 4 /E 999 /N 3 /T 9999 >>\nendobj\n"
    return {
        "sound": whole,
        "updated": update,
        "updated-and-cut": update[:-20],
        "twice": whole + whole,
        "junk-before": b"junk\n" * 100 + whole,
        "junk-far-before": b"junk\n" * 400 + whole,
        "junk-after": whole + b"junk\n" * 400,
        "zeros-after": whole + bytes(5000),
        "header-missing": whole[9:],
        "header-of-a-future": whole.replace(b"%PDF-1.4", b"%PDF-9.9"),
        "header-without-version": whole.replace(b"%PDF-1.4", b"%PDF-x.x"),
        "header-after-a-mark": b"\xef\xbb\xbf" + whole,
        "header-only": b"%PDF-1.4\n",
        "lines-of-crlf": whole.replace(b"\n", b"\r\n"),
        "lines-of-cr": whole.replace(b"\n", b"\r"),
        "lines-gone": whole.replace(b"\n", b" "),
        "seven-bits": bytes(byte & 0x7F for byte in whole),
        "startxref-nowhere": whole[:start] + b"startxref\n99999999\n%%EOF\n",
        "startxref-zero": whole[:start] + b"startxref\n0\n%%EOF\n",
        "startxref-negative": whole[:start] + b"startxref\n-1\n%%EOF\n",
        "startxref-a-word": whole[:start] + b"startxref\nhere\n%%EOF\n",
        "startxref-a-little-off": whole[:start] + f"startxref\n{table + 3}\n%%EOF\n".encode(),
        "startxref-missing": whole[:start],
        "eof-missing": whole[:-7],
        "trailer-missing": whole[: whole.rindex(b"trailer")],
        "table-missing": whole[:table],
        "table-of-nothing": whole[:table] + b"xref\n0 0\ntrailer\n<< /Root 1 0 R >>\n" + whole[start:],
        "table-of-rubbish": re.sub(rb"\d{10} 00000 n", b"rubbish rubbish!", whole),
        "table-all-free": whole.replace(b" 00000 n ", b" 00000 f "),
        "table-all-zero": re.sub(rb"\d{10} 00000 n", b"0000000000 00000 n", whole),
        "table-all-beyond": re.sub(rb"\d{10} 00000 n", b"9999999999 00000 n", whole),
        "table-shifted": re.sub(
            rb"(\d{10}) 00000 n", lambda m: b"%010d 00000 n" % (int(m[1]) + 7), whole
        ),
        "table-counts-too-many": whole.replace(b"xref\n0 10\n", b"xref\n0 5000000\n"),
        "linearized-and-cut": whole[:15] + linear + whole[15 : table - 200],
        "linearized-by-name-only": whole[:15] + linear + whole[15:],
        "packed": packed(),
        "packed-and-cut": packed()[:-60],
        "packed-startxref-wrong": packed().replace(b"startxref\n", b"startxref\n9"),
    }


def packed(bad: int = 0) -> bytes:
    """PDF 1.5: what is no stream lies in an object stream, and the table is a stream too."""
    objects = document()
    inside = {number: data for number, data in objects.items() if b"stream" not in data}
    index, body = "", b""
    for number, data in inside.items():
        index += f"{number} {len(body) + bad} "
        body += data + b" "
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    places = {}
    first = len(index)
    objects = {number: data for number, data in objects.items() if number not in inside}
    objects[20] = stream(index.encode() + body, f"/Type /ObjStm /N {len(inside)} /First {first}")
    for number, data in objects.items():
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + data + b"\nendobj\n"
    places[21] = len(out)
    rows = b"".join(_packed_row(number, places, list(inside)) for number in range(22))
    keys = "/Type /XRef /Size 22 /W [1 4 2] /Root 1 0 R"
    out += b"21 0 obj\n" + stream(rows, keys) + b"\nendobj\n"
    out += f"startxref\n{places[21]}\n%%EOF\n".encode()
    return bytes(out)


def _packed_row(number: int, places: Mapping[int, int], inside: list[int]) -> bytes:
    if number in places:
        return b"\x01" + places[number].to_bytes(4, "big") + b"\0\0"
    if number in inside:
        return b"\x02" + (20).to_bytes(4, "big") + inside.index(number).to_bytes(2, "big")
    return bytes(7)


def odd_documents() -> dict[str, bytes]:
    """Every odd document, by name."""
    return {
        **_tree_cases(),
        **_page_cases(),
        **_stream_cases(),
        **_loop_cases(),
        **_object_cases(),
        **_file_cases(),
    }


def many_pages(count: int) -> bytes:
    """Very many pages that share one content; a page in a thousand has a node of its own above it."""
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", 3: stream(b"0 0 1 rg 5 5 30 30 re f")}
    nodes = []
    for first in range(0, count, 1000):
        node = 4 + first + first // 1000
        kids = range(node + 1, node + 1 + min(1000, count - first))
        nodes.append(node)
        listed = " ".join(f"{kid} 0 R" for kid in kids)
        objects[node] = f"<< /Type /Pages /Parent 2 0 R /Kids [{listed}] /Count {len(kids)} >>".encode()
        leaf = f"<< /Type /Page /Parent {node} 0 R /MediaBox [0 0 100 60] /Contents 3 0 R >>".encode()
        objects |= dict.fromkeys(kids, leaf)
    listed = " ".join(f"{node} 0 R" for node in nodes)
    objects[2] = f"<< /Type /Pages /Kids [{listed}] /Count {count} >>".encode()
    return assemble(objects)


def poster() -> bytes:
    """The second page is 200 inches square."""
    return changed(6, b"/MediaBox [0 0 100 60]", b"/MediaBox [0 0 14400 14400]")
