"""Chain: an item's steps, one after the other, in a child of the process pool.

The child gives back a value whatever happens. An exception that does not pickle breaks the pool
for everybody, so none crosses the pipe.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, cast

from pydantic import ValidationError

from app.errors import (
    DeadlineExceeded,
    InvalidParameter,
    MemoryExceeded,
    OffloadError,
    OperationFailed,
    OutputTooLarge,
    Refusal,
    StorageFull,
    from_code,
)
from app.ops.base import Limits, Operation, Output, Params, Result, Source, Work
from app.ops.registry import load_operations
from app.ops.space import SETTING, check_space

_log = logging.getLogger(__name__)

MAX_TOLD = 1_000
"""Of the parts of one item, so many are described one by one."""

_KEPT_VARIABLES = ("PATH", "LANG", "TZ", "TMPDIR")
_KEPT_PREFIXES = ("LC_", "MALLOC_", "VIPS_")

_M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""

_LOOK_EVERY_S = 0.1
"""Of a worker's CPU time, at the disk's free space: a copy writes some 0.1 GB meanwhile."""

_RING_AGAIN_S = 1.0
"""An operation that catches what it is stopped with and goes on is told again after this long."""


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One operation and its parameters, as JSON."""

    op: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainTask:
    """What a child is to do: pass files through steps."""

    sources: tuple[Source, ...]
    steps: tuple[ChainStep, ...]
    folder: Path
    """Empty or not there yet, and private to this task; removed by the caller in any case."""
    limits: Limits
    asides: Mapping[str, Source] = field(default_factory=dict)
    """See `Work.asides`: those of all steps."""


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """One result file, finished and hashed, to be taken over by rename."""

    path: Path
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    """Hexadecimal."""


@dataclass(frozen=True, slots=True)
class Finished:
    """All steps are through."""

    outputs: tuple[StoredOutput, ...]
    facts: dict[str, dict[str, Any]]
    """By the step's operation; a second step of the same one is `<op>.2`. Of a step that several
    files went through, `files` has them one by one, the first `MAX_TOLD`."""
    refused: tuple[Refusal, ...] = ()
    """Parts that failed alone, the first `MAX_TOLD`; a part is named by all the files it is in."""
    log_detail: str = ""
    """For the operator."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A step failed; `app.errors.from_code` makes the error again."""

    code: str
    detail: str
    """For the client."""
    log_detail: str = ""
    """For the operator."""
    extra: dict[str, Any] = field(default_factory=dict)


def unwrapped(result: Finished | Refused) -> Finished:
    """Give what a chain finished with; raise, on this side of the pipe, what it refused with."""
    if isinstance(result, Refused):
        raise from_code(result.code, result.detail, log_detail=result.log_detail, **result.extra)
    return result


def prepare_worker(memory_bytes: int) -> None:
    """Make the calling process a worker: bounded, without secrets, warm. Cannot be undone.

    Afterwards the process ignores SIGINT and SIGHUP (a terminal sends them to the children too,
    and the service decides when they stop), dumps no core, and has only the few environment
    variables that libraries need. The variables are gone for this process and its children; the
    kernel's copy of the initial environment is not rewritten.

    Args:
        memory_bytes: address space that the process may use, libraries included; 0 for no
            limit. An idle worker maps 0.1 to 0.3 GiB.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in tuple(os.environ):
        if name not in _KEPT_VARIABLES and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    _warm_up()
    if memory_bytes > 0:
        _share_arenas()
        _lower_limit(resource.RLIMIT_AS, memory_bytes, hard=True)


def _warm_up() -> None:
    for operation in load_operations().values():
        module = sys.modules.get(getattr(operation.run, "__module__", ""))
        warm_up = getattr(module, "warm_up", None)
        if warm_up is None:
            continue
        try:
            warm_up()
        except Exception:  # noqa: BLE001
            # An initializer that raises breaks the pool. The operation will say the same of
            # itself when it is used; the others can work.
            _log.exception("The operation %s cannot be warmed up.", operation.name)


def _share_arenas() -> None:
    """Keep glibc from reserving 64 MiB of address space for every thread that allocates."""
    libc = ctypes.CDLL(None)
    # musl has neither the arenas nor the function.
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 2)


def _lower_limit(which: int, value: int, *, hard: bool = False) -> None:
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        value = min(value, ceiling)
    resource.setrlimit(which, (value, value if hard else ceiling))


def run_chain(
    task: ChainTask,
    tell: Callable[[int, int], None] | None = None,
    cores: Callable[[], int] | None = None,
) -> Finished | Refused:
    """Pass the sources through all steps; the outputs of one are the sources of the next.

    Never raises. On a process's main thread the time limit and the free-space floor interrupt the
    work (a single long call into C is interrupted when it returns), and no file can grow over
    `max_output_bytes`, or over what room there was when it began; on another thread all of this is
    checked between steps only, since signals and resource limits belong to the process.

    Args:
        task: what to do.
        tell: see `Work.tell`.
        cores: see `Work.cores`.

    Returns:
        The final outputs, inside `task.folder`, or why there are none. What a failed chain has
        left in the folder is the caller's to remove.
    """
    bounds = _Bounds(task.limits, task.folder.parent)
    outcome: Finished | Refused
    # The alarm may raise between any two lines below, until `armed` is False. It does so at
    # most once a second, and there is no call before the second handler takes note of it.
    try:
        try:
            # Before the clock: the first time takes long, and is not this item's fault.
            load_operations()
            bounds.set()
            outcome = _Pass(task, bounds, tell, cores).run()
        except BaseException as error:  # noqa: BLE001  SystemExit must not cross the pipe either
            outcome = _refused(error, bounds)
        bounds.armed = False
    except BaseException as error:  # noqa: BLE001
        bounds.armed = False
        outcome = _refused_briefly(error, bounds)
    bounds.lift()
    return outcome


class _Bounds:
    """Time, room and file size of one task: on the main thread the kernel helps to keep them."""

    __slots__ = (
        "_alarm_before",
        "_disk",
        "_fsize_before",
        "_limits",
        "_main_thread",
        "_room_bytes",
        "_started",
        "armed",
        "struck",
    )

    def __init__(self, limits: Limits, disk: Path) -> None:
        self._limits = limits
        self._disk = disk
        self._room_bytes = limits.max_output_bytes
        self._main_thread = threading.current_thread() is threading.main_thread()
        self._started = 0.0
        self._alarm_before: Any = signal.SIG_DFL
        self._fsize_before: tuple[int, int] | None = None
        self.armed = False
        """Whether the alarm may raise. Setting it False silences one that is already on its way."""
        self.struck: OffloadError | None = None
        """What it did raise. Libraries in C turn that into errors of theirs."""

    def set(self) -> None:
        self._started = time.monotonic()
        self._room_bytes = self._room()
        if not self._main_thread:
            return
        self._fsize_before = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Python ignores SIGXFSZ, so that a file that grows too large is an EFBIG to its writer.
        _lower_limit(resource.RLIMIT_FSIZE, min(self._limits.max_output_bytes, self._room_bytes))
        self._alarm_before = signal.signal(signal.SIGALRM, self._ring)
        signal.signal(signal.SIGPROF, self._look)
        self.armed = True
        # Zero would switch the timer off. Steps ask this one how much time they have left.
        signal.setitimer(signal.ITIMER_REAL, max(self._limits.time_s, 1e-3), _RING_AGAIN_S)
        signal.setitimer(signal.ITIMER_PROF, _LOOK_EVERY_S, _LOOK_EVERY_S)

    def lift(self) -> None:
        if self._main_thread and self._fsize_before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGALRM, self._alarm_before or signal.SIG_DFL)
            # By default it ends the process, and one may still be on its way.
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, self._fsize_before)

    def check(self) -> None:
        """Raise `DeadlineExceeded` or `StorageFull` if time or room is over, or was once."""
        if self.struck is not None:
            raise self.struck
        if time.monotonic() - self._started > self._limits.time_s:
            raise self._exceeded()
        self._room()

    def check_size(self, outputs: Sequence[Output]) -> None:
        if len(outputs) > self._limits.max_files:
            raise OutputTooLarge(
                f"The result is more than the {self._limits.max_files} files that one item may "
                "produce."
            )
        total_bytes = sum(output.path.stat().st_size for output in outputs)
        if total_bytes > self._limits.max_output_bytes:
            raise _too_large()

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


class _Pass:
    """One task's way through its steps."""

    def __init__(
        self,
        task: ChainTask,
        bounds: _Bounds,
        tell: Callable[[int, int], None] | None,
        cores: Callable[[], int] | None,
    ) -> None:
        self._task = task
        self._bounds = bounds
        self._hooks: dict[str, Any] = {"asides": task.asides}
        if tell is not None:
            self._hooks["tell"] = tell
        if cores is not None:
            self._hooks["cores"] = cores
        self._facts: dict[str, dict[str, Any]] = {}
        self._refused: list[Refusal] = []
        self._log: list[str] = []

    def run(self) -> Finished:
        if not self._task.steps:
            raise InvalidParameter("There is no step to run.")
        sources: Sequence[Source] = self._task.sources
        outputs: Sequence[Output] = ()
        for number, step in enumerate(self._task.steps):
            outputs = self._step(number, step, sources)
            if number:
                shutil.rmtree(self._task.folder / str(number - 1))
            sources = tuple(_as_source(output) for output in outputs)
        stored = tuple(_stored(output) for output in outputs)
        refused = tuple(self._refused[:MAX_TOLD])
        return Finished(stored, self._facts, refused, "\n".join(self._log))

    def _step(self, number: int, step: ChainStep, sources: Sequence[Source]) -> list[Output]:
        operation, params = _prepared(step)
        folder = self._task.folder / str(number)
        outputs: list[Output] = []
        told: list[dict[str, Any]] = []
        went_on = False
        together = operation.joins or len(sources) == 1
        for place, given in enumerate((tuple(sources),) if together else [(s,) for s in sources]):
            own = folder if together else folder / str(place)
            own.mkdir(parents=True)
            try:
                result = _run_operation(
                    operation, Work(given, own, self._task.limits, **self._hooks), params
                )
            except Exception as error:
                if together or not self._fails_alone(step, given[0], error):
                    raise
            else:
                went_on = True
                outputs += result.outputs
                told.append({"name": given[0].name} | _as_json(result.facts))
                self._refused += result.refused
            self._bounds.check()
            self._bounds.check_size(outputs)
        if sources and not went_on:
            first = self._refused[-len(sources)]
            raise from_code(first.code, first.detail)
        self._keep_facts(step.op, told, together=together)
        return outputs

    def _fails_alone(self, step: ChainStep, source: Source, error: Exception) -> bool:
        """Note that one of several files failed, unless it was time or room that ran out."""
        self._bounds.check()
        refused = _refused(error, self._bounds)
        if refused.code in (MemoryExceeded.code, StorageFull.code):
            return False
        if refused.log_detail:
            self._log.append(f"{step.op} of {source.name}: {refused.log_detail}")
        self._refused.append(Refusal(source.name, refused.code, refused.detail))
        return True

    def _keep_facts(self, op: str, told: list[dict[str, Any]], *, together: bool) -> None:
        if not together:
            add_facts(self._facts, {op: {"files": told[:MAX_TOLD]}})
        elif told:
            del told[0]["name"]
            add_facts(self._facts, {op: told[0]})


def add_facts(facts: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> None:
    """Add the facts of later steps; what is there under the same name stays, see `Finished`."""
    for op, told in more.items():
        key, times = op, 1
        while key in facts:
            times += 1
            key = f"{op}.{times}"
        facts[key] = told


def _prepared(step: ChainStep) -> tuple[Operation, Params]:
    operation = load_operations().get(step.op)
    if operation is None:
        raise InvalidParameter(f"There is no operation {step.op!r}.")
    if operation.run is None:
        raise OperationFailed(
            "The operation failed.", log_detail=f"{step.op} is not one that runs in a worker."
        )
    try:
        return operation, operation.params.model_validate(step.params)
    except ValidationError as error:
        raise InvalidParameter(_first_complaint(step.op, error)) from error


def _run_operation(operation: Operation, work: Work, params: Params) -> Result:
    assert operation.run is not None  # noqa: S101 - `_prepared` has seen to it
    result = operation.run(work, params)
    for output in result.outputs:
        inside = output.path.is_relative_to(work.folder) and ".." not in output.path.parts
        if not inside or output.path.is_symlink() or not output.path.is_file():
            raise OperationFailed(
                "The operation failed.",
                log_detail=f"{operation.name} gave {output.path}, no file inside its folder.",
            )
    return result


def _first_complaint(op: str, error: ValidationError) -> str:
    complaint = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in (op, *complaint["loc"]))
    return f"{where}: {complaint['msg']}."


def _too_large() -> OutputTooLarge:
    return OutputTooLarge("The result is larger than one item may produce.")


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Copy what an operation said, or fail here: what does not pickle must not reach the pipe.

    A number that is not finite is none: JSON has no such numbers.
    """
    copied = json.loads(json.dumps(value), parse_constant=lambda _: None)
    return cast("dict[str, Any]", copied)


def _as_source(output: Output) -> Source:
    return Source(output.path, output.name, output.media_type, output.path.stat().st_size)


def _stored(output: Output) -> StoredOutput:
    size_bytes = output.path.stat().st_size
    digest = output.sha256
    if digest is None:
        with output.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredOutput(output.path, output.name, output.media_type, size_bytes, digest)


def _refused(error: BaseException, bounds: _Bounds) -> Refused:
    known = _known(error)
    if known is None:
        known = bounds.struck
    if known is not None:
        known = bounds.told(known)
        try:
            extra = _as_json(known.extra)
        except (TypeError, ValueError):
            extra = {}
        return Refused(known.code, known.detail, known.log_detail, extra)
    return Refused(
        OperationFailed.code,
        "The operation failed for a reason that only the service's log has.",
        "".join(traceback.format_exception(error)),
    )


def _known(error: BaseException) -> OffloadError | None:
    if isinstance(error, OffloadError):
        return error
    if isinstance(error, MemoryError):
        return MemoryExceeded("The work needs more memory than a worker may use.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The service has no space left for the result.", log_detail=str(error))
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return _too_large()
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return MemoryExceeded("The work needs more memory than a worker may use.")
    return None


def _refused_briefly(error: BaseException, bounds: _Bounds) -> Refused:
    """Report what came up while a failure was being reported: the alarm, or no memory for it."""
    if isinstance(error, OffloadError):
        return Refused(error.code, error.detail, error.log_detail)
    if isinstance(error, MemoryError):
        return Refused(MemoryExceeded.code, "The work needs more memory than a worker may use.")
    if bounds.struck is not None:
        return Refused(bounds.struck.code, bounds.struck.detail)
    return Refused(OperationFailed.code, "The operation failed.", type(error).__name__)
