"""What a picture shows, as far as it decides which format suits it."""

from __future__ import annotations

from typing import Any

_DRAWN_SHARE = 0.4
"""Of the pixels of a drawing, so many have their left neighbour's colour exactly. Photographs
have some 2 to 20 %, screenshots, logos and charts 60 % and more."""


def looks_drawn(picture: Any) -> bool:
    """Tell drawings, logos and screenshots from photographs.

    Args:
        picture: 8 bits a channel, in memory.
    """
    if picture.width < 2:
        return False
    here = picture.crop(1, 0, picture.width - 1, picture.height)
    left = picture.crop(0, 0, picture.width - 1, picture.height)
    return bool((here == left).bandand().avg() / 255 > _DRAWN_SHARE)


def is_see_through(picture: Any) -> bool:
    """Tell whether any pixel lets something through; many pictures have an alpha for nothing.

    Args:
        picture: 8 bits a channel, in memory.
    """
    return bool(picture.hasalpha() and picture[picture.bands - 1].min() < 255)
