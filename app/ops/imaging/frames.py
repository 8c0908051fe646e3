"""Animations: their frames one by one, and put together again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.ops.imaging.failures import translating
from app.ops.imaging.loading import Header, load
from app.ops.imaging.vips import field_of, libvips
from app.ops.imaging.watch import Watch

_DELAY_MS = 100
"""Of a frame that does not say: what browsers make of it."""


def each_frame(header: Header, count: int, watch: Watch) -> Iterator[Any]:
    """Decode the first `count` frames, one after the other into memory, whole as they are shown.

    Raises:
        ImageUnreadable: the animation is cut or damaged.
        MemoryExceeded, DeadlineExceeded: as their names say.
    """
    with translating():
        # All frames, one below the other; read in order, nothing is decoded twice or kept.
        strip = watch.over(load(header.content, header.kind, count))
    width, height = header.image.width, header.image.height
    for number in range(count):
        with translating():
            frame = strip.crop(0, number * height, width, height).copy_memory()
        yield frame
        watch.stage_done()


def joined(frames: list[Any], header: Header) -> Any:
    """Make an animation of shaped frames, with the delays and the loop count of the source."""
    pyvips = libvips()
    animation = pyvips.Image.arrayjoin(frames, across=1).copy()
    animation.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    delays_ms = field_of(header.image, "delay", [])[: len(frames)]
    delays_ms += [_DELAY_MS] * (len(frames) - len(delays_ms))
    animation.set_type(pyvips.GValue.array_int_type, "delay", delays_ms)
    if header.image.get_typeof("loop"):
        animation.set_type(pyvips.GValue.gint_type, "loop", header.image.get("loop"))
    return animation
