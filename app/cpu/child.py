"""What a child of the pool does."""

from __future__ import annotations

import os
from multiprocessing.synchronize import Barrier
from multiprocessing.util import Finalize

from app.cpu.board import Board
from app.cpu.running import run_on
from app.ops.worker import prepare_worker
from app.orphans import die_with_parent

_board: Board
"""Of this child, once it has started."""


def start_worker(board: Board, all_up: Barrier, parent_pid: int, memory_bytes: int) -> None:
    """Initialise a child: sign the board, never outlive the service, take on the limits.

    None begins before all are up: otherwise the first one takes the greetings of the others, and
    the pool counts as warm with half of it missing.
    """
    global _board  # noqa: PLW0603 - a child has one
    die_with_parent(parent_pid)
    board.sign(os.getpid())
    _board = board
    # Nothing is left to do when a child has ended its work; taking apart the interpreter with all
    # its libraries would be half a second on every core, at each stop and each replacement.
    Finalize(None, os._exit, args=(0,), exitpriority=-100)
    prepare_worker(memory_bytes)
    all_up.wait()


def run_trip(row: int, payload: bytes) -> bytes:
    """Run a trip in this child: see `run_on`."""
    return run_on(_board, row, payload, os.getpid())
