"""The race: contenders judged on a sample, the promising ones written whole, the best kept."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.errors import ImageError, MemoryExceeded, OutputTooLarge
from app.ops.base import Work
from app.ops.imaging.contenders import Contender
from app.ops.imaging.encoding import SUFFIX, Keep
from app.ops.imaging.failures import translating
from app.ops.imaging.fidelity import likeness
from app.ops.imaging.loading import eight_bit, load
from app.ops.imaging.lossless import recode, same_pixels
from app.ops.imaging.sampling import sample
from app.ops.imaging.search import Boundary

_SHARE_OF_TIME = 0.7
"""Of what is left to the item; the rest is for the last call, which cannot be interrupted."""

_LEAST_LOSS = 1e-6
"""So that a logarithm exists."""

_MOST_WHOLE = 3
"""Whole encodings of one contender: the sample's quality, and two corrections of it."""

_WORTH_A_TRY = 1.1
"""Contenders whose estimate is so many times the best result are not written whole."""

_WORTH_A_STEP = 2
"""Steps of quality that are worth another whole encoding."""

_LOWEST_BY_SIZE = 5
"""A quality; what a size asks for may be ugly."""

_RESERVED_FOR_WHOLE = 0.6
"""Of the time; the sample may take the rest."""


class OutOfTime(Exception):
    """There is no time left for another encoding."""


class Clock:
    """How long the race may go on."""

    def __init__(self, time_s: float) -> None:
        """Take the time that the item has left by the alarm, and `time_s` where none is set."""
        alarm_s = signal.getitimer(signal.ITIMER_REAL)[0]
        self._whole_s = _SHARE_OF_TIME * min(alarm_s or time_s, time_s)
        self._ends_at = time.monotonic() + self._whole_s

    def left_s(self) -> float:
        """Give the seconds left, not below zero."""
        return max(0.0, self._ends_at - time.monotonic())

    def need(self, time_s: float, *, reserved: float = 0.0) -> None:
        """Raise `OutOfTime` if there is not so much left, beside the share that is reserved."""
        if self.left_s() - reserved * self._whole_s <= time_s:
            raise OutOfTime


@dataclass(frozen=True, slots=True)
class Goal:
    """What the result has to be: so alike, or so small."""

    likeness: float
    most_bytes: int | None = None
    """If given, it decides, and the result is as alike as it lets it be."""

    @property
    def most_loss(self) -> float:
        """1 less the likeness."""
        return max(1 - self.likeness, _LEAST_LOSS)

    def value(self, loss: float, size_bytes: float) -> float:
        """Give what falls with rising quality and is zero where the goal is just reached."""
        if self.most_bytes is not None:
            return math.log(self.most_bytes / max(size_bytes, 1))
        return math.log(max(loss, _LEAST_LOSS) / self.most_loss)

    def met_by(self, loss: float, size_bytes: int) -> bool:
        """Tell whether a result will do."""
        if self.most_bytes is not None:
            return size_bytes <= self.most_bytes
        return loss <= self.most_loss

    def cost(self, loss: float, size_bytes: float) -> tuple[float, float]:
        """Give what is to be as small as it can be, most important first."""
        return (loss, size_bytes) if self.most_bytes is not None else (size_bytes, loss)


@dataclass(frozen=True, slots=True)
class Entry:
    """One whole file that was made."""

    contender: Contender
    quality: int | None
    path: Path
    size_bytes: int
    likeness: float


@dataclass(slots=True)
class _Lane:
    """A contender and what the sample told of it."""

    contender: Contender
    boundary: Boundary | None = None
    quality: int | None = None
    loss: float = 0.0
    size_bytes: float = 0.0
    """Of the whole, estimated."""
    encode_s: float = 0.0
    """For the whole, estimated."""
    measured: dict[int | None, tuple[float, int]] = field(default_factory=dict)
    """Loss and size of the sample, by quality."""


class Race:
    """One picture, and the contenders to write it."""

    def __init__(
        self, work: Work, picture: Any, goal: Goal, clock: Clock, keep: tuple[Keep, ...]
    ) -> None:
        """Prepare a sample of the picture, which is in memory, 8 bits a channel."""
        self._work = work
        self._picture = picture
        self._goal = goal
        self.clock = clock
        self._keep = keep
        self._sample = sample(picture)
        self._times = picture.width * picture.height / (self._sample.width * self._sample.height)
        self._compare_s = 0.0
        self._made = 0
        self.best: Entry | None = None
        self.log: list[dict[str, Any]] = []
        """What was tried whole, and what failed, for the facts."""
        self.stopped_early = False

    def run(self, contenders: Sequence[Contender]) -> None:
        """Find the best; fewer are tried if time runs out, which `stopped_early` then tells."""
        total = 2 * len(contenders)
        lanes = []
        for done, contender in enumerate(contenders, start=1):
            with self._ending_only(contender):
                lanes += self._scout(contender)
            self._work.tell(done, total)
        lanes.sort(key=lambda lane: self._goal.cost(lane.loss, lane.size_bytes))
        for done, lane in enumerate(lanes, start=len(contenders)):
            self._work.tell(done, total)
            with self._ending_only(lane.contender):
                if not self._is_hopeless(lane):
                    self._write_whole(lane)
        self._work.tell(total, total)

    def enter(self, entry: Entry) -> bool:
        """Let a finished file compete; the loser is removed.

        Returns:
            Whether it reaches the goal, best or not.
        """
        loss = 1 - entry.likeness
        self.log.append(
            {
                "format": entry.contender.format,
                "method": entry.contender.method,
                "quality": entry.quality,
                "size_bytes": entry.size_bytes,
                "likeness": round(entry.likeness, 5),
            }
        )
        met = self._goal.met_by(loss, entry.size_bytes)
        loser: Entry | None = entry
        if met and (self.best is None or self._cost(entry) < self._cost(self.best)):
            loser, self.best = self.best, entry
        if loser is not None:
            loser.path.unlink(missing_ok=True)
        return met

    def new_path(self, contender: Contender) -> Path:
        """Give a new file name in the folder of the work."""
        self._made += 1
        return self._work.folder / f"{self._made}{SUFFIX[contender.format]}"

    def _cost(self, entry: Entry) -> tuple[float, float]:
        return self._goal.cost(1 - entry.likeness, entry.size_bytes)

    def _is_hopeless(self, lane: _Lane) -> bool:
        most_bytes = self._goal.most_bytes
        if lane.boundary is None and most_bytes and lane.size_bytes > most_bytes * _WORTH_A_TRY:
            return True
        if self.best is None:
            return False
        expected, _ = self._goal.cost(lane.loss, lane.size_bytes)
        return expected > self._cost(self.best)[0] * _WORTH_A_TRY

    @contextmanager
    def _ending_only(self, contender: Contender) -> Iterator[None]:
        """Let what fails within end this step of the contender, and not the race."""
        try:
            yield
        except OutOfTime:
            self.stopped_early = True
        except (ImageError, MemoryExceeded, OutputTooLarge) as error:
            # The picture is whole and in memory, so it is the encoder that could not.
            self.log.append(
                {"format": contender.format, "method": contender.method, "failed": error.code}
            )

    # -- on the sample ---------------------------------------------------------------------------

    def _scout(self, contender: Contender) -> list[_Lane]:
        """Find out on the sample what quality it takes, and how large the whole would be."""
        lane = _Lane(contender)
        if contender.qualities is None:
            self._measure(lane, None)
            lane.loss, size_bytes = lane.measured[None]
            hopeless = not self._goal.most_bytes and lane.loss > 1.5 * self._goal.most_loss
        else:
            lowest, highest, guess = contender.qualities
            by_size = self._goal.most_bytes is not None
            lowest = _LOWEST_BY_SIZE if by_size else lowest
            boundary = Boundary(lowest, highest, wants_above=by_size)
            try:
                boundary.find(guess, lambda quality: self._measure(lane, quality))
            except OutOfTime:
                self.stopped_early = True
            lane.boundary, lane.quality = boundary, boundary.found()
            if lane.quality is None and boundary.points:
                # By size, the whole may be smaller than the sample makes believe.
                lane.quality = min(boundary.points) if by_size else None
            if lane.quality is None:
                return []
            hopeless = False
            lane.loss, size_bytes = lane.measured[lane.quality]
        lane.size_bytes = size_bytes * self._times
        return [] if hopeless else [lane]

    def _measure(self, lane: _Lane, quality: int | None) -> float:
        """Encode the sample and give the goal's value."""
        self.clock.need(2 * lane.encode_s / self._times, reserved=_RESERVED_FOR_WHOLE)
        path = self.new_path(lane.contender)
        started = time.monotonic()
        lane.contender.write(self._sample, path, quality, final=False)
        lane.encode_s = (time.monotonic() - started) * self._times
        size_bytes = path.stat().st_size
        loss = 0.0
        if lane.contender.spoils:
            started = time.monotonic()
            loss = self._loss(self._sample, lane.contender, path)
            self._compare_s = (time.monotonic() - started) * self._times
        path.unlink()
        lane.measured[quality] = (loss, size_bytes)
        return self._goal.value(loss, size_bytes * self._times)

    # -- whole -----------------------------------------------------------------------------------

    def _write_whole(self, lane: _Lane) -> None:
        """Encode the whole, correcting the quality by what the sample got wrong."""
        if lane.boundary is None or lane.quality is None:
            self.enter(self._encode(lane, None))
            return
        lowest = lane.boundary.lowest
        whole = replace(lane.boundary, points={})
        quality = lane.quality
        while quality not in whole.points and len(whole.points) < _MOST_WHOLE:
            entry = self._encode(lane, quality)
            value = self._goal.value(1 - entry.likeness, entry.size_bytes)
            whole.points[quality] = value
            quality = _corrected(lane.boundary, whole, quality, met=self.enter(entry))
        if self.best is None and whole.wants_above and lowest not in whole.points:
            self.enter(self._encode(lane, lowest))

    def _encode(self, lane: _Lane, quality: int | None) -> Entry:
        contender = lane.contender
        self.clock.need(lane.encode_s * contender.final_is_slower + self._compare_s)
        path = self.new_path(contender)
        contender.write(self._picture, path, quality, final=True, keep=self._keep)
        if contender.format == "png":
            path = self._recoded(contender, path)
        like = 1.0
        if contender.spoils:
            like = 1 - self._loss(self._picture, contender, path)
        elif not same_pixels(self._picture, path, contender.format, self._frames):
            like = 0.0
        return Entry(contender, quality, path, path.stat().st_size, like)

    def _recoded(self, contender: Contender, path: Path) -> Path:
        target = self.new_path(contender)
        if not recode("png", path, target, keep_metadata=True, time_s=self.clock.left_s()):
            return path
        smaller, larger = sorted((path, target), key=lambda file: file.stat().st_size)
        larger.unlink()
        return smaller

    @property
    def _frames(self) -> int:
        return -1 if self._picture.get_n_pages() > 1 else 1

    def _loss(self, original: Any, contender: Contender, path: Path) -> float:
        options = {"n": -1} if original.get_n_pages() > 1 else {}
        with translating():
            made = eight_bit(load(path, contender.format, **options)).copy_memory()
        if (made.width, made.height) != (original.width, original.height):
            # libwebp makes one of frames that are alike.
            return 1.0
        return 1 - likeness(original, made)


def _corrected(scouted: Boundary, whole: Boundary, quality: int, *, met: bool) -> int:
    """Choose the quality to try next, or the same one again if that is good enough."""
    if len(whole.points) == 1:
        # The sample's curve has the right shape, if not the right height.
        aim = scouted.estimate(whole.points[quality] - scouted.value(quality))
    else:
        aim = whole.estimate()
    towards_goal = -1 if whole.wants_above else 1
    if met:
        return aim if (quality - aim) * towards_goal > _WORTH_A_STEP else quality
    # One step more: another miss costs more than one step too many.
    aim = max(aim * towards_goal, quality * towards_goal + 1) * towards_goal + towards_goal
    return max(whole.lowest, min(aim, whole.highest))
