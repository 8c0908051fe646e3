"""Writing a picture: the formats, their options, and what of the metadata goes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from app.errors import DeadlineExceeded
from app.ops.imaging.failures import translating, writing
from app.ops.imaging.vips import libvips

Format = Literal["jpeg", "png", "webp", "avif", "gif", "tiff"]
"""The formats that are written."""

SUFFIX: dict[Format, str] = {
    "jpeg": ".jpg",
    "png": ".png",
    "webp": ".webp",
    "avif": ".avif",
    "gif": ".gif",
    "tiff": ".tiff",
}

MEDIA_TYPE: dict[Format, str] = {name: f"image/{name}" for name in SUFFIX}

LONGEST_SIDE_PX: dict[Format, int] = {
    "jpeg": 65_535,
    "png": 2**31 - 1,
    "webp": 16_383,
    "avif": 16_384,
    "gif": 65_535,
    "tiff": 2**31 - 1,
}
"""What the formats' own headers can say, and for AVIF what its encoder takes."""

ALWAYS_LOSSLESS: tuple[Format, ...] = ("png", "tiff")
CAN_BE_LOSSLESS: tuple[Format, ...] = (*ALWAYS_LOSSLESS, "webp", "avif")
WITH_ALPHA: tuple[Format, ...] = ("png", "webp", "avif", "gif", "tiff")
WITH_FRAMES: tuple[Format, ...] = ("webp", "gif")

DEFAULT_QUALITY: dict[Format, int] = {"jpeg": 80, "webp": 80, "avif": 60}
"""Of the formats that have a quality. AVIF's numbers mean more: its 60 looks like JPEG's 80."""

BALANCED_EFFORT = 5

# By effort 0 to 9, each codec's own number. AVIF's default is its 2: 4 takes 5 to 8 times the
# time for 6 % of the size. GIF's palette search is the slowest of all.
_WEBP_EFFORT = (0, 1, 2, 2, 2, 3, 4, 5, 6, 6)
_AVIF_EFFORT = (0, 0, 1, 1, 1, 2, 3, 4, 5, 6)
_ZLIB_LEVEL = (1, 2, 3, 4, 5, 6, 7, 8, 9, 9)
_GIF_EFFORT = (1, 1, 2, 2, 2, 3, 4, 5, 6, 7)
_OPTIMIZE_EFFORT = 2
"""From here on a JPEG gets Huffman tables of its own: 2 to 5 % smaller, 5 % slower."""
_TRELLIS_EFFORT = 7
"""From here on mozjpeg searches, for a JPEG a fifth smaller at five times the time."""

# Seconds for a megapixel of photograph, by the codec's own effort, on a 2.5 GHz core whose
# neighbours are busy. These codecs work in one call each, which no signal can end.
_AVIF_S = (0.2, 0.6, 1.1, 1.8, 8.5, 12.0, 16.0)
_AVIF_LOSSLESS_TIMES = 3.5
_WEBP_S = (0.1, 0.15, 0.2, 0.45, 0.5, 0.9, 1.5)
_WEBP_LOSSLESS_S = (0.25, 1.0, 2.0, 2.0, 2.0, 3.0, 10.0)
_GIF_S = (0.0, 1.2, 1.2, 1.2, 3.0, 4.6, 8.0, 12.0)

_SHARE_OF_TIME = 0.5
"""Of the time that there is for a picture, so much is planned to be spent in such a call: others
may want the core as well."""

Keep = Literal["exif", "xmp", "iptc", "other", "icc", "all"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to write one picture."""

    format: Format
    quality: int | None = None
    """1 to 100, of the formats that have one; None for `DEFAULT_QUALITY`."""
    lossless: bool = False
    """For WebP and AVIF, which can be either."""
    progressive: bool = False
    """JPEG, PNG and GIF: in passes, coarse first."""
    best_passes: bool = True
    """Of a progressive JPEG with much effort: whether to look for the passes that make it
    smallest, 1 to 2 % for half as much time again."""
    effort: int = BALANCED_EFFORT
    """0 to 9: how long to try for a smaller file."""
    keep: tuple[Keep, ...] = ()
    """Which of the picture's fields are written as metadata."""


def affordable(encoding: Encoding, pixels: int, time_s: float, left_s: float) -> Encoding:
    """Lower the effort until the codec's one long call is likely to end in time.

    Args:
        encoding: what is asked.
        pixels: of all frames together.
        time_s: what is meant for this picture, of an item's limit: the same at any time, and so
            is the effort.
        left_s: what the clock says is left.

    Raises:
        DeadlineExceeded: the least effort would take longer than half of `time_s`, or the call
            longer than is left.
    """
    effort, spent_s = encoding.effort, max(time_s, 0) * _SHARE_OF_TIME
    while effort > 0 and _time_s(encoding, effort, pixels) > spent_s:
        effort -= 1
    needed_s = _time_s(encoding, effort, pixels)
    would = f"Writing {pixels:,} pixels as {encoding.format} would take some {needed_s:.0f} s; "
    if needed_s > spent_s:
        raise DeadlineExceeded(
            f"{would}of the {time_s:.0f} s that there are for it, {_SHARE_OF_TIME:.0%} may be "
            "spent so."
        )
    if needed_s > left_s:
        raise DeadlineExceeded(f"{would}{max(left_s, 0):.0f} s are left.")
    return replace(encoding, effort=effort)


def _time_s(encoding: Encoding, effort: int, pixels: int) -> float:
    a_megapixel_s = 0.0
    if encoding.format == "avif":
        times = _AVIF_LOSSLESS_TIMES if encoding.lossless else 1
        a_megapixel_s = _AVIF_S[_AVIF_EFFORT[effort]] * times
    elif encoding.format == "webp":
        scale = _WEBP_LOSSLESS_S if encoding.lossless else _WEBP_S
        a_megapixel_s = scale[_WEBP_EFFORT[effort]]
    elif encoding.format == "gif":
        a_megapixel_s = _GIF_S[_GIF_EFFORT[effort]]
    return pixels / 1e6 * a_megapixel_s


def save(picture: Any, target: Path, encoding: Encoding) -> None:
    """Write a picture of 8 bits a channel, sRGB or grey.

    The caller has seen to it that the format can hold it: no side over `LONGEST_SIDE_PX`, alpha
    only in `WITH_ALPHA`, frames (a tall picture with `page-height`) only in `WITH_FRAMES`.

    Raises:
        MemoryExceeded, OutputTooLarge, StorageFull: as their names say.
        ImageUnreadable: a picture that is decoded while it is written is damaged.
    """
    options = _OPTIONS[encoding.format](encoding)
    save_with(picture, target, encoding.format, encoding.keep, **options)


def save_with(
    picture: Any, target: Path, written: Format, keep: tuple[Keep, ...], **options: Any
) -> None:
    """Write a picture with options of libvips' own; raises as `save`."""
    with writing(target) as file:
        _save(picture, file, written, keep, options)


def saved(picture: Any, encoding: Encoding) -> bytes:
    """Give what `save` would write: of a picture so small that it may be held twice.

    Raises:
        MemoryExceeded, ImageUnreadable: as `save`.
    """
    with translating():
        held = libvips().Target.new_to_memory()
        options = _OPTIONS[encoding.format](encoding)
        _save(picture, held, encoding.format, encoding.keep, options)
        return bytes(held.get("blob"))


def _save(
    picture: Any, target: Any, written: Format, keep: tuple[Keep, ...], options: dict[str, Any]
) -> None:
    saver = "heif" if written == "avif" else written
    getattr(picture, f"{saver}save_target")(target, keep="|".join(keep) or "none", **options)


def _quality(encoding: Encoding) -> int:
    return encoding.quality or DEFAULT_QUALITY[encoding.format]


def _jpeg(encoding: Encoding) -> dict[str, Any]:
    options: dict[str, Any] = {
        "Q": _quality(encoding),
        "interlace": encoding.progressive,
        "optimize_coding": encoding.effort >= _OPTIMIZE_EFFORT,
    }
    if encoding.effort >= _TRELLIS_EFFORT:
        options |= {"trellis_quant": True, "overshoot_deringing": True}
        options["optimize_scans"] = encoding.progressive and encoding.best_passes
    return options


def _png(encoding: Encoding) -> dict[str, Any]:
    # libvips' own default, no filter, makes files a third larger.
    return {
        "compression": _ZLIB_LEVEL[encoding.effort],
        "filter": "all",
        "interlace": encoding.progressive,
    }


def _webp(encoding: Encoding) -> dict[str, Any]:
    return {
        "Q": _quality(encoding),
        "lossless": encoding.lossless,
        "effort": _WEBP_EFFORT[encoding.effort],
    }


def _avif(encoding: Encoding) -> dict[str, Any]:
    return {
        "compression": "av1",
        "Q": _quality(encoding),
        "lossless": encoding.lossless,
        "effort": _AVIF_EFFORT[encoding.effort],
    }


def _gif(encoding: Encoding) -> dict[str, Any]:
    return {
        "effort": _GIF_EFFORT[encoding.effort],
        "interlace": encoding.progressive,
        # Else a frame that repeats the one before goes missing, and its number with it.
        "keep_duplicate_frames": True,
    }


_OPTIONS: dict[Format, Callable[[Encoding], dict[str, Any]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "avif": _avif,
    "gif": _gif,
    "tiff": lambda _: {"compression": "deflate", "predictor": "horizontal"},
}
