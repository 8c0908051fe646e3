"""What a worker does with a trip, whichever kind of worker it is."""

from __future__ import annotations

import os
import time
from functools import partial

from app.cpu.board import Board
from app.cpu.trips import Ended, packed_ends, unpacked
from app.ops.bounds import Bounds
from app.ops.chain import Prepared, run_bounded


def run_on(board: Board, row: int, payload: bytes, who: int) -> bytes:
    """Run the tasks of a trip, one after the other.

    Args:
        board: where to say what is done.
        row: the trip's.
        payload: by `packed`.
        who: the worker's id.

    Returns:
        By `packed_ends`, without those for which nobody waits any more; nothing if the tasks
        cannot be unpacked.
    """
    hooks = {"tell": partial(board.tell, row), "cores": partial(_cores, board)}
    ends, prepared = [], Prepared()
    try:
        tasks = unpacked(payload)
    except Exception:  # noqa: BLE001 - which one it is, shows when each comes by itself
        return b""
    try:
        with Bounds() as bounds:
            for place, task in tasks:
                if board.begin(row, place, who):
                    began = time.monotonic()
                    bounds.unwanted = partial(board.unwanted, row, place)
                    outcome = run_bounded(task, bounds, prepared, hooks)
                    worked_s = time.monotonic() - began
                    folder = os.path.lexists(task.folder)
                    ends.append((place, Ended(outcome, began, worked_s, folder)))
    finally:
        board.end(row)
    return packed_ends(ends)


def _cores(board: Board) -> int:
    """Count this worker's core and those of the workers that are idle."""
    return 1 + board.idle()
