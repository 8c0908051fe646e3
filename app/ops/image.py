"""Image: shape a picture and write it, upright, in sRGB and stripped unless asked otherwise.

libvips does the work, one thread a process (the pool has the parallelism). A single result is
computed row by row while the source is decoded; several results, and a cut or freely turned one,
come out of one decode into memory. Either way a source that will be shrunk is decoded small.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from app.errors import (
    DeadlineExceeded,
    ImageUnreadable,
    InvalidParameter,
    OffloadError,
    PixelsExceeded,
    Refusal,
)
from app.ops.accepting import named_pictures
from app.ops.base import NOWHERE, Operation, Output, Result, Work
from app.ops.imaging import jpeg
from app.ops.imaging.encoding import (
    DEFAULT_QUALITY,
    MEDIA_TYPE,
    SUFFIX,
    affordable,
    save,
    saved,
)
from app.ops.imaging.failures import translating
from app.ops.imaging.frames import each_frame
from app.ops.imaging.jpeg import decoded_small
from app.ops.imaging.loading import MEDIA_TYPE_READ, Header, load, read_header
from app.ops.imaging.options import ImageParams, Options
from app.ops.imaging.overlay import Overlays
from app.ops.imaging.picture import Picture
from app.ops.imaging.vips import libvips
from app.ops.imaging.watch import Watch

_FAILS_ALONE = (InvalidParameter, PixelsExceeded, DeadlineExceeded)
"""What can be wrong with one variant and not with the next."""

_HELD_PIXELS = 1 << 20
"""Results of at most so many, all frames together, are written into memory."""


def convert(work: Work, params: ImageParams) -> Result:
    """Write the picture, shaped as asked, into one file, or one for each variant.

    Upright by its EXIF orientation, in 8 bits a channel.

    Returns:
        One output for each picture, named as the source, with `-` and the variant's name, and
        the suffix of its format. Facts: `source_width_px` and `source_height_px` as the picture
        is seen, that is upright; `frames`, how many the source has; and of the result, or by
        name of each of the `variants`: `format`, `width_px`, `height_px`, `frames_written`;
        `quality` where the format has one; `effort`, where time made it less than asked;
        `content`, what `auto` took the picture for.

    Raises:
        ImageUnsupported: not a picture of a kind that is read here, by content.
        ImageUnreadable: one of these, and cut or damaged.
        PixelsExceeded: over `max_pixels` by its header, before decoding; or the result would be.
        InvalidParameter: `crop` reaches out of the picture, or the chosen format cannot hold a
            picture of the resulting size, or not without loss.
        DeadlineExceeded: the time is over, or would be before the result is written.
        MemoryExceeded, OutputTooLarge, StorageFull: as their names say.
        OperationFailed: libvips is missing or too old.
    """
    libvips()
    header = read_header(work.source.content, work.limits)
    batch = _Batch(work, header)
    for name, options in params.pictures():
        batch.plan(name, options)
    try:
        batch.decode()
        batch.write()
    except ImageUnreadable as error:
        if batch.stopped:
            raise DeadlineExceeded(
                "The work took longer than an item may take.", log_detail=error.log_detail
            ) from error
        raise
    finally:
        batch.let_go()
    facts: dict[str, Any] = {
        "source_width_px": header.size[0],
        "source_height_px": header.size[1],
        "frames": header.frames,
    }
    facts |= {"variants": batch.facts} if params.variants else batch.facts[""]
    return Result(tuple(batch.outputs), facts, tuple(batch.refused))


class _Batch:
    """All results of one source, out of one decode."""

    def __init__(self, work: Work, header: Header) -> None:
        self._work = work
        self._header = header
        self._pictures: list[Picture] = []
        self._watch = Watch(work)
        self._overlays = Overlays(work.asides, work.limits)
        self._first_error: OffloadError | None = None
        self.outputs: list[Output] = []
        self.facts: dict[str, dict[str, Any]] = {}
        self.refused: list[Refusal] = []

    @property
    def stopped(self) -> bool:
        """Whether the time was over while libvips worked."""
        return self._watch.stopped

    def plan(self, name: str, options: Options) -> None:
        """Take one more result on, if it can be made at all."""
        try:
            self._pictures.append(
                Picture(name, options, self._header, self._work.limits, self._watch, self._overlays)
            )
        except _FAILS_ALONE as error:
            self._leave_out(name, error)

    def _leave_out(self, name: str, error: OffloadError) -> None:
        if not name or self._watch.time_left_s <= 0:
            raise error
        self._first_error = self._first_error or error
        self.refused.append(Refusal(name, error.code, error.detail))

    def decode(self) -> None:
        """Read what all results need of the source, once, and shape it."""
        frames = max((picture.frames for picture in self._pictures), default=0)
        self._header.check_budget(frames, self._work.limits)
        if frames > 1:
            self._watch.expect(frames + len(self._pictures))
            for number, frame in enumerate(each_frame(self._header, frames, self._watch)):
                self._shape(frame, number)
        elif frames:
            self._shape(self._still(), 0)

    def _still(self) -> Any:
        streams = len(self._pictures) == 1 and self._pictures[0].shaper.streams
        self._watch.expect(len(self._pictures) + (0 if streams else 1))
        with translating():
            smaller = self._smaller()
            picture = self._decoded_apart(smaller.get("shrink"))
            if picture is None:
                picture = load(self._header.content, self._header.kind, **smaller)
                picture = self._watch.over(picture)
                if streams:
                    return picture
                picture = picture.copy_memory()
        if not streams:
            self._watch.stage_done()
        return self._watch.over(picture)

    def _decoded_apart(self, shrink: int | None) -> Any | None:
        keeps_all = any(picture.options.metadata == "keep" for picture in self._pictures)
        return None if shrink is None or keeps_all else decoded_small(self._header, shrink)

    def _smaller(self) -> dict[str, Any]:
        """Have the source decoded at a half, a quarter or an eighth, where that is enough.

        At least twice the largest result, for the finer resize that follows; whole if something
        is to be cut out to the pixel.
        """
        least = min(picture.plan.shrink for picture in self._pictures)
        shrink = next((by for by in (8, 4, 2) if least >= 2 * by), 1)
        if shrink == 1 or any(picture.options.crop for picture in self._pictures):
            return {}
        if self._header.kind == "jpeg":
            return {"shrink": shrink}
        return {"scale": 1 / shrink} if self._header.kind == "webp" else {}

    def let_go(self) -> None:
        """Let all pictures go now: the next item needs their memory."""
        self._pictures.clear()
        self._watch.let_go()

    def _shape(self, frame: Any, number: int) -> None:
        for picture in self._pictures:
            if number < picture.frames:
                with translating():
                    shaped = picture.shaper.shape(frame)
                    # Of several frames only the small ones stay.
                    picture.shaped.append(shaped.copy_memory() if picture.frames > 1 else shaped)

    def write(self) -> None:
        """Write all results; at least one, or raise what kept the first from it."""
        for number, picture in enumerate(self._pictures):
            try:
                self._write(number, picture)
            except _FAILS_ALONE as error:
                self._leave_out(picture.name, error)
            picture.shaped.clear()
            self._watch.stage_done()
        if not self.outputs and self._first_error is not None:
            raise self._first_error

    def _write(self, number: int, picture: Picture) -> None:
        with translating():
            finished, written, content = picture.finished()
        if picture.frames > 1:
            finished = self._watch.over(finished)
        asked = picture.encoding(written)
        pixels = finished.width * finished.height
        share = picture.pixels / sum(one.pixels for one in self._pictures)
        time_s = share * self._work.limits.time_s
        encoding = affordable(asked, pixels, time_s, self._watch.time_left_s)
        target, data = NOWHERE, None
        if pixels <= _HELD_PIXELS:
            data = saved(finished, encoding)
        else:
            target = self._work.place() / f"{number}{SUFFIX[written]}"
            save(finished, target, encoding)
        stem = PurePosixPath(self._work.source.name).stem or "image"
        name = f"{stem}-{picture.name}" if picture.name else stem
        self.outputs.append(Output(target, name + SUFFIX[written], MEDIA_TYPE[written], data=data))
        facts: dict[str, Any] = {
            "format": written,
            "width_px": picture.plan.canvas[0],
            "height_px": picture.plan.canvas[1],
            "frames_written": picture.frames,
        }
        if written in DEFAULT_QUALITY and not encoding.lossless:
            facts["quality"] = encoding.quality or DEFAULT_QUALITY[written]
        if encoding.effort != asked.effort:
            facts["effort"] = encoding.effort
        if content:
            facts["content"] = content
        self.facts[picture.name] = facts


def by_accept(accept: str) -> dict[str, Any]:
    """Give the parameters that an `Accept` header stands for: whether it takes WebP."""
    named = named_pictures(accept)
    return {"auto_webp": "preferred" if "webp" in named else "never"} if named else {}


def warm_up() -> None:
    """Load libvips and the JPEG decoder; 0.3 s that the first picture need not wait for.

    Raises:
        OperationFailed: libvips is missing or too old.
    """
    libvips()
    jpeg.warm_up()


def _weight_ms(size_bytes: int, params: Mapping[str, Any]) -> float:
    slow = 20 if params.get("format") == "avif" else 1
    return 4 * slow + 30 * size_bytes / (1 << 20) * (1 + len(params.get("variants") or ()))


OPERATION = Operation(
    name="image",
    summary="Resize, crop, turn, pad or convert a picture, into one or many sizes and formats.",
    params=ImageParams,
    runs="process",
    accepts=tuple(MEDIA_TYPE_READ.values()),
    run=convert,
    takes_bytes=True,
    weight_ms=_weight_ms,
    warm_up=warm_up,
    by_accept=by_accept,
    door="images",
    asides=ImageParams.asides,
    example={"width": 800, "height": 600, "fit": "inside", "format": "webp"},
)
