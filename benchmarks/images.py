"""Makes a document of large images, the same each time: scans in JPEG, and pictures without loss.

python -m benchmarks.images FILE.pdf [--pages 30]
"""

from __future__ import annotations

import argparse
import io
import random
import zlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

PAGES = 30
WIDTH, HEIGHT = 595, 842
"""A4 in points."""

SCAN = (1654, 2339)
"""Pixels of an image: A4 at 200 dpi."""

DISTINCT = 5
"""Different images, which the pages use in turn: each page decodes its own all the same."""


def make(path: Path, pages: int = PAGES) -> None:
    """Write the document."""
    images = [_object(number) for number in range(DISTINCT)]
    first = 3 + DISTINCT
    kids = " ".join(f"{first + 2 * number} 0 R" for number in range(pages))
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {pages}>>".encode(),
        *images,
    ]
    for number in range(pages):
        # Each page shows its image at another place, so that no page equals another.
        content = f"q {WIDTH - 40} 0 0 {HEIGHT - 60} 20 {10 + number} cm /I Do Q".encode()
        image, stream = 3 + number % DISTINCT, first + 2 * number + 1
        bodies += [
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {WIDTH} {HEIGHT}]/Contents {stream} 0 R"
            f"/Resources<</XObject<</I {image} 0 R>>>>>>".encode(),
            b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content),
        ]
    path.write_bytes(_file(bodies))


def _object(number: int) -> bytes:
    """Return an image as an object of a PDF; every other one is kept without loss."""
    image = _scan(number)
    if number % 2:
        data, way = zlib.compress(image.tobytes(), 6), "FlateDecode"
    else:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        data, way = file.getvalue(), "DCTDecode"
    head = (
        f"<</Type/XObject/Subtype/Image/Width {image.width}/Height {image.height}/ColorSpace/DeviceRGB"
        f"/BitsPerComponent 8/Filter/{way}/Length {len(data)}>>"
    )
    return head.encode() + b"\nstream\n" + data + b"\nendstream"


def _scan(number: int) -> Image.Image:
    """Return paper with the grain of a scan, lines of writing, and a photograph."""
    rng = random.Random(number)
    grain = Image.frombytes(
        "L", (SCAN[0] // 4, SCAN[1] // 4), rng.randbytes(SCAN[0] // 4 * (SCAN[1] // 4))
    )
    grain = grain.resize(SCAN).point(lambda value: 250 + value // 64)
    image = Image.merge("RGB", (grain, grain, grain))
    pen = ImageDraw.Draw(image)
    for top in range(120, SCAN[1] - 120, 44):
        for left in range(120, SCAN[0] - 160, 26):
            if rng.random() < 0.8:
                pen.rectangle(
                    (left, top, left + rng.randint(4, 18), top + rng.randint(8, 22)), (30, 30, 40)
                )
    noise = Image.frombytes("RGB", (40, 30), rng.randbytes(3600))
    photograph = noise.resize((1100, 800), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(6))
    image.paste(photograph, (270, 700))
    return image


def _file(bodies: list[bytes]) -> bytes:
    written, offsets = bytearray(b"%PDF-1.5\n"), []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    written += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(bodies) + 1, table)
    # ``written`` without the table: it begins where the last object has ended.
    start = len(written) - len(table) - len(b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1))
    written += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, start)
    return bytes(written)


def main() -> None:
    """Write the document that the command names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pages", type=int, default=PAGES)
    given = parser.parse_args()
    make(given.file, given.pages)


if __name__ == "__main__":
    main()
