"""Pictures to test with, and one way to run `image` on them and look at what came out."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageDraw

from app.errors import Refusal
from app.ops.base import Output, whole
from app.ops.image import ImageParams, convert

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 30), (40, 40, 220), (230, 220, 40)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def heic(*pictures: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    held = pillow_heif.HeifFile()
    for picture in pictures:
        held.add_from_pillow(picture)
    held.save(file, quality=90, **options)
    return file.getvalue()


def plain(width: int, height: int, colour: Any = (200, 100, 50), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def corners(width: int, height: int) -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right."""
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    half_x, half_y = width // 2, height // 2
    draw.rectangle((0, 0, half_x - 1, half_y - 1), RED)
    draw.rectangle((half_x, 0, width, half_y - 1), GREEN)
    draw.rectangle((0, half_y, half_x - 1, height), BLUE)
    draw.rectangle((half_x, half_y, width, height), YELLOW)
    return picture


def corner_colours(picture: Image.Image, inset: int = 4) -> list[tuple[int, ...]]:
    """Read the four colours of `corners`, in its order."""
    right, bottom = picture.width - 1 - inset, picture.height - 1 - inset
    picture = picture.convert("RGB")
    places = ((inset, inset), (right, inset), (inset, bottom), (right, bottom))
    return [picture.getpixel(place) for place in places]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Give grey noise around the middle; the same for the same seed, whatever ran before."""
    grey = np.random.default_rng(seed).normal(128, 80, (height, width))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


def half_clear() -> Image.Image:
    """Of 40 by 20 pixels, the right half transparent."""
    picture = Image.new("RGBA", (40, 20), (200, 100, 50, 255))
    picture.paste((200, 100, 50, 0), (20, 0, 40, 20))
    return picture


def animation(
    kind: str,
    colours: tuple[Any, ...] = (RED, GREEN, BLUE),
    size: tuple[int, int] = (20, 10),
    **options: Any,
) -> bytes:
    frames = [plain(*size, colour) for colour in colours]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int = 8, data: bytes | None = None, colour_type: int = 2
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = b"" if data is None else png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels


def close(found: Any, wanted: Any, within: int = 6) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))


@dataclass(frozen=True)
class Made:
    """One result, and what was said about it."""

    picture: Image.Image
    content: bytes
    name: str
    media_type: str
    facts: dict[str, Any]


def make(make_work, content: bytes, name: str = "photo.png", limits=None, **params: Any) -> Made:
    """Run the operation for its one result."""
    result = convert(make_work(content, name, limits), ImageParams.model_validate(params))
    (output,) = result.outputs
    made = _made(output, result.facts)
    assert made.picture.size == (result.facts["width_px"], result.facts["height_px"])
    return made


def make_all(
    make_work, content: bytes, name: str = "photo.png", limits=None, **params: Any
) -> tuple[dict[str, Made], tuple[Refusal, ...]]:
    """Run the operation for its variants, by name."""
    result = convert(make_work(content, name, limits), ImageParams.model_validate(params))
    variants = result.facts["variants"]
    made = {
        name: _made(output, facts)
        for (name, facts), output in zip(variants.items(), result.outputs, strict=True)
    }
    for one in made.values():
        assert one.picture.size == (one.facts["width_px"], one.facts["height_px"])
    return made, result.refused


def _made(output: Output, facts: dict[str, Any]) -> Made:
    content = whole(output.content)
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return Made(picture, content, output.name, output.media_type, facts)
