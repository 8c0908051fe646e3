"""The time, room and file size of each task: on the main thread the kernel helps to keep them.

On others nothing interrupts the work; it is asked when it tells of its progress.
"""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

from app.errors import (
    DeadlineExceeded,
    OffloadError,
    OperationFailed,
    OutputTooLarge,
    StorageFull,
)
from app.ops.base import Limits, Output, one_core, untold
from app.ops.space import SETTING, check_space

_LOOK_EVERY_S = 0.1
"""Of a worker's CPU time, at the disk's free space: a copy writes some 0.1 GB meanwhile."""

_RING_AGAIN_S = 1.0
"""An operation that catches what it is stopped with and goes on is told again after this long."""


class Bounds:
    """Bounds one task after the other, from `begin` until `armed` is False.

    A context manager: signals and resource limits belong to the process, and are set and put back
    once for all the tasks of a trip.
    """

    def __init__(self) -> None:
        self._limits = Limits()
        self._disk: Path | str = ""
        self._room_bytes = 0
        self._main_thread = threading.current_thread() is threading.main_thread()
        self._started = 0.0
        self._alarm_before: Any = signal.SIG_DFL
        self._fsize_before = (0, 0)
        self._fsize_bytes = -1
        self.armed = False
        """Whether the alarm may raise. Setting it False silences one that is already on its way."""
        self.struck: OffloadError | None = None
        """What it did raise. Libraries in C turn that into errors of theirs."""
        self.unwanted: Callable[[], bool] = lambda: False
        """Tells whether nobody waits for the task any more: then `check` ends it."""

    def __enter__(self) -> Self:
        """Take over the signals, if this is where they come."""
        if self._main_thread:
            self._fsize_before = resource.getrlimit(resource.RLIMIT_FSIZE)
            try:
                self._alarm_before = signal.signal(signal.SIGALRM, self._ring)
            except ValueError:  # the main thread of a subinterpreter, which is another
                self._main_thread = False
        if self._main_thread:
            signal.signal(signal.SIGPROF, self._look)
            signal.setitimer(signal.ITIMER_PROF, _LOOK_EVERY_S, _LOOK_EVERY_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Give signals and limits back."""
        if self._main_thread:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGALRM, self._alarm_before or signal.SIG_DFL)
            # By default it ends the process, and one may still be on its way.
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, self._fsize_before)

    def begin(self, limits: Limits, disk: Path | str) -> None:
        """Start the clock of the next task.

        Raises:
            StorageFull: there is less room than the disk is to keep.
        """
        self.struck = None
        self._limits = limits
        self._disk = disk
        self._started = time.monotonic()
        self._room_bytes = limits.max_output_bytes
        self._room_bytes = self._room()
        if not self._main_thread:
            return
        most_bytes = min(limits.max_output_bytes, self._room_bytes)
        # Python ignores SIGXFSZ, so that a file that grows too large is an EFBIG to its writer.
        if most_bytes != self._fsize_bytes:
            lower_limit(resource.RLIMIT_FSIZE, most_bytes)
            self._fsize_bytes = most_bytes
        self.armed = True
        # Zero would switch the timer off. Steps ask this one how much time they have left.
        signal.setitimer(signal.ITIMER_REAL, max(limits.time_s, 1e-3), _RING_AGAIN_S)

    def check(self) -> None:
        """Raise `DeadlineExceeded` or `StorageFull` if time or room is over, or was once."""
        if self.struck is not None:
            raise self.struck
        if time.monotonic() - self._started > self._limits.time_s:
            raise self._exceeded()
        if not self._main_thread:  # else `_look` sees to it
            self._room()

    def hooked(self, hooks: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give a task's hooks, with a look at the bounds in each where no signal comes.

        What they raise is `struck` as well: a library may turn it into an error of its own.
        """
        if self._main_thread:
            return hooks
        given = {"tell": untold, "cores": one_core, **hooks}
        return {name: partial(self._checked, hook) for name, hook in given.items()}

    def _checked(self, hook: Callable[..., Any], *args: Any) -> Any:
        try:
            if self.unwanted():
                raise OperationFailed("Nobody waits for it any more.")
            self.check()
        except OffloadError as error:
            self.struck = self.struck or error
            raise
        return hook(*args)

    def check_size(self, outputs: Sequence[Output]) -> None:
        """Raise `OutputTooLarge` if these are too many, or too much together."""
        if len(outputs) > self._limits.max_files:
            raise OutputTooLarge(
                f"The result is more than the {self._limits.max_files} files that one item may "
                "produce."
            )
        if sum([output.size_bytes for output in outputs]) > self._limits.max_output_bytes:
            raise OutputTooLarge("The result is larger than one item may produce.")

    def told(self, error: OffloadError) -> OffloadError:
        """Give what a failure is called: a file ended where the room did, or the limit."""
        if isinstance(error, OutputTooLarge) and self._room_bytes < self._limits.max_output_bytes:
            return StorageFull(
                f"The result is larger than the {self._room_bytes} bytes that the data disk had "
                f"room for; {SETTING} keeps {self._limits.min_free_bytes} free.",
                free_bytes=self._limits.min_free_bytes + self._room_bytes,
                min_free_bytes=self._limits.min_free_bytes,
            )
        return error

    def _room(self) -> int:
        return check_space(self._disk, self._limits.min_free_bytes)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if self.armed:
            self.struck = self.struck or self._exceeded()
            raise self.struck

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        if not self.armed:
            return
        try:
            self._room()
        except StorageFull as error:
            signal.setitimer(signal.ITIMER_PROF, _RING_AGAIN_S, _RING_AGAIN_S)
            self.struck = self.struck or error
            raise

    def _exceeded(self) -> DeadlineExceeded:
        limit_s = self._limits.time_s
        return DeadlineExceeded(
            f"The work took longer than the {limit_s:g} s that an item may take.", limit_s=limit_s
        )


def lower_limit(which: int, value: int, *, hard: bool = False) -> None:
    """Set a resource limit of this process, the soft one or both, as far as the hard one allows."""
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        value = min(value, ceiling)
    resource.setrlimit(which, (value, value if hard else ceiling))
