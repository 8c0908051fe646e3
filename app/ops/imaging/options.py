"""What can be asked of a picture: the parameters, alone and in variants."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from app.ops import spellings
from app.ops.base import Aside, Params
from app.ops.jsontext import value_of

MOST_VARIANTS = 50

Fit = Literal["inside", "outside", "cover", "contain", "pad", "fill"]
Place = Literal[
    "center",
    "north",
    "northeast",
    "east",
    "southeast",
    "south",
    "southwest",
    "west",
    "northwest",
]
Gravity = Place | Literal["attention", "entropy"]
TargetFormat = Annotated[
    Literal["keep", "auto", "jpeg", "png", "webp", "avif", "gif", "tiff"],
    BeforeValidator(spellings.picture),
]


def _json_or_value(value: Any) -> Any:
    """Take the JSON text of a form field or a query for the list that it is."""
    return value_of(value) if isinstance(value, str) else value


def _numbers_or_value(value: Any) -> Any:
    """Take "10,20,300,200" for its four numbers, or JSON as above."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",")]
    return _json_or_value(value)


_MOST_PIXELS = 10_000_000
"""Of a side: libvips' own limit."""
_Place = Annotated[int, Field(ge=0, le=_MOST_PIXELS)]
_Length = Annotated[int, Field(ge=1, le=_MOST_PIXELS)]
Crop = Annotated[tuple[_Place, _Place, _Length, _Length], BeforeValidator(_numbers_or_value)]


_COLOUR = r"^#([0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})$"


def _colour(value: str) -> str:
    if not re.fullmatch(_COLOUR, value):
        raise ValueError("must be a colour as #rgb, #rgba, #rrggbb or #rrggbbaa")
    return value


Colour = Annotated[str, AfterValidator(_colour), Field(json_schema_extra={"pattern": _COLOUR})]


class Overlay(Params):
    """A picture that is laid on the result: a stored file's, or a URL's."""

    file_id: str | None = Field(default=None, min_length=1, max_length=100)
    """Of a stored file of yours."""
    url: str | None = Field(default=None, min_length=1, max_length=8 << 10)
    """Fetched as any URL is, once for the job."""
    position: Place = "southeast"
    """Where it lies."""
    opacity: float = Field(default=1, gt=0, le=1)
    """1 covers what lies below, 0.5 lets half through."""
    scale: float | None = Field(default=None, gt=0, le=1)
    """Its width, as a share of the result's. If not given, it has its own size. One that would not
    fit is made smaller until it does."""
    offset_x: int = Field(default=0, ge=0, le=16_384)
    """Pixels from the left or right side that `position` names, or to the right of the middle; with
    `tiled` between two."""
    offset_y: int = Field(default=0, ge=0, le=16_384)
    """Pixels from the top or bottom that `position` names, or below the middle; with `tiled`
    between two."""
    tiled: bool = False
    """Again and again, all over the result."""

    @model_validator(mode="after")
    def _is_one_file(self) -> Self:
        if (self.file_id is None) == (self.url is None):
            raise ValueError("it takes either a `file_id` or a `url`")
        return self

    @property
    def aside(self) -> Aside:
        """The file that it is."""
        return Aside(file_id=self.file_id, url=self.url)


class Options(Params):
    """How to shape and write one picture. What is done first stands first."""

    crop: Crop | None = None
    """Cut this out before anything else: left, top, width and height in pixels of the upright
    picture, as a list or as `10,20,300,200`. It must lie inside the picture."""
    rotate: float = Field(default=0, ge=-360, le=360)
    """Turn by so many degrees clockwise. Multiples of 90 lose nothing; at others the corners that
    appear are filled with `background`."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Mirror, after turning: `horizontal` swaps left and right, `vertical` top and bottom."""
    width: int | None = Field(default=None, ge=1, le=16_384)
    """Width of the box, in pixels."""
    height: int | None = Field(default=None, ge=1, le=16_384)
    """Height of the box, in pixels. Given only one of both, the other follows from the picture's
    ratio; given neither, the picture keeps its size."""
    fit: Fit = "inside"
    """`inside`: the largest size that fits into the box, ratio kept. `outside`: the smallest that
    covers it, ratio kept, nothing cut. `cover`: as `outside`, then what overhangs the box is cut by
    `gravity`. `contain`: as `inside`, then padded with `background` to exactly the box. `pad`: as
    `inside`, then padded to the ratio of the box; a picture that is smaller than the box gets no
    more frame than that takes. `fill`: exactly the box, ratio ignored. All but `inside` need width
    and height."""
    enlarge: bool = False
    """Whether a picture smaller than the box may grow. If not, `inside` and `outside` leave it as
    it is, `cover` cuts only the side that overhangs, so that the result may be smaller than the
    box, `contain` and `pad` only pad it. `fill` always gives exactly the box."""
    gravity: Gravity = "center"
    """Which part `cover` keeps, and where `contain` and `pad` put the picture. `attention` keeps
    what catches the eye (edges, skin, strong colours), `entropy` what has the most detail; both pad
    as `center`."""
    background: Colour = "#ffffff"
    """Colour as `#rgb`, `#rrggbb`, or with alpha as `#rgba`, `#rrggbbaa`: of padding, of the
    corners that turning opens, and of what shows through transparent parts in a JPEG (where its own
    alpha is ignored) or with `flatten`."""
    flatten: bool = False
    """Lay the picture on `background` also where the format has transparency."""
    blur: float | None = Field(default=None, ge=0.3, le=100)
    """Gaussian blur of the resized picture, sigma in pixels."""
    sharpen: float | None = Field(default=None, ge=0.3, le=10)
    """Sharpen the lightness of the resized picture; sigma in pixels of the unsharp mask."""
    overlay: Annotated[Overlay | None, BeforeValidator(_json_or_value)] = None
    """A watermark: a picture that is laid on the result, on each of its frames. In a form or a
    query as JSON text."""
    format: TargetFormat = "keep"
    """`keep`: the source's own, JPEG for a HEIC (WebP for one with transparency), PNG for BMP and
    ICO. `auto`: PNG for drawings (few colours, hard edges), JPEG for photographs, WebP for what is
    cut out of one and for animations; see `auto_webp`. Facts say which and why."""
    auto_webp: Literal["needed", "preferred", "never"] = "needed"
    """Of format `auto`: `preferred` is WebP for all photographs, `never` is PNG for what is cut out
    of one, and GIF for animations. If not given, the request's Accept header decides: `preferred`
    if it names `image/webp`, `never` if it names other picture types only."""
    quality: int | None = Field(default=None, ge=1, le=100)
    """Of JPEG, WebP (80 if not given) and AVIF (60). PNG and TIFF are lossless, GIF has a palette:
    they have no quality."""
    lossless: bool = False
    """Every pixel of the resized picture as it is: for WebP and AVIF, which can be either. PNG and
    TIFF always are; JPEG and GIF cannot, and are refused. `auto` then takes WebP or PNG."""
    progressive: bool = False
    """Coarse first, then finer: JPEG, and interlaced PNG and GIF. The other formats have no such
    thing."""
    effort: int = Field(default=5, ge=0, le=9)
    """How long to try for a smaller file, mapped to the codec's own scale (TIFF has none). WebP,
    AVIF and GIF take less than asked if the time for an item would not suffice; facts then have the
    `effort` that was."""
    metadata: Literal["strip", "copyright", "keep"] = "strip"
    """`copyright`: keep who made it and whose it is (EXIF Copyright and Artist, the same in IPTC,
    XMP's rights), written as EXIF and XMP, and nothing else. `keep`: EXIF, XMP, IPTC and comments,
    without the embedded thumbnail. A GIF holds none of it, a TIFF no EXIF."""
    icc: Literal["srgb", "keep"] = "srgb"
    """`srgb`: colours are converted to sRGB by the picture's profile, and the profile left out.
    `keep`: colours and profile stay as they are, except of CMYK, and in a GIF, which cannot hold
    one."""
    animation: Literal["keep", "first"] = "keep"
    """`keep`: all frames of an animated GIF or WebP, with delays and loop count, if the result is
    GIF or WebP. `first`: the first frame only. Other formats always get the first; of a TIFF or
    AVIF with several pictures it is all that is read."""
    max_frames: int | None = Field(default=None, ge=1, le=1_000_000)
    """Keep at most this many frames, from the first on."""

    def complaint(self) -> str | None:
        """Say what does not go together, if anything."""
        if self.fit != "inside" and (self.width is None or self.height is None):
            return f"fit {self.fit} needs both width and height"
        if self.lossless and self.format in ("jpeg", "gif"):
            return f"{self.format} cannot be lossless"
        return None


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


class Variant(Options):
    """One of several results. What it does not say is as it stands beside `variants`."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Added to the result's name: `photo-<name>.jpg`. Unique in the list."""

    def own(self) -> dict[str, Any]:
        """Give the options that it says itself."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"name"}}

    @model_serializer(mode="wrap")
    def _only_what_was_said(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not the variant's own: parameters travel to the worker as JSON."""
        return {name: value for name, value in whole(self).items() if name in self.model_fields_set}


class ImageParams(Options):
    """One picture, or several variants of it."""

    variants: Annotated[tuple[Variant, ...], BeforeValidator(_json_or_value)] = Field(
        default=(), max_length=MOST_VARIANTS
    )
    """Several results out of one decode: each has a `name` and any of the other parameters; those
    it leaves out are as given beside `variants`. In a form or a query, as JSON text. A variant that
    cannot be made does not keep the others from it."""

    def pictures(self) -> list[tuple[str, Options]]:
        """Give all that is to be made, by name; the one without variants has the name ""."""
        shared = {name: getattr(self, name) for name in Options.model_fields}
        if not self.variants:
            return [("", Options(**shared))]
        return [(variant.name, Options(**shared | variant.own())) for variant in self.variants]

    def asides(self) -> list[Aside]:
        """Give the files of all overlays."""
        overlays = [options.overlay for _, options in self.pictures()]
        return [overlay.aside for overlay in overlays if overlay is not None]

    @model_validator(mode="after")
    def _all_can_be_made(self) -> Self:
        names = [variant.name.lower() for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have one name")
        for name, options in self.pictures():
            if complaint := options.complaint():
                raise ValueError(f"variant {name}: {complaint}" if name else complaint)
        return self
