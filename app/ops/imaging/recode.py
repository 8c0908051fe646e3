"""Recode a JPEG or PNG without loss, as a program of its own: run by path, not imported.

    python -I recode.py jpeg|png all|strip LEVEL SOURCE TARGET

LEVEL is oxipng's, 0 to 6; a JPEG has none.

mozjpeg ends its process on some errors, and both take seconds of one call for large files: in a
process of its own neither can end a worker or outlive its deadline. It imports nothing of this
package, so that it starts in 0.1 s.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1

_COLOUR_CHUNKS = ("iCCP", "cICP", "sRGB", "gAMA", "cHRM", "sBIT")
"""What decides how a PNG's numbers are to be seen; the rest is metadata."""


def main(kind: str, markers: str, level: str, source: str, target: str) -> None:
    """Write TARGET, with all metadata or with none."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    content = Path(source).read_bytes()
    keep = markers == "all"
    made = _jpeg(content, keep=keep) if kind == "jpeg" else _png(content, int(level), keep=keep)
    Path(target).write_bytes(made)


def _jpeg(content: bytes, *, keep: bool) -> bytes:
    import mozjpeg_lossless_optimization as mozjpeg

    markers = mozjpeg.COPY_MARKERS.ALL if keep else mozjpeg.COPY_MARKERS.NONE
    return bytes(mozjpeg.optimize(content, copy=markers))


def _png(content: bytes, level: int, *, keep: bool) -> bytes:
    # Read once, by the first call: the pool has the parallelism.
    os.environ["RAYON_NUM_THREADS"] = "1"
    import oxipng

    strip = oxipng.StripChunks.none if keep else oxipng.StripChunks.keep(_COLOUR_CHUNKS)
    return bytes(oxipng.optimize_from_memory(content, level=level, strip=strip))


if __name__ == "__main__":
    main(*sys.argv[1:])
