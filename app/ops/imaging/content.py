"""What a picture shows, as far as it decides which format suits it."""

from __future__ import annotations

from typing import Any

from app.ops.imaging.vips import libvips

_ALIKE_SHARE = 0.4
"""Of the pixels of a drawing, so many have their left neighbour's colour exactly: screenshots,
logos and charts 60 % and more, photographs with grain some 2 to 20 %."""

_FAINT_SHARE = 0.2
"""Of the pixels of a photograph, so many differ from it by a shade; out of focus, where half are
alike, it is 30 % and more, and as many of a drawing that was a JPEG; of others hardly 5 %."""

_SHADE = 6

_BLOCK_PX = 16
"""Blocks of one colour tell nothing: a photograph may be cut out, or have been taken before a
white wall."""

_LOOKED_AT_PIXELS = 1 << 20
_STRIP_PX = 32


def looks_drawn(picture: Any) -> bool:
    """Tell drawings, logos and screenshots from photographs.

    Args:
        picture: 8 bits a channel, in memory. Of a large one, strips of rows are looked at.
    """
    if picture.width < 2:
        return False
    if picture.hasalpha():
        # What cannot be seen is of one colour, whatever is stored there.
        picture = picture.flatten(background=255)
    picture = _strips(picture)
    here = picture.crop(1, 0, picture.width - 1, picture.height)
    left = picture.crop(0, 0, picture.width - 1, picture.height)
    apart = (here.cast("short") - left.cast("short")).abs()
    first, *others = apart.bandsplit()
    most = first.bandrank(others, index=len(others)) if others else first
    alike = _by_block((most == 0) / 255)
    faint = _by_block(((most > 0) & (most <= _SHADE)) / 255)
    varied = (alike < 1) / 255
    blocks = varied.avg()
    if blocks == 0:
        return True
    return bool(
        (alike * varied).avg() / blocks > _ALIKE_SHARE
        and (faint * varied).avg() / blocks < _FAINT_SHARE
    )


def _strips(picture: Any) -> Any:
    count = _LOOKED_AT_PIXELS // (picture.width * _STRIP_PX)
    if picture.width * picture.height <= 2 * _LOOKED_AT_PIXELS or count < 2:
        return picture
    spare = picture.height - _STRIP_PX
    tops = [spare * number // (count - 1) for number in range(count)]
    strips = [picture.crop(0, top, picture.width, _STRIP_PX) for top in tops]
    return libvips().Image.arrayjoin(strips, across=1)


def _by_block(shares: Any) -> Any:
    if min(shares.width, shares.height) >= _BLOCK_PX:
        shares = shares.shrink(_BLOCK_PX, _BLOCK_PX)
    return shares.copy_memory()


def is_see_through(picture: Any) -> bool:
    """Tell whether any pixel lets something through; many pictures have an alpha for nothing.

    Args:
        picture: 8 bits a channel, in memory.
    """
    return bool(picture.hasalpha() and picture[picture.bands - 1].min() < 255)
