"""The arithmetic of a result: which sizes it goes through, decided before a pixel is read.

The fits, and what other services call the same:

    ========  =========  ==========================================================
    here      sharp      elsewhere
    ========  =========  ==========================================================
    inside    inside     imgproxy `fit`; Cloudinary `limit`, with `enlarge` `fit`
    outside   outside    Transloadit `min_fit`
    cover     cover      imgproxy `fill`; Cloudinary `fill`; Transloadit `fillcrop`
    contain   contain    imgproxy `fit` + `extend`; Cloudinary `lpad`, with `enlarge` `pad`
    pad       -          imgproxy `fit` + `extend_aspect_ratio`
    fill      fill       imgproxy `force`; Cloudinary `scale`; Transloadit `stretch`
    ========  =========  ==========================================================

sharp enlarges unless told not to; here nothing grows unless `enlarge` says so, but for `fill`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from app.errors import InvalidParameter
from app.ops.base import Limits
from app.ops.imaging.encoding import LONGEST_SIDE_PX, Format
from app.ops.imaging.loading import check_pixels
from app.ops.imaging.options import Gravity, Options

Size = tuple[int, int]
"""Width and height, in pixels."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of one result, in the order in which they come about."""

    taken: Size
    """What `crop` leaves of the upright picture."""
    turned: Size
    """That, after `rotate`."""
    scaled: Size
    """That, resized."""
    cut: Size
    """What `cover` keeps of it."""
    canvas: Size
    """With padding: the result."""

    @property
    def shrink(self) -> float:
        """Pixels of the source for each of the result, along the side that has fewer."""
        return min(self.turned[0] / self.scaled[0], self.turned[1] / self.scaled[1])


def make_plan(size: Size, options: Options) -> Plan:
    """Decide all sizes; exact fractions, so that the side that decides is met to the pixel.

    Args:
        size: of the upright picture.
        options: what is asked.

    Raises:
        InvalidParameter: `crop` reaches out of the picture.
    """
    taken = _taken(size, options)
    turned = _turned(taken, options.rotate)
    scaled = _scaled(turned, options)
    cut = canvas = scaled
    if options.width is not None and options.height is not None:
        box = (options.width, options.height)
        if options.fit == "cover":
            cut = canvas = (min(box[0], scaled[0]), min(box[1], scaled[1]))
        elif options.fit == "contain":
            canvas = box
        elif options.fit == "pad":
            canvas = (
                max(scaled[0], round(Fraction(scaled[1] * box[0], box[1]))),
                max(scaled[1], round(Fraction(scaled[0] * box[1], box[0]))),
            )
    return Plan(taken, turned, scaled, cut, canvas)


def _taken(size: Size, options: Options) -> Size:
    if options.crop is None:
        return size
    left, top, width, height = options.crop
    if left + width > size[0] or top + height > size[1]:
        raise InvalidParameter(
            f"crop takes {width} by {height} pixels at {left}, {top}; the picture has "
            f"{size[0]} by {size[1]}."
        )
    return width, height


def _turned(size: Size, degrees: float) -> Size:
    """Give the box around a turned picture."""
    if degrees % 180 == 0:
        return size
    if degrees % 90 == 0:
        return size[1], size[0]
    cosine, sine = (abs(f(math.radians(degrees))) for f in (math.cos, math.sin))
    return (
        max(1, round(size[0] * cosine + size[1] * sine)),
        max(1, round(size[1] * cosine + size[0] * sine)),
    )


def _scaled(size: Size, options: Options) -> Size:
    if options.fit == "fill" and options.width and options.height:
        return options.width, options.height
    scales = [
        Fraction(wanted, have)
        for wanted, have in zip((options.width, options.height), size, strict=True)
        if wanted is not None
    ]
    scale = (max if options.fit in ("cover", "outside") else min)(scales, default=Fraction(1))
    if not options.enlarge:
        scale = min(scale, Fraction(1))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def check_plan(plan: Plan, frames: int, limits: Limits) -> None:
    """Hold what will be made against the limit; what `cover` cuts away is made before, and counts.

    Raises:
        PixelsExceeded: it would have more than `max_pixels`.
    """
    for size in (plan.turned, plan.scaled, plan.canvas):
        check_pixels(size, frames, limits, made=True)


def check_format(size: Size, written: Format) -> None:
    """See whether a format can say a size.

    Raises:
        InvalidParameter: it cannot.
    """
    longest = LONGEST_SIDE_PX[written]
    if max(size) > longest:
        raise InvalidParameter(
            f"The result would be {size[0]} by {size[1]} pixels; a side of a "
            f"{written} picture has at most {longest}."
        )


def place(inner: Size, outer: Size, gravity: Gravity) -> tuple[int, int]:
    """Say how far from the left and the top the inner box lies in the outer one.

    In the middle for `attention` and `entropy`, which say nothing about boxes.
    """
    spare = outer[0] - inner[0], outer[1] - inner[1]
    left = 0 if "west" in gravity else spare[0] if "east" in gravity else spare[0] // 2
    top = 0 if "north" in gravity else spare[1] if "south" in gravity else spare[1] // 2
    return left, top
