"""A small part that stands for a large picture, so that a search need not encode all of it."""

from __future__ import annotations

from typing import Any

from app.ops.imaging.vips import libvips

_SAMPLE_PIXELS = 512 * 1024
"""A picture of up to this many is its own sample."""

_TILE_PX = 256
_ACROSS, _DOWN = 4, 2


def sample(picture: Any) -> Any:
    """Give a mosaic of evenly spread pieces, unscaled; of an animation the first frames.

    Scaling down would do away with just those details that an encoder spoils.

    Args:
        picture: in memory; an animation is tall, with `page-height`.

    Returns:
        The picture itself if it is small.
    """
    if picture.width * picture.height <= _SAMPLE_PIXELS:
        return picture
    if picture.get_n_pages() > 1:
        return _first_frames(picture)
    width_px, height_px = min(_TILE_PX, picture.width), min(_TILE_PX, picture.height)
    lefts = _starts(picture.width, width_px, _ACROSS)
    tops = _starts(picture.height, height_px, _DOWN)
    tiles = [picture.crop(left, top, width_px, height_px) for top in tops for left in lefts]
    return libvips().Image.arrayjoin(tiles, across=len(lefts)).copy_memory()


def _starts(length_px: int, tile_px: int, usual: int) -> list[int]:
    """Spread the tiles of one side: the usual number, or fewer if they would overlap."""
    count = min(usual, length_px // tile_px)
    if count == 1:
        return [(length_px - tile_px) // 2]
    return [(length_px - tile_px) * number // (count - 1) for number in range(count)]


def _first_frames(picture: Any) -> Any:
    height_px = picture.get_page_height()
    frames = max(2, _SAMPLE_PIXELS // (picture.width * height_px))
    frames = min(frames, picture.get_n_pages())
    return picture.crop(0, 0, picture.width, frames * height_px).copy_memory()
