"""JPEGs decoded small by libjpeg-turbo 3, which is quicker at it than the decoder in libvips.

The wheel of libvips has mozjpeg, whose decoder is that of libjpeg-turbo 2: a photograph of 12 MP,
decoded at half its size, made smaller and written, takes 1.2 to 1.3 times as long with it.
Whatever is unusual about a file is left to libvips, and so is the judgement of damaged ones.
"""

from __future__ import annotations

import os
from typing import Any

from app.ops.base import Content, whole
from app.ops.imaging.loading import Header
from app.ops.imaging.vips import field_of, libvips

_MOST_BYTES = 64 << 20
"""Of a file: it is read whole."""

_SPACES = {("srgb", 3): "RGB", ("b-w", 1): "GRAY"}
"""Of libvips' interpretations and channels, those that are read here, as TurboJPEG has them."""


def decoded_small(header: Header, shrink: int) -> Any | None:
    """Decode a JPEG at a half, a quarter or an eighth of its size, into memory.

    Not one with several scans: a small file may have thousands of them, and one call decodes all.

    Args:
        header: of the file.
        shrink: 2, 4 or 8; scaled in the frequency domain, sides rounded down.

    Returns:
        What `load` would have given: the pixels as they are stored, with orientation and profile
        and nothing else that is said of them. None if libvips has to do it.
    """
    image = header.image
    space = _SPACES.get((image.interpretation, image.bands))
    scans = field_of(image, "jpeg-multiscan")
    if space is None or scans or _size_bytes(header.content) > _MOST_BYTES:
        return None
    size = -(-image.width // shrink), -(-image.height // shrink)
    try:
        pixels = _decode()(
            whole(header.content),
            space,
            fastdct=True,
            fastupsample=True,
            min_width=size[0],
            min_height=size[1],
            strict=True,
        )
    except ValueError:
        # Damaged, or with stray bytes that libvips does not mind.
        return None
    if pixels.shape[:2] != size[::-1]:
        return None
    decoded = libvips().Image.new_from_memory(pixels.data, *size, image.bands, "uchar")
    exact = image.width // shrink, image.height // shrink
    if exact != size:
        # As libvips does: the last row and column stand for less of the picture than the others.
        decoded = decoded.crop(0, 0, *exact)
    return _with_fields(decoded.copy(interpretation=image.interpretation), header)


def _size_bytes(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _with_fields(decoded: Any, header: Header) -> Any:
    pyvips = libvips()
    if header.orientation != 1:
        decoded.set_type(pyvips.GValue.gint_type, "orientation", header.orientation)
    if header.has_profile:
        profile = header.image.get("icc-profile-data")
        decoded.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return decoded


def warm_up() -> None:
    """Load the decoder; 0.2 s that the first picture need not wait for."""
    _decode()


def _decode() -> Any:
    # It gives its pixels as an array of NumPy, whose linear algebra would make threads of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from simplejpeg import decode_jpeg

    return decode_jpeg
