"""The race: contenders judged on a sample, the promising ones written whole, the best kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from app.errors import ImageError, MemoryExceeded, OutputTooLarge
from app.ops.base import Work
from app.ops.imaging.contenders import Contender
from app.ops.imaging.costs import Budget, measure_s, write_s
from app.ops.imaging.encoding import SUFFIX, Keep
from app.ops.imaging.failures import translating
from app.ops.imaging.fidelity import Part, likeness, parts_that_count
from app.ops.imaging.goal import Goal
from app.ops.imaging.loading import eight_bit, load
from app.ops.imaging.lossless import recode, same_pixels
from app.ops.imaging.sampling import sample
from app.ops.imaging.search import Boundary

_MOST_WHOLE = 3
"""Whole encodings of one contender: the sample's quality, and two corrections of it."""

_WORTH_A_TRY = 1.05
"""Contenders whose estimate is so many times the best result are not written whole."""

_WORTH_A_LOSS = 0.97
"""What is not exact has to be so much smaller than what is."""

_WORTH_A_STEP = 2
"""Steps of quality that are worth another whole encoding."""

_LOWEST_BY_SIZE = 5
"""A quality; what a size asks for may be ugly."""

_RECODED_AT_BEST = {"jpeg": 0.85}
"""Share of the input that is left of it when it is coded better; of others, it may be anything."""


class _TooCostly(Exception):
    """The budget does not have what the next step costs."""


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
    measured: dict[int | None, tuple[float, int]] = field(default_factory=dict)
    """Loss and size of the sample, by quality."""
    recoding: Callable[[], bool] | None = None
    """If given, what writes it whole."""


class Race:
    """One picture, and the contenders to write it."""

    def __init__(self, work: Work, picture: Any, goal: Goal, keep: tuple[Keep, ...]) -> None:
        """Prepare a sample of the picture, which is in memory, 8 bits a channel."""
        self._work = work
        self._picture = picture
        self._goal = goal
        self._keep = keep
        self._pixels = picture.width * picture.height
        self._sample, self._rows = sample(picture)
        self._times = self._pixels / (self._sample.width * self._sample.height)
        self._made = 0
        self._recoding: _Lane | None = None
        self.budget = Budget(work.limits.time_s)
        self.best: Entry | None = None
        self.log: list[dict[str, Any]] = []
        """What was tried whole, and what failed, for the facts."""
        self.not_tried: list[dict[str, Any]] = []
        """What the budget did not have the means for, for the facts."""
        self.ran = False
        """Whether there was any contender."""

    def take_recoding(self, contender: Contender, recoding: Callable[[], bool]) -> None:
        """Let the input itself take part, coded better.

        Args:
            contender: of the input's kind.
            recoding: called if it may win; writes it and lets it `enter`, or gives False if it
                cannot be coded so.
        """
        at_best = _RECODED_AT_BEST.get(contender.format, 0.0)
        size_bytes = at_best * self._work.source.size_bytes
        self._recoding = _Lane(contender, size_bytes=size_bytes, recoding=recoding)

    def run(self, contenders: Sequence[Contender]) -> None:
        """Find the best of those, as far as the budget goes."""
        total = 2 * len(contenders) + 1
        lanes = [] if self._recoding is None else [self._recoding]
        self.ran = bool(lanes or contenders)
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
                **asdict(entry.contender),
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

    @property
    def exact(self) -> bool:
        """Whether nothing may be lost."""
        return self._goal.likeness == 1

    def likeness_of(self, contender: Contender, path: Path) -> float:
        """Measure a finished file against the picture."""
        self.pay(self._whole_s(contender))
        return 1 - self._loss(self._picture, contender, path)

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
        worth = _WORTH_A_TRY
        if lane.recoding:
            worth = 1.0
        elif lane.contender.spoils and not self.best.contender.spoils:
            worth = _WORTH_A_LOSS
        return expected > self._cost(self.best)[0] * worth

    @contextmanager
    def _ending_only(self, contender: Contender) -> Iterator[None]:
        """Let what fails within end this step of the contender, and not the race."""
        try:
            yield
        except _TooCostly:
            self._leave_out(contender)
        except (ImageError, MemoryExceeded, OutputTooLarge) as error:
            # The picture is whole and in memory, so it is the encoder that could not.
            self.log.append(asdict(contender) | {"failed": error.code})

    def _leave_out(self, contender: Contender, quality: int | None = None) -> None:
        left_out = asdict(contender) | {"quality": quality}
        if left_out not in self.not_tried:
            self.not_tried.append(left_out)

    def pay(self, cost_s: float) -> None:
        """Spend so much of the budget; if it is not there, that ends the step under way."""
        if not self.budget.take(cost_s):
            raise _TooCostly

    def pay_oxipng(self, pixels: int) -> int:
        """Spend what oxipng takes for so many, and give the level that it is to work at."""
        level = self.budget.take_oxipng(pixels)
        if level is None:
            raise _TooCostly
        return level

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
            except _TooCostly:
                self._leave_out(contender)
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
        contender = lane.contender
        pixels = self._sample.width * self._sample.height
        measuring_s = measure_s(pixels, alpha=self._sample.hasalpha()) if contender.spoils else 0.0
        self.pay(write_s(contender, pixels) + measuring_s)
        path = self.new_path(contender)
        contender.write(self._sample, path, quality, final=False)
        size_bytes = path.stat().st_size
        loss = self._loss(self._sample, contender, path, self._rows) if contender.spoils else 0.0
        path.unlink()
        lane.measured[quality] = (loss, size_bytes)
        return self._goal.value(loss, size_bytes * self._times)

    # -- whole -----------------------------------------------------------------------------------

    def _write_whole(self, lane: _Lane) -> None:
        """Encode the whole, correcting the quality by what the sample got wrong."""
        if lane.recoding is not None:
            if not lane.recoding() and lane.contender.format == "png":
                self.enter(self._encode(Contender("png", "lossless"), None))
            return
        if lane.boundary is None or lane.quality is None:
            self.enter(self._encode(lane.contender, None))
            return
        lowest = lane.boundary.lowest
        whole = replace(lane.boundary, points={})
        quality, met = lane.quality, False
        while quality not in whole.points and len(whole.points) < _MOST_WHOLE:
            if met and not self.budget.has_for_more(self._whole_s(lane.contender)):
                self._leave_out(lane.contender, quality)
                break
            entry = self._encode(lane.contender, quality)
            value = self._goal.value(1 - entry.likeness, entry.size_bytes)
            whole.points[quality] = value
            met = self.enter(entry)
            quality = _corrected(lane.boundary, whole, quality, met=met)
        if self.best is None and whole.wants_above and lowest not in whole.points:
            self.enter(self._encode(lane.contender, lowest))

    def _whole_s(self, contender: Contender) -> float:
        cost_s = write_s(contender, self._pixels)
        if contender.spoils:
            parts = parts_that_count(self._picture.width, self._picture.height)
            measured = sum(width_px * height_px for _, _, width_px, height_px in parts)
            cost_s += measure_s(measured, alpha=self._picture.hasalpha())
        return cost_s

    def _encode(self, contender: Contender, quality: int | None) -> Entry:
        cost_s = self._whole_s(contender)
        # Of a JPEG, that is worth a percent; of the others, more.
        final = contender.format != "jpeg" or self.budget.has_for_more(cost_s)
        self.pay(cost_s)
        path = self.new_path(contender)
        contender.write(self._picture, path, quality, final=final, keep=self._keep)
        if contender.format == "png":
            path = self._recoded(contender, path)
        like = 1.0
        if contender.spoils:
            like = 1 - self._loss(self._picture, contender, path)
        elif not same_pixels(self._picture, path, contender.format, self._frames):
            like = 0.0
        return Entry(contender, quality, path, path.stat().st_size, like)

    def _recoded(self, contender: Contender, path: Path) -> Path:
        level = self.pay_oxipng(self._pixels)
        target = self.new_path(contender)
        time_s = self._work.limits.time_s
        if not recode("png", path, target, keep_all=True, level=level, time_s=time_s):
            return path
        smaller, larger = sorted((path, target), key=lambda file: file.stat().st_size)
        larger.unlink()
        return smaller

    @property
    def _frames(self) -> int:
        return -1 if self._picture.get_n_pages() > 1 else 1

    def _loss(
        self, original: Any, contender: Contender, path: Path, parts: Sequence[Part] = ()
    ) -> float:
        with translating():
            made = eight_bit(load(path, contender.format, self._frames)).copy_memory()
        if (made.width, made.height) != (original.width, original.height):
            # libwebp makes one of frames that are alike.
            return 1.0
        return 1 - likeness(original, made, parts)


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
