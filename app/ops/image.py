"""Image: fit a picture into a box and write it as JPEG, PNG or WebP, upright, in sRGB, stripped.

libvips does the work, one thread a process (the pool has the parallelism), shrinking while it
decodes. It is imported when the first picture comes, not with this module: a process that only
reads the parameters need not load it.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from app.errors import (
    ImageError,
    ImageUnreadable,
    ImageUnsupported,
    InvalidParameter,
    MemoryExceeded,
    OperationFailed,
    OutputTooLarge,
    PixelsExceeded,
    StorageFull,
)
from app.ops.base import Limits, Operation, Output, Params, Result, Work
from app.ops.media_type import HEAD_BYTES, UNKNOWN, sniff

Fit = Literal["inside", "cover", "contain", "fill"]
Format = Literal["jpeg", "png", "webp"]

_SUFFIX: dict[Format, str] = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}

# What the formats' own headers can say.
_LONGEST_SIDE_PX: dict[Format, int] = {"jpeg": 65_535, "png": 2**31 - 1, "webp": 16_383}

_TAKEN = "JPEG, PNG, WebP, GIF and TIFF"

# `thumbnail_source` ignores its own `fail_on` (8.18); the loader's, given this way, is obeyed.
# "truncated" would let a cut uncompressed TIFF through as black rows, "warning" would refuse
# the stray bytes that many cameras leave in a JPEG.
_STRICT = "[fail_on=error]"


class ImageParams(Params):
    """The box, how to fill it, and what to write."""

    width: int | None = Field(
        default=None, ge=1, le=16_384, description="Width of the box, in pixels."
    )
    height: int | None = Field(
        default=None,
        ge=1,
        le=16_384,
        description="Height of the box, in pixels. Given only one of both, the other follows "
        "from the picture's ratio; given neither, the picture is only converted.",
    )
    fit: Fit = Field(
        default="inside",
        description="`inside`: the largest size that fits, ratio kept. `cover`: fills the box "
        "and crops what overhangs evenly on both sides. `contain`: as `inside`, then padded with "
        "`background` to exactly the box. `fill`: exactly the box, ratio ignored. All but "
        "`inside` need width and height.",
    )
    enlarge: bool = Field(
        default=False,
        description="Whether a picture smaller than the box may grow. If not, `inside` leaves it "
        "as it is, `cover` crops only the side that overhangs, so that the result may be smaller "
        "than the box, and `contain` pads it. `fill` always gives exactly the box.",
    )
    format: Literal["keep", "jpeg", "png", "webp"] = Field(
        default="keep",
        description="`keep` leaves JPEG, PNG and WebP what they are and makes PNG of GIF and TIFF.",
    )
    quality: int = Field(
        default=80, ge=1, le=100, description="For JPEG and WebP; PNG is lossless and ignores it."
    )
    background: str = Field(
        default="#ffffff",
        pattern=r"^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$",
        description="Colour as `#rgb` or `#rrggbb`: of the padding of `contain`, and of what "
        "shows through transparent parts in a JPEG. Elsewhere transparency is kept.",
    )

    @model_validator(mode="after")
    def _box_is_whole(self) -> Self:
        if self.fit != "inside" and (self.width is None or self.height is None):
            raise ValueError(f"fit {self.fit} needs both width and height")
        return self


@dataclass(frozen=True, slots=True)
class _Plan:
    """Three sizes, in pixels: the whole picture scaled, what is cut from its middle, the canvas."""

    scaled: tuple[int, int]
    cut: tuple[int, int]
    canvas: tuple[int, int]


def resize(work: Work, params: ImageParams) -> Result:
    """Write the picture, fitted as asked, into one file.

    Upright by its EXIF orientation, in 8-bit sRGB (or grey) by its colour profile, without any
    metadata. Of an animation or a multi-page file, the first frame.

    Returns:
        One output, named as the source with the suffix of its format. Facts: `format`,
        `width_px`, `height_px`; `source_width_px` and `source_height_px` as the picture is
        seen, that is upright; `frames`, how many the source has.

    Raises:
        ImageUnsupported: not a JPEG, PNG, WebP, GIF or TIFF, by content.
        ImageUnreadable: one of these, and cut or damaged.
        PixelsExceeded: over `max_pixels` by its header, before decoding; or the result would be.
        InvalidParameter: the chosen format cannot hold a picture of the resulting size.
        MemoryExceeded, OutputTooLarge, StorageFull: as their names say.
        OperationFailed: libvips is missing or too old.
    """
    pyvips = _libvips()
    kind = _kind(work.source.path, work.limits)
    try:
        header = _header(pyvips, kind, work.source.path)
        frames = _frames(header)
        _within_budget(header.width, header.height, frames, work.limits)
        size = _upright_size(header)
        written = _target_format(kind, params)
        plan = _plan(size, params)
        _plan_is_possible(plan, written, work.limits)
        picture = _compose(pyvips, work.source.path, header, plan, params)
        target = work.folder / f"result{_SUFFIX[written]}"
        _write(picture, target, written, params)
    except pyvips.Error as error:
        raise _translated(str(error)) from error
    output = Output(
        path=target,
        name=f"{PurePosixPath(work.source.name).stem or 'image'}{_SUFFIX[written]}",
        media_type=f"image/{written}",
    )
    facts = {
        "format": written,
        "width_px": plan.canvas[0],
        "height_px": plan.canvas[1],
        "source_width_px": size[0],
        "source_height_px": size[1],
        "frames": frames,
    }
    return Result((output,), facts)


def warm_up() -> None:
    """Load libvips and set it up; 0.1 s that the first picture need not wait for.

    Raises:
        OperationFailed: libvips is missing or too old.
    """
    _libvips()


@cache
def _libvips() -> Any:
    # libvips reads this once, when it starts.
    os.environ["VIPS_CONCURRENCY"] = "1"
    try:
        import pyvips
    except Exception as error:
        raise OperationFailed(
            "Pictures cannot be processed by this installation.",
            log_detail=f"libvips cannot be loaded: {error}",
        ) from error
    version = tuple(pyvips.version(part) for part in range(3))
    # 8.15 brought `keep`; a system's older libvips may shadow the one in the wheel.
    if version < (8, 15, 0):
        raise OperationFailed(
            "Pictures cannot be processed by this installation.",
            log_detail=f"libvips {'.'.join(map(str, version))} is too old, 8.15 is needed.",
        )
    # A damaged picture makes hundreds of warnings, and its error says it all.
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)
    pyvips.concurrency_set(1)
    # No picture is seen twice, and a cached operation holds its file open.
    pyvips.cache_set_max(0)
    # Whatever else this libvips was built with: these five loaders are fuzzed, and no more run.
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in ("Jpeg", "Png", "Webp", "Nsgif", "Tiff"):
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)
    return pyvips


def _kind(path: Path, limits: Limits) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        # Read here as well, because libvips wants to see pixel data before it tells the size.
        if head[12:16] == b"IHDR" and len(head) >= 24:
            width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
            _within_budget(width, height, 1, limits)
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "tiff"
    found = sniff(head)
    what = "empty" if not head else "of no known kind" if found == UNKNOWN else found
    raise ImageUnsupported(f"The content is {what}. Taken are {_TAKEN}.")


def _header(pyvips: Any, kind: str, path: Path) -> Any:
    # A source, not a file name: libvips would read options from brackets in a name.
    load = getattr(pyvips.Image, f"{kind}load_source")
    return load(pyvips.Source.new_from_file(os.fspath(path)), fail_on="error")


def _frames(header: Any) -> int:
    return max(1, int(header.get("n-pages"))) if header.get_typeof("n-pages") else 1


def _within_budget(width: int, height: int, frames: int, limits: Limits) -> None:
    if width * height * frames > limits.max_pixels:
        times = f" in {frames} frames" if frames > 1 else ""
        raise PixelsExceeded(
            f"The picture has {width} by {height}{times} = {width * height * frames:,} pixels; "
            f"at most {limits.max_pixels:,} are taken.",
            pixels=width * height * frames,
            max_pixels=limits.max_pixels,
        )


def _upright_size(header: Any) -> tuple[int, int]:
    turned = header.get_typeof("orientation") and int(header.get("orientation")) in (5, 6, 7, 8)
    return (header.height, header.width) if turned else (header.width, header.height)


def _target_format(kind: str, params: ImageParams) -> Format:
    if params.format != "keep":
        return params.format
    if kind == "jpeg":
        return "jpeg"
    return "webp" if kind == "webp" else "png"


def _plan(size: tuple[int, int], params: ImageParams) -> _Plan:
    """Decide all sizes; exact fractions, so that the side that decides is met to the pixel."""
    scales = [
        Fraction(wanted, have)
        for wanted, have in zip((params.width, params.height), size, strict=True)
        if wanted is not None
    ]
    if params.fit == "fill" and params.width and params.height:
        box = (params.width, params.height)
        return _Plan(box, box, box)
    scale = (max if params.fit == "cover" else min)(scales, default=Fraction(1))
    if not params.enlarge:
        scale = min(scale, Fraction(1))
    scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    if params.fit == "inside" or params.width is None or params.height is None:
        return _Plan(scaled, scaled, scaled)
    if params.fit == "contain":
        return _Plan(scaled, scaled, (params.width, params.height))
    cut = (min(params.width, scaled[0]), min(params.height, scaled[1]))
    return _Plan(scaled, cut, cut)


def _plan_is_possible(plan: _Plan, written: Format, limits: Limits) -> None:
    # What `cover` cuts away is made before it is cut, and counts.
    for width, height in (plan.scaled, plan.canvas):
        if width * height > limits.max_pixels:
            raise PixelsExceeded(
                f"The result would have {width} by {height} = {width * height:,} pixels; "
                f"at most {limits.max_pixels:,} are made.",
                pixels=width * height,
                max_pixels=limits.max_pixels,
            )
    longest = _LONGEST_SIDE_PX[written]
    if max(plan.canvas) > longest:
        raise InvalidParameter(
            f"The result would be {plan.canvas[0]} by {plan.canvas[1]} pixels; a side of a "
            f"{written} picture has at most {longest}."
        )


def _compose(pyvips: Any, path: Path, header: Any, plan: _Plan, params: ImageParams) -> Any:
    picture = pyvips.Image.thumbnail_source(
        pyvips.Source.new_from_file(os.fspath(path)),
        plan.scaled[0],
        height=plan.scaled[1],
        size="force",
        option_string=_STRICT,
        **_colour_options(header),
    )
    picture = _eight_bit(picture)
    if plan.cut != plan.scaled:
        # All rows first: rows that are cut away would else not be read, and a file that is
        # cut short there not noticed.
        picture = picture.copy_memory()
        left, top = ((whole - kept) // 2 for whole, kept in zip(plan.scaled, plan.cut, strict=True))
        picture = picture.crop(left, top, *plan.cut)
    if plan.canvas != plan.cut:
        picture = _padded(picture, plan, _colour(params.background))
    return picture


def _colour_options(header: Any) -> dict[str, Any]:
    # Without a profile the loaders' sRGB, grey or usual CMYK is right already, and asking for a
    # profile all the same takes 0.3 s a megapixel.
    return {"output_profile": "srgb"} if header.get_typeof("icc-profile-data") else {}


def _eight_bit(picture: Any) -> Any:
    grey = picture.interpretation in ("b-w", "grey16")
    picture = picture.colourspace("b-w" if grey else "srgb")
    # TIFF may have further channels behind the alpha.
    most = 2 if grey else 4
    if picture.bands > most:
        picture = picture.extract_band(0, n=most)
    return picture.cast("uchar")


def _colour(background: str) -> list[int]:
    digits = background[1:]
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return list(bytes.fromhex(digits))


def _padded(picture: Any, plan: _Plan, colour: list[int]) -> Any:
    picture = picture.colourspace("srgb")
    if picture.hasalpha():
        colour = [*colour, 255]
    left, top = ((box - inner) // 2 for box, inner in zip(plan.canvas, plan.cut, strict=True))
    return picture.embed(left, top, *plan.canvas, extend="background", background=colour)


def _write(picture: Any, target: Path, written: Format, params: ImageParams) -> None:
    path = os.fspath(target)
    if written == "jpeg":
        if picture.hasalpha():
            colour = _colour(params.background)
            picture = picture.colourspace("srgb").flatten(background=colour)
        picture.jpegsave(path, Q=params.quality, optimize_coding=True, keep="none")
    elif written == "png":
        picture.pngsave(path, filter="all", keep="none")
    else:
        picture.webpsave(path, Q=params.quality, effort=3, keep="none")


def _translated(text: str) -> ImageError | MemoryExceeded | OutputTooLarge | StorageFull:
    """Find out from libvips' messages, all it leaves, whether picture or machine was at fault."""
    if os.strerror(errno.EFBIG) in text:
        return OutputTooLarge("The result is larger than one item may produce.", log_detail=text)
    if os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text:
        return StorageFull("The service has no space left for the result.", log_detail=text)
    # The last two are libwebp's: it has no other reason left to fail on a picture that fits it.
    starved = (
        "out of memory",
        os.strerror(errno.ENOMEM),
        "picture memory error",
        "webpsave: unable to encode",
    )
    if any(words in text for words in starved):
        return MemoryExceeded("The picture needs more memory than is allowed.", log_detail=text)
    return ImageUnreadable("The picture is cut short or damaged.", log_detail=text)


OPERATION = Operation(
    name="image",
    summary="Resize, crop, pad or convert a picture to JPEG, PNG or WebP.",
    params=ImageParams,
    runs="process",
    accepts=("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff"),
    run=resize,
    door="images",
    example={"width": 800, "height": 600, "fit": "inside", "format": "webp"},
)
