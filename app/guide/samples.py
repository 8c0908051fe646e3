"""What is worked on: pictures and text, made anew each time, the same on every run."""

from __future__ import annotations

import os
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

SIZES_PX = ((1632, 1224), (4000, 3000), (2048, 1536), (3264, 2448))
"""Of the pictures, in turns: of a camera, of phones, and of what was sent by a messenger."""
FORMS = ((800, 30), (200, 16), (48, 8), (12, 5))
"""Sizes in pixels and strengths of the soft forms that a picture has."""


def photographs(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write JPEGs that weigh what a camera's do: soft forms of all sizes, and grain.

    All are cuts of one large picture, at places of their own.
    """
    source, dice = _photograph(max(SIZES_PX[:count]), seed), random.Random(seed)  # noqa: S311 - no secret
    paths = []
    for number in range(count):
        width, height = SIZES_PX[number % len(SIZES_PX)]
        left = dice.randrange(source.width - width + 1)
        top = dice.randrange(source.height - height + 1)
        paths.append(folder / f"photo-{number:03}.jpg")
        source.crop(left, top, width, height).jpegsave(os.fspath(paths[-1]), Q=88)
    return paths


def _photograph(size_px: tuple[int, int], seed: int) -> Any:
    import pyvips

    width, height = size_px[0] + 200, size_px[1] + 200
    scale = 4  # the forms are drawn small and enlarged: the same look, sooner
    small = (width // scale, height // scale)

    def channel(number: int) -> Any:
        sum_ = pyvips.Image.black(*small) + 120
        for cell_px, strength in FORMS:
            # The large forms differ by channel, and so have colour; the small ones are light.
            of = seed + cell_px + (number if cell_px >= 200 else 0)
            cells = (width // cell_px + 4, height // cell_px + 4)
            dots = pyvips.Image.gaussnoise(*cells, mean=0, sigma=strength, seed=of)
            sum_ += dots.resize(cell_px // scale, kernel="cubic").crop(0, 0, *small)
        return sum_

    red, green, blue = (channel(number) for number in range(3))
    picture = red.bandjoin([green, blue]).cast("uchar").resize(scale, kernel="cubic")
    grain = pyvips.Image.gaussnoise(picture.width // 2, picture.height // 2, sigma=9, seed=1)
    picture = picture + grain.resize(2, kernel="linear")
    return picture.cast("uchar").copy(interpretation="srgb").copy_memory()


@lru_cache(2)
def log_text(size_bytes: int) -> bytes:
    """Give lines of a web server's log, which compress as such do.

    Made for up to 8 MiB; beyond, it begins again, farther back than the codecs look.
    """
    dice = random.Random(1)  # noqa: S311 - the same log each time
    paths = [f"/articles/{number}" for number in range(300)] + ["/", "/search", "/api/items"]
    agents = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Firefox/{v}.0" for v in range(120, 140)]
    lines, left = list[str](), min(size_bytes, 8 << 20)
    while left > 0:
        number = len(lines)
        clock = f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
        lines.append(
            f"10.0.{dice.randrange(32)}.{dice.randrange(256)} - - [01/Jun/2026:{clock} +0000] "
            f'"GET {dice.choice(paths)} HTTP/1.1" {dice.choice((200, 200, 200, 304, 404))} '
            f'{dice.randrange(200, 90_000)} "-" "{dice.choice(agents)}"\n'
        )
        left -= len(lines[-1])
    text = "".join(lines).encode()
    return (text * (size_bytes // len(text) + 1))[:size_bytes]
