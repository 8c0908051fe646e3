"""What crosses the pipe in one trip: some tasks there, as many outcomes back.

Both are pickled here and not by the executor, where one value that does not pickle would fail its
mates, and one that does not unpickle would end the child.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.errors import OperationFailed
from app.ops.base import pickled_by_fields
from app.ops.tasks import ChainTask, Finished, Refused


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended, and when."""

    outcome: Finished | Refused
    began_at: float = 0.0
    """By `time.monotonic`, which all processes of a machine share; 0 if it never began."""
    worked_s: float = 0.0
    folder: bool = True
    """Whether `ChainTask.folder` may be there, to be removed."""


def packed(tasks: Sequence[ChainTask]) -> tuple[bytes, dict[int, Ended]]:
    """Pickle tasks for `unpacked`.

    Returns:
        The tasks, and by its place the outcome of each that does not pickle and is left out.
    """
    try:
        return pickle.dumps(list(enumerate(tasks)), pickle.HIGHEST_PROTOCOL), {}
    except Exception:  # noqa: BLE001 - whatever a strange value's own code raises
        bad = {place: said for place, task in enumerate(tasks) if (said := _complaint(task))}
        good = [(place, task) for place, task in enumerate(tasks) if place not in bad]
        failed = {
            place: Ended(_unsendable("task", said), folder=False) for place, said in bad.items()
        }
        return pickle.dumps(good, pickle.HIGHEST_PROTOCOL), failed


def unpacked(payload: bytes) -> list[tuple[int, ChainTask]]:
    """Give tasks and their places."""
    tasks: list[tuple[int, ChainTask]] = pickle.loads(payload)  # noqa: S301 - `packed` made it
    return tasks


def packed_ends(ends: list[tuple[int, Ended]]) -> bytes:
    """Pickle outcomes; those that do not pickle become refusals that do."""
    try:
        return pickle.dumps(ends, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - see above
        return pickle.dumps([(place, _sendable(end)) for place, end in ends])


def unpacked_ends(payload: bytes) -> dict[int, Ended]:
    """Give outcomes by the places of their tasks."""
    return dict(pickle.loads(payload))  # noqa: S301 - `packed_ends` made it


def _sendable(end: Ended) -> Ended:
    said = _complaint(end)
    return replace(end, outcome=_unsendable("result", said)) if said else end


def _complaint(value: Any) -> str:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - see above
        return repr(error)
    return ""


def _unsendable(what: str, said: str) -> Refused:
    return Refused(
        OperationFailed.code, "The operation failed.", f"The {what} cannot be pickled: {said}"
    )
