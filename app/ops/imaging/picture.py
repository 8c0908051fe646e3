"""One result of a picture: its sizes and format, decided before a pixel is read where they can be.

What `auto` chooses waits for the pixels; all else that cannot be is refused before the decoding.
"""

from __future__ import annotations

from typing import Any

from app.errors import InvalidParameter
from app.ops.base import Limits
from app.ops.imaging.content import is_see_through, looks_drawn
from app.ops.imaging.encoding import (
    CAN_BE_LOSSLESS,
    WITH_ALPHA,
    WITH_FRAMES,
    Encoding,
    Format,
    Keep,
)
from app.ops.imaging.frames import joined
from app.ops.imaging.loading import Header
from app.ops.imaging.options import Options
from app.ops.imaging.overlay import Overlays
from app.ops.imaging.plan import check_format, check_plan, make_plan
from app.ops.imaging.rights import find_rights, with_rights_only
from app.ops.imaging.shaping import Shaper, flattened
from app.ops.imaging.watch import Watch


class Picture:
    """One result on its way.

    Raises:
        InvalidParameter: `crop` reaches out of the source, or the format cannot hold the result.
        PixelsExceeded: the result would have too many.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        header: Header,
        limits: Limits,
        watch: Watch,
        overlays: Overlays,
    ) -> None:
        self.name = name
        self.options = options
        self.header = header
        self.plan = make_plan(header.size, options)
        self.frames = self._frames()
        check_plan(self.plan, self.frames, limits)
        if options.format != "auto":
            self._check(self._named_format())
        self.shaper = Shaper(header, self.plan, options, watch, overlays.of(options))
        self.shaped: list[Any] = []

    @property
    def pixels(self) -> int:
        """Of all frames of the result together."""
        return self.plan.canvas[0] * self.plan.canvas[1] * self.frames

    def _named_format(self) -> Format:
        assert self.options.format != "auto"  # noqa: S101 - the caller has looked
        return self.header.written if self.options.format == "keep" else self.options.format

    def _check(self, written: Format) -> None:
        check_format(self.plan.canvas, written)
        if self.options.lossless and written not in CAN_BE_LOSSLESS:
            raise InvalidParameter(f"The result would be {written}, which cannot be lossless.")

    def _frames(self) -> int:
        """How many frames of the source are in the result."""
        if not self.header.animated or self.options.animation == "first":
            return 1
        if self.options.format != "auto" and self._named_format() not in WITH_FRAMES:
            return 1
        return min(self.header.frames, self.options.max_frames or self.header.frames)

    def finished(self) -> tuple[Any, Format, str]:
        """Give the picture as it is to be written, the format, and what `auto` took it for.

        Raises:
            InvalidParameter: the format that `auto` chose cannot hold it.
        """
        if self.header.animated and self.frames > 1:
            picture = joined(self.shaped, self.header)
        else:
            picture = self.shaped[0]
        content = ""
        if self.options.format == "auto":
            picture, written, content = self._chosen(picture)
            self._check(written)
        else:
            written = self._named_format()
        if picture.hasalpha() and written not in WITH_ALPHA:
            picture = flattened(picture, self.options.background)
        return self._with_metadata(picture), written, content

    def _chosen(self, picture: Any) -> tuple[Any, Format, str]:
        webp = self.options.auto_webp
        if self.frames > 1:
            return picture, "gif" if webp == "never" else "webp", "animation"
        picture = picture.copy_memory()
        see_through = is_see_through(picture)
        if picture.hasalpha() and not see_through:
            picture = picture.extract_band(0, n=picture.bands - 1)
        if looks_drawn(picture):
            return picture, "png", "drawing"
        without_loss: Format = "png" if webp == "never" else "webp"
        if see_through:
            return picture, without_loss, "photograph with transparency"
        if self.options.lossless:
            return picture, without_loss, "photograph"
        return picture, "webp" if webp == "preferred" else "jpeg", "photograph"

    def _with_metadata(self, picture: Any) -> Any:
        if self.options.metadata == "copyright":
            return with_rights_only(picture, find_rights(self.header))
        if self.options.metadata == "keep" and picture.get_typeof("jpeg-thumbnail-data"):
            # It shows the picture before it was cut.
            picture = picture.copy()
            picture.remove("jpeg-thumbnail-data")
        return picture

    def encoding(self, written: Format) -> Encoding:
        """Say how it is written, as asked."""
        keep: tuple[Keep, ...] = ("icc",) if self.shaper.keeps_profile else ()
        if self.options.metadata == "keep":
            keep += ("exif", "xmp", "iptc", "other")
        elif self.options.metadata == "copyright":
            keep += ("exif", "xmp")
        return Encoding(
            format=written,
            quality=self.options.quality,
            lossless=self.options.lossless,
            progressive=self.options.progressive,
            effort=self.options.effort,
            keep=keep,
        )
