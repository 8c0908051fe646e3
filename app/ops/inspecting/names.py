"""Whether a file is called what it is."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath

from app.ops.codecs.kinds import CODECS, MEDIA_TYPES, SUFFIXES
from app.ops.inspecting.texts import is_text
from app.ops.media_type import UNKNOWN

# Not the system's lists: the same name should get the same answer everywhere.
_KNOWN = mimetypes.MimeTypes(filenames=())
for _media_type, _suffix in (
    ("image/webp", ".webp"),
    ("image/avif", ".avif"),
    ("image/heic", ".heic"),
    ("image/jxl", ".jxl"),
    ("font/woff2", ".woff2"),
    ("application/x-7z-compressed", ".7z"),
    ("application/vnd.rar", ".rar"),
    ("application/vnd.apache.parquet", ".parquet"),
    ("application/vnd.sqlite3", ".sqlite"),
    ("application/wasm", ".wasm"),
    *(
        ("text/plain", suffix)
        for suffix in (".md", ".log", ".toml", ".yaml", ".yml", ".sql", ".rst")
    ),
    *(
        (MEDIA_TYPES[codec], SUFFIXES[codec])
        for codec in CODECS
        if codec not in ("br", "deflate-raw")
    ),
):
    _KNOWN.add_type(_media_type, _suffix)

_SAME = (
    {"application/gzip", "application/x-gzip"},
    {"application/x-bzip2", "application/bzip2", "application/x-bzip"},
    {"application/zstd", "application/x-zstd"},
    {"application/x-xz", "application/xz"},
    {"application/x-rar-compressed", "application/x-rar", "application/vnd.rar"},
    {"audio/wav", "audio/x-wav", "audio/vnd.wave"},
    {"audio/mpeg", "audio/mp3"},
    {"video/x-msvideo", "video/avi"},
    {"image/bmp", "image/x-ms-bmp", "image/x-bmp"},
    {"image/vnd.microsoft.icon", "image/x-icon"},
)
_ENCODED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zstd": "application/zstd",
}
"""Media types by what `mimetypes` calls an encoding."""

_IN_ZIP = (
    "openxmlformats",
    "opendocument",
    "epub",
    "java-archive",
    "android.package",
    "macroenabled",
)


def extension_of(name: str) -> str:
    """Give the part of a name behind its last dot, lower case; empty if there is none."""
    return PurePosixPath(name).suffix.lower().removeprefix(".")


def extension_matches(name: str, media_type: str) -> bool | None:
    """Tell whether a name's extension is usual for content of this type.

    Returns:
        None if the name has no extension, or none that is known, or the content is not known.
    """
    if media_type == UNKNOWN:
        return None
    usual, encoding = _KNOWN.guess_type(f"file.{extension_of(name)}")
    usual = _ENCODED.get(encoding or "", usual)
    if usual is None:
        return None
    if usual == media_type or any({usual, media_type} <= names for names in _SAME):
        return True
    if media_type == "application/zip" and any(part in usual.lower() for part in _IN_ZIP):
        return True
    # Any source text is text; which language it is in is a guess on both sides.
    return is_text(usual) and is_text(media_type)
