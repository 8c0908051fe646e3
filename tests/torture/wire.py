"""A wire between a node and a server that a test can cut, hold, slow down or lie on."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

PIECE_BYTES = 1 << 16
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n"
)


class Wire:
    """Passes on what comes to its port, to an address or a Unix socket; on loopback only.

    What is set holds for what goes on from then: `delay_s` before each piece, `most_answered`
    bytes of an answer before the connection is reset, `refusing` for new connections, and `instead`
    for what each is answered with, once it has asked something.
    """

    def __init__(self, target: tuple[str, int] | Path) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        """How many have been made through it."""
        self.delay_s = 0.0
        self.most_answered: int | None = None
        self.refusing = False
        self.instead: bytes | None = None
        self._made = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    @contextmanager
    def to(cls, target: tuple[str, int] | Path, host: str = "127.0.0.1") -> Iterator[Self]:
        """Have one while the context is open."""
        wire, listens = cls(target), threading.Event()
        thread = threading.Thread(target=wire._run, args=(host, listens), daemon=True)
        thread.start()
        assert listens.wait(10)
        try:
            yield wire
        finally:
            wire._loop.call_soon_threadsafe(wire._loop.stop)
            thread.join(10)

    def wait_for(self, connections: int) -> None:
        """Return once so many have been made through it."""
        with self._made:
            assert self._made.wait_for(lambda: self.connections >= connections, 30)

    # -- what a test does to it ----------------------------------------------------------------

    def cut(self) -> None:
        """Reset all connections that there are."""
        self._do(self._cut)

    def hold(self) -> None:
        """Pass nothing on, and say so to nobody, as if the cable were pulled."""
        self._do(self._open.clear)

    def release(self) -> None:
        """Pass on what was held, and what comes."""
        self._do(self._open.set)

    def mend(self) -> None:
        """Be a wire again."""
        self.delay_s, self.most_answered, self.refusing, self.instead = 0.0, None, False, None
        self.release()

    # -- in its thread -------------------------------------------------------------------------

    def _do(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def here() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(here)
        assert done.wait(10)

    def _run(self, host: str, listens: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def listen() -> None:
            self._open.set()
            self._server = await asyncio.start_server(self._connected, host, 0, backlog=512)
            self.port = self._server.sockets[0].getsockname()[1]
            listens.set()

        self._loop.run_until_complete(listen())
        self._loop.run_forever()
        self._server.close()
        self._cut()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    def _cut(self) -> None:
        for writer in tuple(self._writers):
            _reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._made:
            self.connections += 1
            self._made.notify_all()
        self._writers.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            _reset(writer)
            return
        await self._open.wait()
        if self.instead is not None:
            await reader.read(PIECE_BYTES)
            writer.write(self.instead)
            await writer.drain()
            return
        if isinstance(self.target, Path):
            there, back = await asyncio.open_unix_connection(str(self.target))
        else:
            there, back = await asyncio.open_connection(*self.target)
        self._writers.add(back)
        try:
            await asyncio.gather(self._pass(reader, back), self._answer(there, writer))
        finally:
            self._writers.discard(back)
            back.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE_BYTES):
            await self._go_on(piece, sink)
        sink.write_eof()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        passed = 0
        while piece := await source.read(PIECE_BYTES):
            most = self.most_answered
            if most is not None and passed + len(piece) > most:
                await self._go_on(piece[: max(0, most - passed)], sink)
                _reset(sink)
                raise ConnectionResetError
            passed += len(piece)
            await self._go_on(piece, sink)
        sink.write_eof()

    async def _go_on(self, piece: bytes, sink: asyncio.StreamWriter) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._open.wait()
        sink.write(piece)
        await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the other side see that it broke, and not that it ended."""
    with suppress(OSError):
        found = writer.get_extra_info("socket")
        if found.family != socket.AF_UNIX:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
