"""A child as the parent sees it, from its start to its end."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Self

from app.cpu.board import Board
from app.cpu.child import serve
from app.cpu.trips import HEADER_BYTES, framed

START_TIMEOUT_S = 60.0
"""For a child to be warm; one that takes longer counts as dead."""

SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """Runs one trip at a time."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        line: socket.socket,
        idle: ctypes.c_int,
        memory_bytes: int,
        on_death: Callable[[Worker], None],
    ) -> None:
        """Start the child at the other end of the streams: see `start`."""
        self._reader, self._writer = streams
        self._on_death = on_death
        self._dead = asyncio.Event()
        self.board: Board = SPAWN.RawValue(Board)
        self._process = SPAWN.Process(
            target=serve, args=(line, self.board, idle, os.getpid(), memory_bytes)
        )
        self._process.start()
        self.pid = self._process.pid or 0
        # What a child has forked and left holds its end of the line, but not this.
        self._watched = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._watched, self._died)

    @classmethod
    async def start(
        cls, idle: ctypes.c_int, memory_bytes: int, on_death: Callable[[Worker], None]
    ) -> Self:
        """Start a child, and return when it has imported what it needs.

        Args:
            idle: shared memory that has the number of children with nothing to do.
            memory_bytes: see `prepare_worker`.
            on_death: called when it dies, whatever it is at.

        Raises:
            EOFError, OSError: it could not start.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                streams = await asyncio.open_unix_connection(sock=ours)
            except BaseException:
                ours.close()
                raise
            worker = cls(streams, theirs, idle, memory_bytes, on_death)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await worker._received()
        except BaseException:
            await worker.end(grace_s=0)
            raise
        return worker

    async def run(self, payload: bytes) -> bytes:
        """Have the child run a trip: see `run_trip`. Raises `EOFError` or `OSError` if it dies."""
        self.board.clear()
        self._writer.write(framed(payload))
        return await self._received()

    async def _received(self) -> bytes:
        header = await self._reader.readexactly(HEADER_BYTES)
        return await self._reader.readexactly(int.from_bytes(header))

    def kill(self) -> None:
        """Kill it, if it is not dead."""
        self._process.kill()

    async def end(self, grace_s: float | None) -> None:
        """End it as soon as it has nothing to do; kill it if it is still at work after `grace_s`.

        Without a limit (None) it is waited for, unless that is cancelled.
        """
        if not self._dead.is_set():
            self._writer.write_eof()
        try:
            async with asyncio.timeout(grace_s):
                await self._dead.wait()
        except TimeoutError:
            pass
        finally:
            self.kill()
            await self._dead.wait()

    def _died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        self._process.join()
        self._writer.transport.abort()
        self._dead.set()
        self._on_death(self)
