"""What a child of the pool does."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.cpu.board import Board
from app.cpu.trips import HEADER_BYTES, Ended, framed, packed_ends, unpacked
from app.ops.bounds import Bounds
from app.ops.chain import Prepared, run_bounded
from app.ops.worker import prepare_worker

PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


def serve(
    line: socket.socket, board: Board, idle: ctypes.c_int, parent_pid: int, memory_bytes: int
) -> None:
    """Be a child: say with an empty frame that it is warm, then run a trip for each that comes.

    It never outlives the service, and ends when that closes its end.

    Args:
        line: to the parent.
        board: the child's own.
        idle: how many other children have nothing to do.
        parent_pid: whose child it is.
        memory_bytes: see `prepare_worker`.
    """
    die_with_parent(parent_pid)
    prepare_worker(memory_bytes)
    hooks = {"tell": board.tell, "cores": lambda: 1 + idle.value}
    with suppress(OSError), line.makefile("rb") as coming:
        line.sendall(framed(b""))
        while header := coming.read(HEADER_BYTES):
            payload = coming.read(int.from_bytes(header))
            line.sendall(framed(run_trip(payload, board, hooks)))
    # Nothing is left to do when a child has ended its work; taking apart the interpreter with all
    # its libraries would be half a second on every core, at each stop and each replacement.
    os._exit(0)


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies, whatever it died of.

    Holds for the `spawn` method only: under `forkserver` the parent is the fork server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the kernel was told
        os._exit(1)


def run_trip(payload: bytes, board: Board, hooks: Mapping[str, Any]) -> bytes:
    """Run the tasks of a trip, by `packed`, one after the other.

    Returns:
        By `packed_ends`, without those for which nobody waits any more; nothing if that cannot be
        said, or if the tasks cannot be unpacked: which one it is, shows when each comes by itself.
    """
    ends, prepared = [], Prepared()
    try:
        with Bounds() as bounds:
            for place, task in unpacked(payload):
                if board.begin(place):
                    began = time.monotonic()
                    outcome = run_bounded(task, bounds, prepared, hooks)
                    worked_s = time.monotonic() - began
                    folder = os.path.lexists(task.folder)
                    ends.append((place, Ended(outcome, began, worked_s, folder)))
        return packed_ends(ends)
    except Exception:  # noqa: BLE001 - told as what it is: of no use to anybody
        _log.exception("A trip failed.")
        return b""
    finally:
        board.end()
