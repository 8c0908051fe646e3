"""Draw a contact sheet of what `image` makes: `python -m tests.contact_sheet OUT.png`.

Every fit by every format by every orientation of a test picture with an arrow that points up, a
letter in each corner, and a circle; below it gravity, turning, filters and transparency. For
people to look at: each cell has the size that came out. Pillow draws; the operation is the real
one, as a worker would run it.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from app.errors import OffloadError
from app.ops.base import Limits, Source, Work, opened
from app.ops.image import ImageParams, convert

FITS = ("inside", "outside", "cover", "contain", "pad", "fill")
FORMATS = ("jpeg", "png", "webp", "avif", "gif", "tiff")
GRAVITIES = (
    "center",
    "north",
    "northeast",
    "east",
    "southeast",
    "south",
    "southwest",
    "west",
    "northwest",
    "attention",
    "entropy",
)
SIZE, BOX = (240, 160), (96, 96)
CELL = (150, 124)

# What a camera stores for each orientation, so that turning it as told gives the picture again.
STORED = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}


def sample(mode: str = "RGB") -> Image.Image:
    """Draw quadrants A to D (red, green, blue, yellow), an arrow that points up, and a circle."""
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    width, height = SIZE
    colours = ((220, 30, 30), (30, 160, 30), (40, 40, 220), (230, 220, 40))
    font = ImageFont.load_default(34)
    for number, colour in enumerate(colours):
        left, top = number % 2 * width // 2, number // 2 * height // 2
        draw.rectangle((left, top, left + width // 2, top + height // 2), colour)
        corner = (8 if left == 0 else width - 34, 2 if top == 0 else height - 42)
        draw.text(corner, "ABCD"[number], "white" if number != 3 else "black", font)
    draw.ellipse((width // 2 - 50, height // 2 - 50, width // 2 + 50, height // 2 + 50), "white")
    x = width // 2
    draw.polygon([(x, 36), (x + 26, 76), (x - 26, 76)], "black")
    draw.rectangle((x - 9, 76, x + 9, 122), "black")
    if mode == "RGBA":
        mask = Image.new("L", SIZE, 255)
        ImageDraw.Draw(mask).ellipse((x - 50, height // 2 - 50, x + 50, height // 2 + 50), 90)
        mask.paste(0, (0, height // 2, width // 2, height))
        picture.putalpha(mask)
    return picture


def encoded(picture: Image.Image, kind: str, orientation: int = 1) -> bytes:
    """Store a picture as a camera that was held in this orientation does."""
    for turn in STORED[orientation]:
        picture = picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, kind, exif=exif, quality=95)
    return file.getvalue()


def result_of(content: bytes, **params: object) -> Image.Image | str:
    """Run the operation; give its picture, or the code of its refusal."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(content)
        (Path(folder) / "out").mkdir()
        work = Work(
            (Source(source, "source", "application/octet-stream", len(content)),),
            Path(folder) / "out",
            Limits(),
        )
        try:
            (output,) = convert(work, ImageParams.model_validate(params)).outputs
        except OffloadError as error:
            return error.code
        with opened(output.content) as file, Image.open(file) as picture:
            return picture.convert("RGBA")


class Sheet:
    """Cells in rows, under headings."""

    def __init__(self, columns: int) -> None:
        self._rows: list[tuple[str, list[tuple[str, Image.Image | str]]]] = []
        self._columns = columns

    def row(self, heading: str, cells: list[tuple[str, Image.Image | str]]) -> None:
        """Add a row of labelled pictures."""
        self._rows.append((heading, cells))

    def drawn(self) -> Image.Image:
        """Give the whole sheet."""
        size = self._columns * CELL[0] + 90, len(self._rows) * CELL[1] + 8
        sheet = Image.new("RGB", size, (128, 128, 128))
        draw = ImageDraw.Draw(sheet)
        for number, (heading, cells) in enumerate(self._rows):
            top = number * CELL[1] + 8
            draw.multiline_text((4, top + 30), heading, "white")
            for column, (label, picture) in enumerate(cells):
                left = column * CELL[0] + 90
                if isinstance(picture, str):
                    draw.text((left, top + 30), f"{label}\n{picture}", "red")
                    continue
                draw.text((left, top), f"{label} {picture.width}x{picture.height}", "white")
                shown = ImageOps.contain(picture, (CELL[0] - 6, CELL[1] - 18))
                sheet.paste(chequered(shown), (left, top + 13))
        return sheet


def chequered(picture: Image.Image) -> Image.Image:
    """Lay a picture on squares, so that what is transparent can be seen."""
    ground = Image.new("RGB", picture.size, (200, 200, 200))
    draw = ImageDraw.Draw(ground)
    for x in range(0, picture.width, 8):
        for y in range(x // 8 % 2 * 8, picture.height, 16):
            draw.rectangle((x, y, x + 7, y + 7), (160, 160, 160))
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def draw_sheet() -> Image.Image:
    """Run everything, and draw it."""
    sheet = Sheet(12)
    box = {"width": BOX[0], "height": BOX[1]}
    sources = {turned: encoded(sample(), "JPEG", turned) for turned in STORED}
    for first, second in (FITS[:2], FITS[2:4], FITS[4:]):
        for turned, content in sources.items():
            cells = [
                (
                    f"{fit} {name}",
                    result_of(content, fit=fit, format=name, background="#0af8", **box),
                )
                for fit in (first, second)
                for name in FORMATS
            ]
            sheet.row(f"EXIF {turned}", cells)
    upright, see_through = sources[1], encoded(sample("RGBA"), "PNG")
    for fit in ("cover", "contain"):
        size = {"width": 96, "height": 96}
        sheet.row(
            f"gravity\n{fit}",
            [(where, result_of(upright, fit=fit, gravity=where, **size)) for where in GRAVITIES],
        )
    sheet.row(
        "gravity\ntall",
        [
            (where, result_of(upright, fit="contain", gravity=where, width=40, height=96))
            for where in GRAVITIES
        ],
    )
    angles = (0, 90, 180, 270, -90, 360, 30, 45, 120, 200, 300.5, -10)
    for heading, params in (
        ("rotate", {"width": 100}),
        ("rotate\ncontain", {"fit": "contain", "width": 110, "height": 90, "background": "#f0f"}),
        ("rotate\ncover", {"fit": "cover", "width": 110, "height": 90}),
        ("rotate\nfill", {"fit": "fill", "width": 110, "height": 90, "background": "#0008"}),
        ("rotate+crop", {"crop": "120,0,120,80", "width": 100, "background": "#0000"}),
    ):
        sheet.row(
            heading,
            [
                (f"{angle}", result_of(upright, rotate=angle, format="png", **params))
                for angle in angles
            ],
        )
    several = [
        ("flip h", {"flip": "horizontal"}),
        ("flip v", {"flip": "vertical"}),
        ("flip both", {"flip": "both"}),
        ("90, flip h", {"flip": "horizontal", "rotate": 90}),
        ("crop A", {"crop": "0,0,120,80"}),
        ("crop D", {"crop": "120,80,120,80"}),
        ("blur 1", {"blur": 1}),
        ("blur 8", {"blur": 8}),
        ("sharpen 1", {"sharpen": 1}),
        ("sharpen 5", {"sharpen": 5}),
        ("enlarge", {"width": 480, "enlarge": True}),
        ("auto", {"format": "auto"}),
    ]
    for heading, content in (("RGB", sources[6]), ("RGBA", see_through)):
        sheet.row(
            heading,
            [
                (label, result_of(content, **{"format": "png", **params}))
                for label, params in several
            ],
        )
    for flatten in (False, True):
        sheet.row(
            f"alpha\nflatten\n{flatten}",
            [
                (
                    f"{fit} {name}",
                    result_of(
                        see_through,
                        fit=fit,
                        format=name,
                        flatten=flatten,
                        background="#fa0",
                        **box,
                    ),
                )
                for fit in ("contain", "cover")
                for name in FORMATS
            ],
        )
    return sheet.drawn()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.contact_sheet OUT.png")
    draw_sheet().save(sys.argv[1])
