"""libvips, loaded once and set up for files from strangers.

It is imported when the first picture comes, not with this module: a process that only reads the
parameters need not load it.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from typing import Any

from app.errors import OperationFailed

_OLDEST = (8, 18, 0)
"""Brought what AVIF and GIF are written with here. A system's older libvips may shadow the one in
the wheel."""

# Fuzzed by their projects and by libvips; it calls none of them "untrusted".
_LOADERS = ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif")


@cache
def libvips() -> Any:
    """Give the `pyvips` module, set up; 0.1 s the first time.

    One thread a process (the pool has the parallelism), no cache (no picture is seen twice, and
    a cached operation holds its file open), and no loaders but those of JPEG, PNG, WebP, GIF,
    TIFF and AVIF, whatever else this libvips was built with.

    Raises:
        OperationFailed: libvips is missing or too old.
    """
    # libvips reads this once, when it starts.
    os.environ["VIPS_CONCURRENCY"] = "1"
    try:
        import pyvips
    except Exception as error:
        raise OperationFailed(
            "Pictures cannot be processed by this installation.",
            log_detail=f"libvips cannot be loaded: {error}",
        ) from error
    version = tuple(pyvips.version(part) for part in range(3))
    if version < _OLDEST:
        needed = ".".join(map(str, _OLDEST[:2]))
        raise OperationFailed(
            "Pictures cannot be processed by this installation.",
            log_detail=f"libvips {'.'.join(map(str, version))} is too old, {needed} is needed.",
        )
    _take_any_bytes(pyvips)
    # A damaged picture makes hundreds of warnings, and its error says it all.
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)
    return pyvips


def field_of(image: Any, name: str, default: Any = None) -> Any:
    """Give one of the fields that a picture carries beside its pixels."""
    return image.get(name) if image.get_typeof(name) else default


def _take_any_bytes(pyvips: Any) -> None:
    """Have text that is not UTF-8 come through as it is.

    Names of fields, their values and messages have in them what strangers wrote, and pyvips
    raises `UnicodeDecodeError` on them, even while it reports an error or a warning. Here bytes
    that are not UTF-8 become lone surrogates, and go back as the same bytes (PEP 383).
    """

    def to_string(pointer: Any) -> str:
        if pointer == pyvips.ffi.NULL:
            return "NULL"
        text = pyvips.ffi.string(pointer)
        return text.decode(errors="surrogateescape") if isinstance(text, bytes) else str(text)

    def to_bytes(text: Any) -> Any:
        if isinstance(text, str | os.PathLike):
            return os.fspath(text).encode(errors="surrogateescape")
        return text

    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] == "pyvips":
            for old, new in (("_to_string", to_string), ("_to_bytes", to_bytes)):
                if hasattr(module, old):
                    setattr(module, old, new)
