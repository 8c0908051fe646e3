"""Which content is compressed already, so that deflating it would cost time and save nothing."""

from __future__ import annotations

_FAMILIES = ("video/", "audio/")
_LOOSE = {
    "audio/aiff",
    "audio/basic",
    "audio/midi",
    "audio/wav",
    "audio/wave",
    "audio/x-aiff",
    "audio/x-wav",
    "audio/vnd.wave",
}
"""Sound as it was sampled, or as notes."""

_DENSE = {
    "image/apng",
    "image/avif",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jp2",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
    "font/woff",
    "font/woff2",
    "application/epub+zip",
    "application/gzip",
    "application/java-archive",
    "application/ogg",
    "application/vnd.android.package-archive",
    "application/vnd.apache.parquet",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-lz4",
    "application/x-rar",
    "application/x-xz",
    "application/zip",
    "application/zlib",
    "application/zstd",
}
_DENSE_PREFIXES = (
    # All of them are zips inside.
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
)


def is_dense(media_type: str) -> bool:
    """Tell whether files of this type hardly shrink."""
    if media_type.startswith(_FAMILIES):
        return media_type not in _LOOSE
    return media_type in _DENSE or media_type.startswith(_DENSE_PREFIXES)
