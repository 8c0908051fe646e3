"""What a picture file says of itself, and whether its pixels can be had."""

from __future__ import annotations

from typing import Any

from app.errors import ImageError, LimitError, MemoryExceeded
from app.ops.base import Content, Limits
from app.ops.imaging.failures import translating
from app.ops.imaging.loading import Header, load, read_header
from app.ops.imaging.profile import profile_name
from app.ops.imaging.vips import field_of

_COLOURS = {
    "srgb": "rgb",
    "rgb": "rgb",
    "rgb16": "rgb",
    "scrgb": "rgb",
    "b-w": "grey",
    "grey16": "grey",
    "cmyk": "cmyk",
    "lab": "lab",
    "labs": "lab",
    "xyz": "xyz",
}

_BITS = {"uchar": 8, "char": 8, "ushort": 16, "short": 16, "uint": 32, "int": 32, "float": 32}

_MOST_DELAYS = 1_000

_UNTOLD = ("tiff", "gif")
"""Of these, libvips does not tell all metadata."""

_GPS_FIELD = "exif-ifd3-"
"""How libvips names what stands in EXIF's GPS directory."""

_XMP_GPS = b"GPSL"
"""GPSLatitude and GPSLongitude, as attributes or elements."""


def describe_picture(content: Content, limits: Limits, *, verify: bool) -> dict[str, Any]:
    """Tell what a picture is like. Never raises on content.

    Args:
        content: the file, or what is in it.
        limits: decoding keeps to `max_pixels`; reading the header does not.
        verify: whether to decode it whole.

    Returns:
        `readable`, and `reason` if not: nothing further is told of a file whose header cannot
        be read. `verified`: whether all pixels were decoded; not if `verify` is off, or they are
        too many. Sizes, colours and metadata as `inspect` documents them.
    """
    try:
        header = read_header(content)
        facts = _facts(header)
    except (ImageError, MemoryExceeded) as error:
        return {"readable": False, "verified": False, "reason": error.detail}
    facts |= {"readable": True, "verified": False}
    if verify:
        try:
            header.check_budget(header.frames, limits)
            _decode(header)
            facts["verified"] = True
        except ImageError as error:
            facts |= {"readable": False, "reason": error.detail}
        except LimitError as error:
            facts["reason"] = error.detail
    return facts


def _decode(header: Header) -> None:
    """Decode all frames, top to bottom, keeping none of it."""
    several = header.kind in ("gif", "webp", "tiff") and header.frames > 1
    with translating():
        load(header.content, header.kind, -1 if several else 1).avg()


def _facts(header: Header) -> dict[str, Any]:
    image = header.image
    fields = set(image.get_fields())
    with translating():
        return {
            "format": header.kind,
            "width_px": header.size[0],
            "height_px": header.size[1],
            "stored_width_px": image.width,
            "stored_height_px": image.height,
            "orientation": header.orientation,
            "frames": header.frames,
            "animation": _animation(header),
            "colours": _COLOURS.get(image.interpretation, image.interpretation),
            "channels": image.bands,
            "bits_per_channel": field_of(image, "bits-per-sample") or _BITS.get(image.format, 64),
            "palette": "palette" in fields,
            "alpha": header.has_alpha,
            "progressive": "interlaced" in fields,
            "chroma_subsampling": field_of(image, "jpeg-chroma-subsample"),
            "icc_profile": _profile(image),
            "metadata": _metadata(header, fields),
        }


def _metadata(header: Header, fields: set[str]) -> dict[str, Any]:
    known = {
        "exif": "exif-data" in fields,
        "gps": _has_gps(header.image, fields),
        "xmp": "xmp-data" in fields,
        "iptc": "iptc-data" in fields,
    }
    if header.kind in _UNTOLD:
        # Not seen is not the same as not there.
        return {name: found or None for name, found in known.items()}
    return dict(known)


def _animation(header: Header) -> dict[str, Any] | None:
    if not header.animated:
        return None
    delays_ms = field_of(header.image, "delay", [])
    return {
        "delays_ms": delays_ms[:_MOST_DELAYS],
        "duration_ms": sum(delays_ms[: header.frames]),
        # 0 is for ever.
        "loops": field_of(header.image, "loop"),
    }


def _profile(image: Any) -> dict[str, Any] | None:
    profile = bytes(field_of(image, "icc-profile-data", b""))
    if not profile:
        return None
    return {"name": profile_name(profile), "size_bytes": len(profile)}


def _has_gps(image: Any, fields: set[str]) -> bool:
    if any(name.startswith(_GPS_FIELD) for name in fields):
        return True
    return _XMP_GPS in bytes(field_of(image, "xmp-data", b""))
