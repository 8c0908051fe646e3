"""Optimise: the smallest file that still looks the same, or that has exactly the same pixels.

The formats that may be written run against each other. For each lossy one the quality is looked
for at which the result is just as like the original as asked (`app.ops.imaging.fidelity` has the
measure, and why it is this one), on a sample if the picture is large; then the promising ones are
written whole, measured again, and the smallest wins. If nothing is smaller than the input, the
input's own bytes are given back.

No clock has a say in that: what is tried follows from what things cost (`app.ops.imaging.costs`),
so that the same picture gives the same bytes on any day.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from app.errors import InvalidParameter
from app.ops import spellings
from app.ops.accepting import named_pictures
from app.ops.base import MAX_BYTES, Operation, Output, Params, Result, Work, by_size
from app.ops.imaging.contenders import RACERS, Contender, entrants
from app.ops.imaging.content import is_see_through, looks_drawn
from app.ops.imaging.encoding import MEDIA_TYPE, SUFFIX, Keep
from app.ops.imaging.failures import translating
from app.ops.imaging.goal import Goal
from app.ops.imaging.loading import (
    MEDIA_TYPE_READ,
    Header,
    eight_bit,
    load,
    read_header,
    upright_srgb,
)
from app.ops.imaging.lossless import as_stored
from app.ops.imaging.race import Entry, Race
from app.ops.imaging.recoding import Recoding
from app.ops.imaging.rights import Rights, find_rights, with_rights_only
from app.ops.imaging.vips import libvips

Mode = Literal["lossy", "lossless"]
_Written = Annotated[
    Literal["keep", "jpeg", "png", "webp", "avif"], BeforeValidator(spellings.picture)
]

_EXACT = 1.0

_KEPT: dict[str, tuple[Keep, ...]] = {
    "strip": ("icc",),
    "copyright": ("exif", "xmp", "icc"),
    "keep": ("all",),
}


class OptimizeParams(Params):
    """What the result has to be, and what it may be written as."""

    mode: Mode = "lossy"
    """`lossy`: may differ by what is not seen, see `target_ssim`; in 8-bit sRGB. `lossless`:
    exactly the same pixels, depth and colour profile."""
    target_ssim: float = Field(default=0.995, gt=0.5, lt=1)
    """How like the original a lossy result has to be: multi-scale SSIM in CIE L*a*b* with DSSIM's
    pooling, 1 for identical. At 0.998 differences are not seen when both flicker in one place, at
    0.995 not when flipped to and fro, at 0.99 hardly side by side. Of a large picture, the worst
    part counts."""
    target_bytes: int | None = Field(default=None, ge=1, le=MAX_BYTES)
    """If given, the result has at most so many bytes and is as like the original as that allows,
    whatever `target_ssim` says. An input that fits stays as it is, or gets smaller without loss."""
    formats: tuple[_Written, ...] = Field(default=("keep",), min_length=1, max_length=5)
    """What may be written; the smallest is taken. `keep` is the input's own format: a GIF or TIFF
    is then only coded better; of what is read and not written, JPEG or PNG. If not given, what the
    request's Accept header names (`image/webp`, `image/avif`) is tried beside `keep`. As a list, or
    in a query separated by commas."""
    metadata: Literal["strip", "copyright", "keep"] = "strip"
    """`copyright`: keep who made it and whose it is, as the operation `image` does. `keep`: EXIF,
    XMP and IPTC go with the picture. What decides its looks, orientation and colours, is never
    lost. An input that is given back has all it had."""

    _list_or_text = field_validator("formats", mode="before")(spellings.listed)


def optimize(work: Work, params: OptimizeParams) -> Result:
    """Write the picture as small as it gets, or give the input back.

    Lossy results are upright and in 8-bit sRGB: 16 bits a channel become 8, CMYK and wide gamuts
    are converted. Lossless ones keep depth and profile; a JPEG that is only coded better keeps
    its orientation as a note, all others are upright. Animations keep frames, delays and loops:
    a GIF is coded better with the same pixels, or, if it may be lossy and a frame has 256
    colours, with one of them less; WebP can be lossy. What would lose pages or frames
    (multi-page TIFF, animated PNG, AVIF sequence) is given back as it is.

    Returns:
        One output, never larger than the input, named as the source with the suffix of its
        format. Facts: `format`; `method` (lossy, lossless, palette, recoded, kept); `quality`;
        `likeness`, 1 where nothing was lost; `source_size_bytes`, `size_bytes`, `saving` (share
        of the input's bytes, three decimals); `kept_original`, and `reason` if so; `width_px`,
        `height_px`, `frames`; `candidates`, what was written whole; `not_tried`, what would have
        cost more than an item of this time limit may: `format`, `method`, and `quality` if only
        a better one was left out. The same input, parameters and time limit give the same
        result, however busy the machine.

    Raises:
        ImageUnsupported: not a picture of a kind that is read here.
        ImageUnreadable: one of these, and cut or damaged.
        PixelsExceeded: over `max_pixels`, all frames together, before decoding.
        InvalidParameter: `target_bytes` cannot be reached.
        MemoryExceeded, StorageFull, DeadlineExceeded: as their names say.
        OperationFailed: libvips is missing or too old.
    """
    libvips()
    header = read_header(work.source.path, work.limits)
    header.check_budget(header.frames, work.limits)
    reason = _unreadable_parts(header)
    if reason:
        # What is given back has to be whole as well.
        as_stored(header.path, header.kind)
        return _kept(work, header, reason, race=None)
    fits = params.target_bytes is not None and work.source.size_bytes <= params.target_bytes
    exact = params.mode == "lossless" or fits
    race = _raced(work, params, header, exact=exact)
    best = race.best
    if best is not None and best.size_bytes < work.source.size_bytes:
        return _won(work, header, best, race)
    if params.target_bytes is not None and not fits:
        raise InvalidParameter(_out_of_reach(params, race))
    if best is not None:
        best.path.unlink(missing_ok=True)
    return _kept(work, header, _nothing_found(race), race=race)


def _unreadable_parts(header: Header) -> str:
    """Say what of the file would be lost, because it is not read here; empty if nothing."""
    if header.kind == "png" and _is_animated_png(header.path):
        return "An animated PNG cannot be written anew without losing its frames."
    if header.animated and header.orientation != 1:
        return "An animation that is turned by EXIF would lose that in a format without it."
    if header.frames > 1 and not header.animated:
        return f"It has {header.frames} pages or pictures, and only one could be written."
    return ""


def _is_animated_png(path: Path) -> bool:
    """Tell by the chunk `acTL`, which stands before the first pixels (PNG 3rd ed., 11.3.6.1)."""
    with path.open("rb") as file:
        file.seek(8)
        while len(start := file.read(8)) == 8 and start[4:] != b"IDAT":
            if start[4:] == b"acTL":
                return True
            file.seek(int.from_bytes(start[:4]) + 4, 1)
    return False


def _raced(work: Work, params: OptimizeParams, header: Header, *, exact: bool) -> Race:
    if exact:
        picture = as_stored(header.path, header.kind, -1 if header.animated else 1)
    else:
        picture = _seen_picture(header)
    rights = find_rights(header) if params.metadata == "copyright" else Rights()
    if rights:
        picture = with_rights_only(picture, rights)
    goal = Goal(_EXACT if exact else params.target_ssim, params.target_bytes)
    keep = _KEPT[params.metadata]
    race = Race(work, picture, goal, keep)
    formats = {header.written if name == "keep" else name for name in params.formats}
    alpha = is_see_through(eight_bit(picture)) if picture.hasalpha() else False
    entered = entrants(
        [name for name in RACERS if name in formats],
        (picture.width, picture.get_page_height()),
        alpha=alpha,
        animated=header.animated,
        lossless=exact,
        # Of a JPEG alone it makes no difference.
        drawn=not exact and bool(formats & {"png", "webp"}) and looks_drawn(picture),
    )
    recoding = Recoding(race, header, keep, rights, work.limits.time_s)
    if header.kind in formats and recoding.possible:
        race.take_recoding(recoding.contender, recoding)
        if picture.format == header.image.format:
            # It would be the same once more.
            entered = [one for one in entered if one != Contender("png", "lossless")]
    race.run([one for one in entered if not exact or _can_be_exact(one, picture)])
    return race


def _seen_picture(header: Header) -> Any:
    """Decode into 8-bit sRGB, upright, without an alpha that hides nothing."""
    picture = _frames(header) if header.animated else upright_srgb(header)
    # The colours are sRGB by now, which is what a picture without a profile is taken for.
    picture = picture.copy()
    if picture.get_typeof("icc-profile-data"):
        picture.remove("icc-profile-data")
    if picture.hasalpha() and not is_see_through(picture):
        picture = picture.extract_band(0, n=picture.bands - 1).copy_memory()
    return picture


def _frames(header: Header) -> Any:
    with translating():
        picture = load(header.path, header.kind, -1)
        if header.has_profile:
            picture = picture.icc_transform("srgb", embedded=True)
        return eight_bit(picture).copy_memory()


def _can_be_exact(contender: Contender, picture: Any) -> bool:
    """Tell whether the format has this depth and these colours."""
    if contender.format == "webp":
        return picture.format == "uchar" and picture.interpretation in ("srgb", "b-w")
    return picture.interpretation in ("srgb", "b-w", "rgb16", "grey16")


def _won(work: Work, header: Header, best: Entry, race: Race) -> Result:
    name = f"{PurePosixPath(work.source.name).stem or 'image'}{SUFFIX[best.contender.format]}"
    output = Output(best.path, name, MEDIA_TYPE[best.contender.format])
    facts = {
        **asdict(best.contender),
        "quality": best.quality,
        "likeness": round(best.likeness, 5),
        "kept_original": False,
        **_sizes(work, header, best.size_bytes, race),
    }
    return Result((output,), facts)


def _kept(work: Work, header: Header, reason: str, *, race: Race | None) -> Result:
    path = work.folder / "original"
    shutil.copyfile(work.source.path, path)
    output = Output(path, work.source.name, MEDIA_TYPE_READ[header.kind])
    facts = {
        "format": header.kind,
        "method": "kept",
        "quality": None,
        "likeness": _EXACT,
        "kept_original": True,
        "reason": reason,
        **_sizes(work, header, work.source.size_bytes, race),
    }
    return Result((output,), facts)


def _sizes(work: Work, header: Header, size_bytes: int, race: Race | None) -> dict[str, Any]:
    before = work.source.size_bytes
    return {
        "source_size_bytes": before,
        "size_bytes": size_bytes,
        "saving": round(1 - size_bytes / before, 3),
        "width_px": header.size[0],
        "height_px": header.size[1],
        "frames": header.frames,
        "candidates": race.log if race is not None else [],
        "not_tried": race.not_tried if race is not None else [],
    }


def _nothing_found(race: Race) -> str:
    if race.not_tried and not race.log:
        return "What might be smaller costs more time than an item may take."
    return "Nothing smaller was found." if race.ran else "None of the formats can hold the picture."


def _out_of_reach(params: OptimizeParams, race: Race) -> str:
    sizes = [tried["size_bytes"] for tried in race.log if "size_bytes" in tried]
    if race.not_tried:
        return "target_bytes was not reached with what an item's time limit allows."
    if not sizes:
        return "target_bytes cannot be reached: none of the formats can hold the picture."
    return (
        f"target_bytes is {params.target_bytes:,}, and the smallest that was made of the picture "
        f"in mode {params.mode} has {min(sizes):,}."
    )


def by_accept(accept: str) -> dict[str, Any]:
    """Give the parameters that an `Accept` header stands for: what it names, beside `keep`."""
    named = set(named_pictures(accept))
    found = [name for name in RACERS if name in named]
    return {"formats": ["keep", *found]} if found else {}


OPERATION = Operation(
    name="optimize",
    summary="Make a picture's file as small as it gets without looking any different.",
    params=OptimizeParams,
    runs="process",
    accepts=tuple(MEDIA_TYPE_READ.values()),
    run=optimize,
    weight_ms=by_size(100, 4000),
    warm_up=libvips,
    by_accept=by_accept,
    example={"formats": ["jpeg", "webp"], "target_ssim": 0.995},
)
