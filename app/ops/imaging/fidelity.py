"""How alike two pictures look, as one number.

The measure is multi-scale SSIM (Wang, Simoncelli and Bovik, "Multi-scale structural similarity
for image quality assessment", 2003) with the three departures that DSSIM made from it: scaled in
linear light, compared in CIE L*a*b* with its two colour channels, and pooled by mean absolute
deviation, so that an error in one place is not averaged away by calm ones. `blazediff-ssim`
computes it.

SSIM hardly sees that a whole region has become lighter or of another tint, so beside it the mean
colours of blocks are compared, and the worse of both counts.

Why this one: against SSIMULACRA2, which follows people's judgement of compression best but takes
seconds and gigabytes in Python, on 15 pictures (photographs, scans, text, drawings) in JPEG, WebP
and AVIF at 21 qualities, Spearman's rank correlation is 0.93 over all pictures and 0.97 over the
photographs. Plain MS-SSIM has 0.91 and 0.94, SSIM 0.54 and 0.74, and neither sees colour.

What a number means, by the same pictures and without the blocks: at 0.998 the median SSIMULACRA2
is 90 ("visually lossless"); at 0.995 it is 85 ("not to be told apart when flipped to and fro"),
and seven of eight have 80 or more ("side by side"); at 0.992 the median is 80.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from blazediff_ssim import compare_rgba

from app.ops.imaging.failures import translating

_SHORTEST_SIDE_PX = 176
"""Five scales with a window of 11 need as much: 11 times 2 to the power of 4."""

_PART_PIXELS = 1 << 20
"""One call takes some 40 bytes and 0.2 us a pixel, and no signal reaches Python meanwhile."""

_PART_WIDTH_PX = 4096

_MOST_PARTS = 4
"""Else 12 megapixels would take 4 s each time."""

_BLOCK_PX = 32
_LOSS_OF_A_LEVEL = 0.0016
"""Of 255. Good encodings are off by one or two in the mean of a block; three are seen in flat
regions, flipped to and fro."""

_FRACTIONS = 16
"""Of a level, that are told apart."""

Part = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""

_GROUNDS = (0, 255)
"""What shows through transparent parts: an error that is invisible on black shows on white."""


def likeness(original: Any, candidate: Any, parts: Sequence[Part] = ()) -> float:
    """Compare two pictures of the same size.

    A large picture is compared part by part, one of more than four parts in four of them, evenly
    spread, and is as good as its worst part. One with transparent parts is compared on black and
    on white.

    Args:
        original: 8 bits a channel, sRGB or grey, in memory.
        candidate: the same.
        parts: what to compare, instead of those.

    Returns:
        1.0 for identical ones, less the more they differ; 0.0 also where they have nothing in
        common.

    Raises:
        ImageUnreadable, MemoryExceeded: a picture that is decoded only now fails.
    """
    parts = parts or parts_that_count(original.width, original.height)
    with translating():
        if original.hasalpha() or candidate.hasalpha():
            return min(
                _worst(_on(original, tone), _on(candidate, tone), parts) for tone in _GROUNDS
            )
        return _worst(original, candidate, parts)


def parts_that_count(width_px: int, height_px: int) -> list[Part]:
    """Give the parts in which `likeness` compares pictures of this size."""
    parts = list(_parts(width_px, height_px))
    return parts if len(parts) <= _MOST_PARTS else parts[:: -(-len(parts) // _MOST_PARTS)]


def _on(picture: Any, tone: int) -> Any:
    return picture.flatten(background=tone) if picture.hasalpha() else picture


def _worst(original: Any, candidate: Any, parts: Sequence[Part]) -> float:
    return min(_compare(original.crop(*part), candidate.crop(*part)) for part in parts)


def _parts(width_px: int, height_px: int) -> Iterator[Part]:
    """Cut into left, top, width and height; no part is smaller than the measure needs."""
    columns = -(-width_px // _PART_WIDTH_PX)
    rows = width_px * height_px // columns // _PART_PIXELS
    rows = max(1, min(rows, height_px // _SHORTEST_SIDE_PX))
    for left, right in pairwise(width_px * number // columns for number in range(columns + 1)):
        for top, bottom in pairwise(height_px * number // rows for number in range(rows + 1)):
            yield left, top, right - left, bottom - top


def _compare(original: Any, candidate: Any) -> float:
    first, second = _large_enough(original), _large_enough(candidate)
    found = compare_rgba(
        _rgba(first),
        _rgba(second),
        first.width,
        first.height,
        metric="perceptual-ssim",
        color="lab",
        chroma_weight=0.3,
        pooling="mad",
        # The product is not a number where two pictures are opposites of each other.
        method="weighted-sum",
    )
    drift = _drift(first, second)
    return max(0.0, min(1.0, float(found.score), 1 - drift * _LOSS_OF_A_LEVEL))


def _drift(first: Any, second: Any) -> float:
    """Give by how many levels the mean colours of blocks differ; of 99 in 100 blocks, at most."""
    means = (first.cast("float") - second.cast("float")).shrink(_BLOCK_PX, _BLOCK_PX).abs()
    red, green, blue = means.bandsplit()
    worst = red.bandrank([green, blue], index=2)
    # Percentiles are counted over whole numbers; what is given is the first that is too high.
    return max(0.0, float((worst * _FRACTIONS).cast("ushort").percent(99)) - 1) / _FRACTIONS


def _large_enough(picture: Any) -> Any:
    """Give RGB; a side that is too short goes on as its own mirror image."""
    picture = picture.colourspace("srgb")
    width_px = max(picture.width, _SHORTEST_SIDE_PX)
    height_px = max(picture.height, _SHORTEST_SIDE_PX)
    if (picture.width, picture.height) == (width_px, height_px):
        return picture
    return picture.embed(0, 0, width_px, height_px, extend="mirror")


def _rgba(picture: Any) -> bytes:
    return bytes(picture.bandjoin(255).write_to_memory())
