"""Chain: an item's steps, one after the other, in a child of the process pool.

The child gives back a value whatever happens. An exception that does not pickle breaks the pool
for everybody, so none crosses the pipe.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.errors import (
    InvalidParameter,
    MemoryExceeded,
    OperationFailed,
    Refusal,
    StorageFull,
    from_code,
)
from app.ops.base import NOWHERE, Operation, Output, Params, Result, Source, Work
from app.ops.bounds import Bounds
from app.ops.refusals import refused, refused_briefly
from app.ops.registry import load_operations
from app.ops.tasks import (
    MAX_TOLD,
    ChainStep,
    ChainTask,
    Finished,
    Refused,
    StoredOutput,
    add_facts,
    as_json,
)

MAX_VALUE_BYTES = 1 << 20
"""Of one task's results together that come back as values; the others are files. An archive may
have thousands of small ones, and the pipe holds up the event loop."""


def run_chain(task: ChainTask) -> Finished | Refused:
    """Pass the sources through all steps; the outputs of one are the sources of the next.

    Never raises. On a process's main thread the time limit and the free-space floor interrupt the
    work (a single long call into C is interrupted when it returns), and no file can grow over
    `max_output_bytes`, or over what room there was when it began; on another thread all of this is
    checked between steps, and time and room also whenever the operation calls one of `Work`'s
    functions, since signals and resource limits belong to the process.

    Returns:
        The final outputs, those that are files inside `task.folder`, or why there are none. What
        a failed chain has left in the folder is the caller's to remove. Where no step needed a
        file, and no result has to be one, the folder is not made.
    """
    with Bounds() as bounds:
        return run_bounded(task, bounds, Prepared(), {})


def run_bounded(
    task: ChainTask, bounds: Bounds, prepared: Prepared, hooks: Mapping[str, Any]
) -> Finished | Refused:
    """Do what `run_chain` does, within bounds that are entered: for one task after the other.

    Args:
        task: what to do.
        bounds: of this process.
        prepared: of all tasks of a trip.
        hooks: for `Work`: `tell` and `cores`, where there are any.
    """
    outcome: Finished | Refused
    # The alarm may raise between any two lines below, until `armed` is False. It does so at
    # most once a second, and there is no call before the second handler takes note of it.
    try:
        try:
            # Before the clock: the first time takes long, and is not this item's fault.
            load_operations()
            bounds.begin(task.limits, os.path.dirname(task.folder))  # noqa: PTH120 - quick
            outcome = _Pass(task, bounds, prepared, hooks).run()
        except BaseException as error:  # noqa: BLE001  SystemExit must not cross the pipe either
            outcome = refused(error, bounds)
        bounds.armed = False
    except BaseException as error:  # noqa: BLE001
        bounds.armed = False
        outcome = refused_briefly(error, bounds)
    return outcome


class Prepared:
    """Steps whose parameters have been validated: once, where many tasks have the same."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[ChainStep, Operation, Params]] = {}

    def of(self, step: ChainStep) -> tuple[Operation, Params]:
        """Give what to call for a step, and with what.

        Raises:
            InvalidParameter: there is no such operation, or its parameters are wrong.
        """
        # By identity, which the pipe preserves within a trip. The step is kept, so its id is.
        known = self._known.get(id(step))
        if known is None:
            known = self._known[id(step)] = (step, *_prepared(step))
        return known[1], known[2]


class _Pass:
    """One task's way through its steps."""

    def __init__(
        self, task: ChainTask, bounds: Bounds, prepared: Prepared, hooks: Mapping[str, Any]
    ) -> None:
        self._task = task
        self._bounds = bounds
        self._prepared = prepared
        self._hooks = bounds.hooked(hooks)
        self._written = 0
        self._value_bytes = 0
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
                shutil.rmtree(self._place(number - 1), ignore_errors=True)
            sources = tuple(
                Source(one.path, one.name, one.media_type, one.size_bytes, one.data)
                for one in outputs
            )
        stored = tuple(self._stored(output) for output in outputs)
        return Finished(stored, self._facts, tuple(self._refused[:MAX_TOLD]), "\n".join(self._log))

    def _step(self, number: int, step: ChainStep, sources: Sequence[Source]) -> list[Output]:
        operation, params = self._prepared.of(step)
        asides = self._task.asides
        if not operation.takes_bytes:
            sources = [self._as_file(source) for source in sources]
            asides = {key: self._as_file(aside) for key, aside in asides.items()}
        folder = self._place(number)
        outputs: list[Output] = []
        told: list[dict[str, Any]] = []
        went_on = False
        together = operation.joins or len(sources) == 1
        for place, given in enumerate((tuple(sources),) if together else [(s,) for s in sources]):
            own = folder if together else folder / str(place)
            work = Work(given, own, self._task.limits, asides=asides, **self._hooks)
            try:
                result = _run_operation(operation, work, params)
            except Exception as error:
                if together or not self._fails_alone(step, given[0], error):
                    raise
            else:
                went_on = True
                outputs += result.outputs
                told.append({"name": given[0].name} | as_json(result.facts))
                self._refused += result.refused
            self._bounds.check()
            self._bounds.check_size(outputs)
        if sources and not went_on:
            first = self._refused[-len(sources)]
            raise from_code(first.code, first.detail)
        self._keep_facts(step.op, told, together=together)
        return outputs

    def _place(self, name: object) -> Path:
        again = ("again",) * self._task.deaths
        return Path(self._task.folder, *again, str(name))

    def _fails_alone(self, step: ChainStep, source: Source, error: Exception) -> bool:
        """Note that one of several files failed, unless it was time or room that ran out."""
        self._bounds.check()
        failure = refused(error, self._bounds)
        if failure.code in (MemoryExceeded.code, StorageFull.code):
            return False
        if failure.log_detail:
            self._log.append(f"{step.op} of {source.name}: {failure.log_detail}")
        self._refused.append(Refusal(source.name, failure.code, failure.detail))
        return True

    def _keep_facts(self, op: str, told: list[dict[str, Any]], *, together: bool) -> None:
        if not together:
            add_facts(self._facts, {op: {"files": told[:MAX_TOLD]}})
        elif told:
            del told[0]["name"]
            add_facts(self._facts, {op: told[0]})

    # -- values and files --------------------------------------------------------------------

    def _as_file(self, source: Source) -> Source:
        """Give a value as a file: for an operation that knows only these."""
        if source.data is None:
            return source
        path = self._write(source.data)
        return Source(path, source.name, source.media_type, source.size_bytes)

    def _write(self, data: bytes) -> Path:
        folder = self._place("values")
        folder.mkdir(parents=True, exist_ok=True)
        self._written += 1
        path = folder / str(self._written)
        path.write_bytes(data)
        return path

    def _stored(self, output: Output) -> StoredOutput:
        size_bytes, data, path = output.size_bytes, output.data, output.path
        if self._is_value(size_bytes):
            data = output.path.read_bytes() if data is None else data
            self._value_bytes += size_bytes
            path = NOWHERE
        elif data is not None:
            path = self._write(data)
        digest = output.sha256 or _digest(path, data)
        kept = data if path is NOWHERE else None
        return StoredOutput(path, output.name, output.media_type, size_bytes, digest, kept)

    def _is_value(self, size_bytes: int) -> bool:
        small_bytes = self._task.small_bytes
        if small_bytes is None or size_bytes > small_bytes:
            return False
        return self._value_bytes + size_bytes <= MAX_VALUE_BYTES


def _digest(path: Path, data: bytes | None) -> str:
    if data is not None:
        return hashlib.sha256(data).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prepared(step: ChainStep) -> tuple[Operation, Params]:
    operation = load_operations().get(step.op)
    if operation is None:
        raise InvalidParameter(f"There is no operation {step.op!r}.")
    try:
        return operation, operation.params.model_validate(step.params)
    except ValidationError as error:
        raise InvalidParameter(_first_complaint(step.op, error)) from error


def _run_operation(operation: Operation, work: Work, params: Params) -> Result:
    if not operation.takes_bytes:
        work.place()
    result = operation.run(work, params)
    for output in result.outputs:
        if output.data is None and not _is_inside(output.path, work.folder):
            raise OperationFailed(
                "The operation failed.",
                log_detail=f"{operation.name} gave {output.path}, no file inside its folder.",
            )
    return result


def _is_inside(path: Path, folder: Path) -> bool:
    inside = path.is_relative_to(folder) and ".." not in path.parts
    return inside and not path.is_symlink() and path.is_file()


def _first_complaint(op: str, error: ValidationError) -> str:
    complaint = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in (op, *complaint["loc"]))
    return f"{where}: {complaint['msg']}."
