"""From the picture as it was decoded to the picture as it was asked for."""

from __future__ import annotations

from typing import Any

from app.ops.imaging.loading import Header, resized
from app.ops.imaging.options import Options
from app.ops.imaging.overlay import Layer
from app.ops.imaging.plan import Plan, place
from app.ops.imaging.vips import libvips
from app.ops.imaging.watch import Watch


class Shaper:
    """Applies one set of options to a picture, or to all frames of one alike."""

    def __init__(
        self, header: Header, plan: Plan, options: Options, watch: Watch, layer: Layer | None
    ) -> None:
        self._header = header
        self._plan = plan
        self._options = options
        self._watch = watch
        self._layer = layer
        self._colour = colour(options.background)
        self._cut_at: tuple[int, int] | None = None
        # Meaningless in CMYK, which only print can show; and its profile does not fit sRGB.
        self.keeps_profile = (
            options.icc == "keep" and header.has_profile and header.image.interpretation != "cmyk"
        )

    @property
    def streams(self) -> bool:
        """Whether rows can be worked on as they are decoded, all of them once."""
        return self._options.crop is None and self._options.rotate % 90 == 0

    def shape(self, picture: Any) -> Any:
        """Do all that is asked, except for what a format cannot hold.

        Args:
            picture: one frame, loaded from the header's file, perhaps smaller than the header
                says (shrunk on load). Read once from top to bottom if `streams`; else it is
                in memory.

        Returns:
            8 bits a channel, sRGB or grey (or in the picture's own profile, if it is kept).
        """
        picture = self._scaled(picture)
        picture = self._cut(picture)
        picture = self._filtered(picture)
        picture = self._padded(picture)
        if self._options.flatten and picture.hasalpha():
            picture = flattened(picture, self._options.background)
        return picture if self._layer is None else self._layer.on(picture)

    def _scaled(self, picture: Any) -> Any:
        plan, options = self._plan, self._options
        if options.crop is not None:
            picture = picture.autorot().crop(*options.crop)
        if options.rotate % 90:
            picture = self._turned_freely(picture)
        else:
            swapped = options.rotate % 180 != 0
            size = plan.scaled[::-1] if swapped else plan.scaled
            picture = resized(picture, self._header, size, to_srgb=not self.keeps_profile)
            if options.rotate % 360:
                picture = self._in_memory(picture).rot(f"d{round(options.rotate % 360)}")
        if options.flip in ("horizontal", "both"):
            picture = picture.fliphor()
        if options.flip in ("vertical", "both"):
            # From the last row to the first.
            picture = self._in_memory(picture).flipver()
        return picture

    def _in_memory(self, picture: Any) -> Any:
        """Compute all rows now; what is computed from them is watched as well."""
        return self._watch.over(picture.copy_memory())

    def _turned_freely(self, picture: Any) -> Any:
        """Scale, then turn: cheaper than the other way round, and the same but for rounding."""
        plan = self._plan
        scale = max(plan.scaled[0] / plan.turned[0], plan.scaled[1] / plan.turned[1])
        size = max(1, round(plan.taken[0] * scale)), max(1, round(plan.taken[1] * scale))
        picture = resized(picture, self._header, size, to_srgb=not self.keeps_profile)
        picture, colour = self._with_room_for_background(picture)
        bicubic = libvips().Interpolate.new("bicubic")
        picture = self._in_memory(picture)
        picture = picture.rotate(self._options.rotate, interpolate=bicubic, background=colour)
        if self._options.fit == "fill":
            width, height = plan.scaled
            return picture.thumbnail_image(width, height=height, size="force").cast("uchar")
        # A row or column more or less, by rounding.
        return picture.gravity("centre", *plan.scaled, extend="background", background=colour)

    def _with_room_for_background(self, picture: Any) -> tuple[Any, list[int]]:
        """Make a picture able to show the background, and give that in its channels."""
        picture = picture.colourspace("srgb")
        if self._colour[3] < 255 and not picture.hasalpha():
            picture = picture.addalpha().cast("uchar")
        return picture, self._colour if picture.hasalpha() else self._colour[:3]

    def _cut(self, picture: Any) -> Any:
        plan = self._plan
        if plan.cut == plan.scaled:
            return picture
        # All rows first: rows that are cut away would else not be read, and a file that is cut
        # short there not noticed.
        picture = self._in_memory(picture)
        if self._cut_at is None:
            self._cut_at = self._cut_place(picture)
        return picture.crop(*self._cut_at, *plan.cut)

    def _cut_place(self, picture: Any) -> tuple[int, int]:
        gravity = self._options.gravity
        if gravity not in ("attention", "entropy"):
            return place(self._plan.cut, self._plan.scaled, gravity)
        found = picture.smartcrop(*self._plan.cut, interesting=gravity)
        return -found.xoffset, -found.yoffset

    def _filtered(self, picture: Any) -> Any:
        if self._options.blur is not None:
            picture = _blurred(picture, self._options.blur)
        if self._options.sharpen is not None:
            picture = _sharpened(picture, self._options.sharpen)
        return picture

    def _padded(self, picture: Any) -> Any:
        plan = self._plan
        if plan.canvas == plan.cut:
            return picture
        picture, colour = self._with_room_for_background(picture)
        left, top = place(plan.cut, plan.canvas, self._options.gravity)
        return picture.embed(left, top, *plan.canvas, extend="background", background=colour)


def colour(background: str) -> list[int]:
    """Give `#rgb`, `#rgba`, `#rrggbb` or `#rrggbbaa` as red, green, blue and alpha, 0 to 255."""
    digits = background[1:]
    if len(digits) < 6:
        digits = "".join(2 * digit for digit in digits)
    return list(bytes.fromhex(digits if len(digits) == 8 else f"{digits}ff"))


def flattened(picture: Any, background: str) -> Any:
    """Lay a picture with alpha on a colour, whose own alpha is ignored."""
    return picture.colourspace("srgb").flatten(background=colour(background)[:3]).cast("uchar")


def _blurred(picture: Any, sigma: float) -> Any:
    if not picture.hasalpha():
        return picture.gaussblur(sigma)
    # Else the colour of what cannot be seen would bleed into what can.
    return picture.premultiply().gaussblur(sigma).unpremultiply().cast("uchar")


def _sharpened(picture: Any, sigma: float) -> Any:
    # Flat parts a little, edges up to a limit: for screens, not for print as libvips' defaults.
    return picture.sharpen(sigma=sigma, x1=2, y2=10, y3=20, m1=1, m2=2).cast("uchar")
