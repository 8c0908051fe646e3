"""What a child of the pool does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from multiprocessing.synchronize import Barrier
from multiprocessing.util import Finalize

from app.cpu.board import Board
from app.cpu.trips import Ended, packed_ends, unpacked
from app.ops.bounds import Bounds
from app.ops.chain import Prepared, run_bounded
from app.ops.worker import prepare_worker

PR_SET_PDEATHSIG = 1

_board: Board
"""Of this child, once it has started."""


def start_worker(board: Board, all_up: Barrier, parent_pid: int, memory_bytes: int) -> None:
    """Initialise a child: sign the board, never outlive the service, take on the limits.

    None begins before all are up: otherwise the first one takes the greetings of the others, and
    the pool counts as warm with half of it missing.
    """
    global _board  # noqa: PLW0603 - a child has one
    die_with_parent(parent_pid)
    board.sign()
    _board = board
    # Nothing is left to do when a child has ended its work; taking apart the interpreter with all
    # its libraries would be half a second on every core, at each stop and each replacement.
    Finalize(None, os._exit, args=(0,), exitpriority=-100)
    prepare_worker(memory_bytes)
    all_up.wait()


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies, whatever it died of.

    Holds for the `spawn` method only: under `forkserver` the parent is the fork server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the kernel was told
        os._exit(1)


def run_trip(row: int, payload: bytes) -> bytes:
    """Run the tasks of a trip, one after the other.

    Args:
        row: the trip's, of the board.
        payload: by `packed`.

    Returns:
        By `packed_ends`, without those for which nobody waits any more; nothing if the tasks
        cannot be unpacked.
    """
    hooks = {"tell": lambda done, total: _board.tell(row, done, total), "cores": _cores}
    ends, prepared = [], Prepared()
    try:
        tasks = unpacked(payload)
    except Exception:  # noqa: BLE001 - which one it is, shows when each comes by itself
        return b""
    try:
        with Bounds() as bounds:
            for place, task in tasks:
                if _board.begin(row, place):
                    began = time.monotonic()
                    outcome = run_bounded(task, bounds, prepared, hooks)
                    worked_s = time.monotonic() - began
                    folder = os.path.lexists(task.folder)
                    ends.append((place, Ended(outcome, began, worked_s, folder)))
    finally:
        _board.end(row)
    return packed_ends(ends)


def _cores() -> int:
    """Count this child's core and those of the children that are idle."""
    return 1 + _board.idle()
