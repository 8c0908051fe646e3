"""Pictures and text that others work on: made anew each time, the same on every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

FORMS = ((800, 30), (200, 16), (48, 8), (12, 5))
"""Sizes in pixels and strengths of the soft forms that a photograph has."""
SCALE = 4
"""The forms are drawn small and enlarged: the same look, sooner."""


def log_lines() -> Iterator[str]:
    """Give lines of a web server's log, without end."""
    dice = random.Random(1)  # noqa: S311 - the same log each time
    paths = [f"/articles/{number}" for number in range(300)] + ["/", "/search", "/api/items"]
    agents = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Firefox/{v}.0" for v in range(120, 140)]
    line = 0
    while True:
        clock = f"{line // 3600 % 24:02}:{line // 60 % 60:02}:{line % 60:02}"
        yield (
            f"10.0.{dice.randrange(32)}.{dice.randrange(256)} - - [01/Jun/2025:{clock} +0000] "
            f'"GET {dice.choice(paths)} HTTP/1.1" {dice.choice((200, 200, 200, 304, 404))} '
            f'{dice.randrange(200, 90_000)} "-" "{dice.choice(agents)}"\n'
        )
        line += 1


def photograph(width: int, height: int) -> Any:
    """Give a picture of libvips that compresses like a photo: soft forms of all sizes, and grain.

    Args:
        width: in pixels, a multiple of 4.
        height: in pixels, a multiple of 4.
    """
    import pyvips

    small = (width // SCALE, height // SCALE)

    def channel(number: int) -> Any:
        sum_ = pyvips.Image.black(*small) + 120
        for cell_px, strength in FORMS:
            # The large forms differ by channel, and so have colour; the small ones are light.
            seed = cell_px + (number if cell_px >= 200 else 0)
            cells = (width // cell_px + 4, height // cell_px + 4)
            dots = pyvips.Image.gaussnoise(*cells, mean=0, sigma=strength, seed=seed)
            sum_ += dots.resize(cell_px // SCALE, kernel="cubic").crop(0, 0, *small)
        return sum_

    red, green, blue = (channel(number) for number in range(3))
    picture = red.bandjoin([green, blue]).cast("uchar").resize(SCALE, kernel="cubic")
    grain = pyvips.Image.gaussnoise(width // 2, height // 2, mean=0, sigma=9, seed=1)
    picture += grain.cast("char").resize(2, kernel="linear")
    return picture.cast("uchar").copy(interpretation="srgb")
