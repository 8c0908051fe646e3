"""What is worked on."""

from __future__ import annotations

import os
import random
from functools import lru_cache
from pathlib import Path

from app.samples import log_lines, photograph

SIZES_PX = ((1632, 1224), (4000, 3000), (2048, 1536), (3264, 2448))
"""Of the pictures, in turns: of a camera, of phones, and of what was sent by a messenger."""
MARGIN_PX = 200
"""By how much the picture is larger that all are cut of."""
NEW_BYTES = 8 << 20
"""Of a log; beyond, it begins again, farther back than the codecs look."""


def photographs(folder: Path, count: int) -> list[Path]:
    """Write JPEGs that weigh what a camera's do: cuts of one picture, at places of their own."""
    width, height = max(SIZES_PX[:count])
    source = photograph(width + MARGIN_PX, height + MARGIN_PX).copy_memory()
    dice = random.Random(1)  # noqa: S311 - the same pictures each time
    paths = []
    for number in range(count):
        width, height = SIZES_PX[number % len(SIZES_PX)]
        left = dice.randrange(source.width - width + 1)
        top = dice.randrange(source.height - height + 1)
        paths.append(folder / f"photo-{number:03}.jpg")
        source.crop(left, top, width, height).jpegsave(os.fspath(paths[-1]), Q=88)
    return paths


@lru_cache(2)
def log_text(size_bytes: int) -> bytes:
    """Give so much of a web server's log, which compresses as such do."""
    text, lines = bytearray(), log_lines()
    while len(text) < min(size_bytes, NEW_BYTES):
        text += next(lines).encode()
    return (bytes(text) * (size_bytes // len(text) + 1))[:size_bytes]
