"""What can be made of a picture: the encodings that run against each other for the smallest file.

Each knows how to write itself, once as it would be delivered and once quickly, to be judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.ops.imaging.encoding import (
    LONGEST_SIDE_PX,
    WITH_ALPHA,
    WITH_FRAMES,
    Encoding,
    Format,
    Keep,
    save,
    save_with,
)

Method = Literal["lossy", "lossless", "palette", "recoded"]
Racer = Literal["jpeg", "png", "webp", "avif"]

RACERS: tuple[Racer, ...] = ("jpeg", "png", "webp", "avif")

# Of `Encoding`: mozjpeg with trellis quantisation, deringing and its own tables; WebP 4 of 6, in
# a quarter of the time of 6 for 1 % of the size; AVIF 2.
_EFFORT: dict[Format, int] = {"jpeg": 7, "png": 6, "webp": 6, "avif": 5}


@dataclass(frozen=True, slots=True)
class Contender:
    """A format, and a way to write it."""

    format: Format
    method: Method

    @property
    def qualities(self) -> tuple[int, int, int] | None:
        """The lowest and highest quality worth a try, and where to begin; None without one."""
        return _QUALITIES[self.format] if self.method == "lossy" else None

    @property
    def spoils(self) -> bool:
        """Whether the pixels may change."""
        return self.method in ("lossy", "palette")

    def write(
        self,
        picture: Any,
        target: Path,
        quality: int | None,
        *,
        final: bool,
        keep: tuple[Keep, ...] = ("icc",),
    ) -> None:
        """Encode a picture.

        Args:
            picture: in memory, of 8 bits a channel, for a lossless PNG of up to 16.
            target: the file to write.
            quality: for a contender that has `qualities`.
            final: whether to take the time that delivering it deserves.
            keep: which of the picture's fields are written as metadata.

        Raises:
            MemoryExceeded, OutputTooLarge, StorageFull: as their names say.
        """
        if self.method == "palette":
            # At most 256 colours, chosen and dithered by libimagequant.
            pressing = {"effort": 7, "compression": 9} if final else {"effort": 4, "compression": 6}
            options = {"palette": True, "Q": 100, "dither": 1.0, "filter": "none", **pressing}
            save_with(picture, target, "png", keep, **options)
        elif self.method == "lossless" and self.format == "webp":
            # Exact: what is below full transparency too.
            options = {"lossless": True, "exact": True, "effort": 4 if final else 1}
            save_with(picture, target, "webp", keep, **options)
        else:
            encoding = Encoding(
                self.format,
                quality,
                progressive=self.format == "jpeg",
                best_passes=final,
                effort=_EFFORT[self.format],
                keep=keep,
            )
            save(picture, target, encoding)


_QUALITIES: dict[Format, tuple[int, int, int]] = {
    "jpeg": (30, 95, 82),
    "webp": (30, 98, 84),
    "avif": (25, 95, 66),
}


def entrants(
    formats: Iterable[Racer],
    size: tuple[int, int],
    *,
    alpha: bool,
    animated: bool,
    lossless: bool,
    drawn: bool,
) -> list[Contender]:
    """Choose those that can hold the picture and may win.

    Args:
        formats: those that may be written.
        size: width and height in pixels, of one frame.
        alpha: whether any part is transparent.
        animated: whether there are several frames.
        lossless: whether only exact ones are wanted.
        drawn: whether it is a drawing. Of a photograph, nothing without loss and no palette is
            as small as what is lossy and looks the same.
    """
    able = [
        name
        for name in formats
        if max(size) <= LONGEST_SIDE_PX[name]
        and (name in WITH_ALPHA or not alpha)
        and (name in WITH_FRAMES or not animated)
    ]
    lossy = [Contender(name, "lossy") for name in able if name in _QUALITIES]
    if lossy and not (lossless or drawn):
        return lossy
    exact = [Contender(name, "lossless") for name in able if name in ("png", "webp")]
    if lossless:
        return exact
    palette = [Contender(name, "palette") for name in able if name == "png"]
    return [*lossy, *exact, *palette]
