"""A small part that stands for a large picture, so that a search need not encode all of it."""

from __future__ import annotations

from typing import Any

from app.ops.imaging.fidelity import Part, parts_that_count
from app.ops.imaging.vips import libvips

_SAMPLE_PIXELS = 1 << 19
"""A picture of up to this many is its own sample."""

_TILE_PX = 192
"""More tells no more, at twice the time; the measure needs 176."""
_ACROSS = 3

_GRID_PX = 16
"""What JPEG and its like cut a picture into, from its corner on. A tile that does not begin on it
has the seams of an earlier compression somewhere else than the whole has them, and is harder or
easier than that by half."""


def sample(picture: Any) -> tuple[Any, list[Part]]:
    """Give a mosaic of pieces, unscaled, and its rows; of an animation the first frames.

    Each row is out of one of the parts that `likeness` compares, so that the worst row tells of
    the worst part. Scaling down would do away with just those details that an encoder spoils.

    Args:
        picture: in memory; an animation is tall, with `page-height`.

    Returns:
        The picture itself, and the parts that count, if it is small.
    """
    if picture.width * picture.height <= _SAMPLE_PIXELS:
        return picture, parts_that_count(picture.width, picture.height)
    if picture.get_n_pages() > 1:
        frames = _first_frames(picture)
        return frames, parts_that_count(frames.width, frames.height)
    parts = parts_that_count(picture.width, picture.height)
    width_px = min(_TILE_PX, *(part[2] for part in parts))
    height_px = min(_TILE_PX, *(part[3] for part in parts))
    across = max(1, min(_ACROSS, min(part[2] for part in parts) // width_px))
    tiles = [
        picture.crop(left, top, width_px, height_px)
        for part in parts
        for left, top in _corners(part, width_px, height_px, across)
    ]
    mosaic = libvips().Image.arrayjoin(tiles, across=across).copy_memory()
    rows = [(0, height_px * row, mosaic.width, height_px) for row in range(len(parts))]
    return mosaic, rows


def _corners(part: Part, width_px: int, height_px: int, count: int) -> list[tuple[int, int]]:
    """Spread the tiles of one part, each a little lower than the one before."""
    left, top, whole_width_px, whole_height_px = part
    return [
        (
            _on_grid(left + (whole_width_px - width_px) * (number + 1) // (count + 1)),
            _on_grid(top + (whole_height_px - height_px) * (number + 1) // (count + 1)),
        )
        for number in range(count)
    ]


def _on_grid(place_px: int) -> int:
    """Go back to the grid, if need be by a few pixels out of the part."""
    return place_px // _GRID_PX * _GRID_PX


def _first_frames(picture: Any) -> Any:
    height_px = picture.get_page_height()
    frames = max(2, _SAMPLE_PIXELS // (picture.width * height_px))
    frames = min(frames, picture.get_n_pages())
    return picture.crop(0, 0, picture.width, frames * height_px).copy_memory()
