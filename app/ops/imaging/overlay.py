"""A picture laid on another: a watermark.

What others call it: imgproxy `watermark` (opacity, position, offsets, scale; `re` tiles), thumbor
`watermark` and sharp `composite` (`gravity`, `tile`). As in imgproxy the scale is relative to the
result's width, and the offsets of tiles are the gaps between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import ImageUnreadable, ImageUnsupported, PixelsExceeded
from app.ops.base import Limits, Source
from app.ops.imaging.loading import read_header, upright_srgb
from app.ops.imaging.options import Options, Overlay
from app.ops.imaging.plan import Size, place


class Overlays:
    """The pictures that are laid on a file's results, each decoded once."""

    def __init__(self, asides: Mapping[str, Source], limits: Limits) -> None:
        self._asides = asides
        self._limits = limits
        self._decoded: dict[str, Any] = {}

    def of(self, options: Options) -> Layer | None:
        """Give what is to be laid on a result.

        Raises:
            ImageUnsupported, ImageUnreadable, PixelsExceeded: as for any picture that comes in.
        """
        overlay = options.overlay
        if overlay is None:
            return None
        key = overlay.aside.key
        if key not in self._decoded:
            self._decoded[key] = self._decode(self._asides[key])
        return Layer(overlay, self._decoded[key])

    def _decode(self, source: Source) -> Any:
        try:
            picture = upright_srgb(read_header(source.content, self._limits))
        except (ImageUnsupported, ImageUnreadable, PixelsExceeded) as error:
            said = f"Of the overlay: {error.detail}"
            raise type(error)(said, log_detail=error.log_detail, **error.extra) from error
        picture = picture.colourspace("srgb")
        return picture if picture.hasalpha() else picture.addalpha().cast("uchar")


class Layer:
    """An overlay in the size and place that it has on one result, or on all its frames."""

    def __init__(self, overlay: Overlay, picture: Any) -> None:
        """Take a picture of 8-bit RGBA."""
        self._overlay = overlay
        self._picture = picture
        self._laid: tuple[Size, Any, tuple[int, int]] | None = None

    def on(self, picture: Any) -> Any:
        """Lay it on a picture: sRGB or grey of 8 bits, with or without alpha, as the result is."""
        size = picture.width, picture.height
        if self._laid is None or self._laid[0] != size:
            self._laid = (size, *self._fitted(size))
        _, layer, (left, top) = self._laid
        alpha = picture.hasalpha()
        picture = picture.colourspace("srgb").composite2(layer, "over", x=left, y=top)
        if not alpha:
            picture = picture.extract_band(0, n=3)
        return picture.cast("uchar").copy(interpretation="srgb")

    def _fitted(self, size: Size) -> tuple[Any, tuple[int, int]]:
        """Give the layer for a result of this size, in memory, and where it goes."""
        overlay, picture = self._overlay, self._picture
        wanted = round(overlay.scale * size[0]) if overlay.scale else picture.width
        factor = min(wanted / picture.width, size[0] / picture.width, size[1] / picture.height)
        fitted = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
        if fitted != (picture.width, picture.height):
            picture = picture.thumbnail_image(fitted[0], height=fitted[1], size="force")
        if overlay.opacity < 1:
            picture = picture * [1, 1, 1, overlay.opacity]
        picture = picture.cast("uchar").copy(interpretation="srgb")
        offset = overlay.offset_x, overlay.offset_y
        if overlay.tiled:
            return _tiled(picture.copy_memory(), offset, size), (0, 0)
        return picture.copy_memory(), _placed(fitted, size, overlay)


def _tiled(picture: Any, gaps: tuple[int, int], size: Size) -> Any:
    cell = picture.width + gaps[0], picture.height + gaps[1]
    # A gap may be wider than the result: no more of it is made than can be seen.
    cell = min(cell[0], size[0] + picture.width), min(cell[1], size[1] + picture.height)
    tile = picture.embed(0, 0, *cell, extend="background", background=[0, 0, 0, 0])
    times = -(-size[0] // cell[0]), -(-size[1] // cell[1])
    return tile.replicate(*times).crop(0, 0, *size).copy(interpretation="srgb")


def _placed(layer: Size, size: Size, overlay: Overlay) -> tuple[int, int]:
    left, top = place(layer, size, overlay.position)
    x, y = overlay.offset_x, overlay.offset_y
    left += -x if "east" in overlay.position else x
    top += -y if "south" in overlay.position else y
    return left, top
