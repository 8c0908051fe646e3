"""Compressed streams: one writer and one reader for every codec, used by several operations."""

from app.ops.codecs.hashed import HashedFile
from app.ops.codecs.kinds import (
    CODECS,
    LEVELS,
    MEDIA_TYPES,
    SUFFIXES,
    Codec,
    Level,
    LevelName,
    check_level,
    codec_of,
)
from app.ops.codecs.packing import Packer, packing
from app.ops.codecs.unpacking import Unpacker, unpacking

__all__ = [
    "CODECS",
    "LEVELS",
    "MEDIA_TYPES",
    "SUFFIXES",
    "Codec",
    "HashedFile",
    "Level",
    "LevelName",
    "Packer",
    "Unpacker",
    "check_level",
    "codec_of",
    "packing",
    "unpacking",
]
