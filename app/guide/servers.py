"""Servers in processes of their own: what is raced, and the origin that others are raced against.

`python -m app.guide.servers asyncio` or `threads` prints the port that it listens on and serves
until its parent ends it, or dies. Both read the same requests and give the same answers:

    GET /wait/MS/BYTES     after so many milliseconds, without work
    GET /loop/MS/BYTES     after a piece of pure Python of so many, in the event loop
    GET /thread/MS/BYTES   in a thread of the loop's default executor
    GET /process/MS/BYTES  in another process
    GET /pool/MS/BYTES     waits as /wait does, in one of 40 threads, as a `def` handler of FastAPI

The last four are of `asyncio` only.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import cast

import uvloop

from app.guide.pieces import busy
from app.guide.pools import process_pool
from app.orphans import die_with_parent

BACKLOG = 2048
POOL_THREADS = 40
HEAD_END = b"\r\n\r\n"
STACK_BYTES = 256 << 10
"""Of a connection's thread: 1,000 of them are to fit where address space is short."""


def answer(size_bytes: int) -> bytes:
    """Give a whole response with a body of that size."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    return head % size_bytes + b"x" * size_bytes


def asked(head: bytes) -> tuple[str, float, int]:
    """Give what a request asks for: the way, the seconds, and the size of the answer in bytes."""
    _, way, took_ms, size_bytes = head.split(b" ", 2)[1].decode().split("/")
    return way, float(took_ms) / 1000, int(size_bytes)


# -- asyncio ---------------------------------------------------------------------------------------


Way = Callable[[float], Awaitable[None]]
"""Does what takes so many seconds."""


class Ways:
    """What an event loop can do for a request."""

    def __init__(self, processes: ProcessPoolExecutor | None) -> None:
        """Use these processes for `process`; there is no such way without them."""
        self.by_name: dict[str, Way] = {
            "wait": asyncio.sleep,
            "loop": _in_loop,
            "thread": partial(_in_executor, None, busy),
            "pool": partial(_in_executor, ThreadPoolExecutor(POOL_THREADS), time.sleep),
        }
        if processes is not None:
            self.by_name["process"] = partial(_in_executor, processes, busy)


async def _in_loop(seconds: float) -> None:
    busy(seconds)


async def _in_executor(
    executor: Executor | None, work: Callable[[float], None], seconds: float
) -> None:
    await asyncio.get_running_loop().run_in_executor(executor, work, seconds)


class Connection(asyncio.Protocol):
    """One connection, kept alive; a request at a time."""

    def __init__(self, ways: Ways) -> None:
        """Answer as `ways` has it."""
        self._ways = ways
        self._unread = b""
        self._tasks = set[asyncio.Task[None]]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Begin to answer each request that is complete."""
        self._unread += data
        while HEAD_END in self._unread:
            head, _, self._unread = self._unread.partition(HEAD_END)
            task = asyncio.get_running_loop().create_task(self._answer(head))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, head: bytes) -> None:
        way, seconds, size_bytes = asked(head)
        if seconds or way != "wait":
            await self._ways.by_name[way](seconds)
        if not self._transport.is_closing():
            self._transport.write(answer(size_bytes))


async def serve_asyncio(listening: socket.socket, workers: int) -> None:
    """Serve in an event loop until cancelled."""
    with process_pool(workers) if workers else nullcontext() as processes:
        ways = Ways(processes)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(ways), sock=listening, backlog=BACKLOG
        )
        say_port(listening)
        async with server:
            await server.serve_forever()


# -- a thread each ---------------------------------------------------------------------------------


def serve_threads(listening: socket.socket) -> None:
    """Serve each connection in a thread of its own, for ever."""
    threading.stack_size(STACK_BYTES)
    say_port(listening)
    while True:
        connection, _ = listening.accept()
        try:
            threading.Thread(target=_converse, args=(connection,), daemon=True).start()
        except RuntimeError:  # no thread to be had: the client sees a connection that ends
            connection.close()


def _converse(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unread = b""
        while data := connection.recv(1 << 16):
            unread += data
            while HEAD_END in unread:
                head, _, unread = unread.partition(HEAD_END)
                _, seconds, size_bytes = asked(head)
                time.sleep(seconds)
                connection.sendall(answer(size_bytes))


def say_port(listening: socket.socket) -> None:
    """Tell whoever started this process where it listens."""
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()


def main(kind: str, parent_pid: str, workers: str) -> None:
    """Serve until the parent ends this process, or dies."""
    die_with_parent(int(parent_pid))
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    if kind == "threads":
        serve_threads(listening)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_asyncio(listening, int(workers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
