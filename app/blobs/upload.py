"""One stream on its way into a file: counted, hashed and typed in one pass."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from blake3 import blake3

from app.errors import BodyTooLarge, StorageError
from app.model.blobs import BLAKE3_PREFIX
from app.ops.media_type import sniff

BUFFER_BYTES = 512 << 10
"""Handed to a thread at a time: 256 KiB to 1 MiB measured best, 4 MiB slower."""
FLUSH_BYTES = 8 << 20
"""Brought to disk at a time while more arrives: of 64 MiB the last sync then waits for a few.
Also what is laid claim to on the disk at a time: writing then costs a third less CPU."""
HEAD_BYTES = 4096
"""Looked at to tell the media type."""

Start = Callable[..., asyncio.Future[Any]]
"""Has a function run in a thread."""


class Tally:
    """What is found out of a stream as it passes: its size, its media type and its digest."""

    def __init__(self, max_bytes: int, *, sha256: bool) -> None:
        """Begin; without `sha256` the digest is the BLAKE3."""
        self._max_bytes = max_bytes
        self._taken_bytes = 0
        self.size_bytes = 0
        self._hash = hashlib.sha256() if sha256 else blake3()
        self._prefix = "" if sha256 else BLAKE3_PREFIX
        self._head = b""

    def take(self, size_bytes: int) -> None:
        """Count a chunk before it is kept. Raises `BodyTooLarge`."""
        self._taken_bytes += size_bytes
        if self._taken_bytes > self._max_bytes:
            raise BodyTooLarge(
                f"The body is larger than {self._max_bytes} bytes.", max_bytes=self._max_bytes
            )

    def add(self, piece: bytes) -> None:
        """Look at the next piece; in a thread, for it takes a while."""
        self.size_bytes += len(piece)
        self._head += piece[: HEAD_BYTES - len(self._head)]
        self._hash.update(piece)

    def told(self) -> tuple[int, str, str]:
        """Give the size, the media type and the digest."""
        return self.size_bytes, sniff(self._head), self._prefix + self._hash.hexdigest()


class Upload:
    """Made and fed on the event loop, written by one thread at a time.

    The lock is for the end: a cancelled upload is discarded while a thread may still be writing,
    and another write may be waiting for its thread.
    """

    def __init__(
        self,
        path: Path,
        final: Path | None,
        max_bytes: int,
        check_space: Callable[[int], None],
        *,
        sha256: bool,
    ) -> None:
        """Begin a file at `path` with the first write; `check_space` is asked before each.

        `final` is where it may be in the end, and is not to be if anything goes wrong.
        """
        self._path = path
        self._paths = [path] if final is None else [path, final]
        self._tally = Tally(max_bytes, sha256=sha256)
        self._check_space = check_space
        self._buffered_bytes = self._unflushed_bytes = self._claimed_bytes = 0
        self._descriptor = -1
        self._lock = threading.Lock()
        self._discarded = False

    async def receive(
        self, chunks: AsyncIterator[bytes], start: Start, end: Callable[[], None]
    ) -> tuple[int, str, str]:
        """Write a stream; gives its size, its media type and its digest.

        `end` is called in the thread that has written the last of it. Whatever goes wrong,
        cancellation too, leaves nothing.
        """
        writing: asyncio.Future[None] | None = None
        flushing: asyncio.Future[None] | None = None
        try:
            buffer: list[bytes] = []
            async for chunk in chunks:
                buffer.append(chunk)
                if self._take(len(chunk)) >= BUFFER_BYTES:
                    # Two buffers: one is hashed and written while the other fills.
                    if writing is not None:
                        await writing
                        if flushing is None or flushing.done():
                            flushing = await self._flushing(start, flushing)
                    writing = start(self._write, buffer)
                    buffer, self._buffered_bytes = [], 0
            for begun in (writing, flushing):
                if begun is not None:
                    await begun
            told: tuple[int, str, str] = await start(self._finish, buffer, end)
        except BaseException:
            # A cancelled await does not stop its thread: `discard` itself waits for that. It is
            # on its way before anything is awaited here, however often we are cancelled.
            ending = [start(self._discard)]
            ending += [begun for begun in (writing, flushing) if begun is not None]
            await asyncio.shield(asyncio.gather(*ending, return_exceptions=True))
            raise
        return told

    async def _flushing(
        self, start: Start, earlier: asyncio.Future[None] | None
    ) -> asyncio.Future[None] | None:
        if earlier is not None:
            await earlier
        return start(self._flush) if self._unflushed_bytes >= FLUSH_BYTES else None

    def _take(self, size_bytes: int) -> int:
        """Count a chunk before it is kept; returns how much is buffered now."""
        self._tally.take(size_bytes)
        self._buffered_bytes += size_bytes
        return self._buffered_bytes

    # -- in threads --------------------------------------------------------------------------

    def _write(self, pieces: list[bytes]) -> None:
        with self._lock:
            self._append(pieces)

    def _flush(self) -> None:
        """Bring to disk what has been written, beside the writing of more."""
        with self._lock:
            if self._discarded:
                return
            # Its own descriptor: the other may be closed, and its number given away, meanwhile.
            descriptor = os.dup(self._descriptor)
            self._unflushed_bytes = 0
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _finish(self, pieces: list[bytes], end: Callable[[], None]) -> tuple[int, str, str]:
        with self._lock:
            self._append(pieces)
            if self._claimed_bytes > self._tally.size_bytes:
                os.ftruncate(self._descriptor, self._tally.size_bytes)
            end()
            os.close(self._descriptor)
            self._descriptor = -1
            return self._tally.told()

    def _discard(self) -> None:
        with self._lock:
            self._discarded = True
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            for path in self._paths:
                path.unlink(missing_ok=True)

    def _append(self, pieces: list[bytes]) -> None:
        if self._discarded:
            raise StorageError("The upload was given up.")
        # In one piece: each call below lets go of the interpreter's lock, and waits for it again.
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._check_space(len(piece))
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        self._claim(len(piece))
        self._tally.add(piece)
        self._unflushed_bytes += len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _claim(self, size_bytes: int) -> None:
        """Have the file system find room for a large file, ahead of what is written."""
        written_bytes = self._tally.size_bytes
        if written_bytes and written_bytes + size_bytes > self._claimed_bytes:
            begin = max(self._claimed_bytes, written_bytes)
            with suppress(OSError):  # it may not know how; what has no room is told when written
                os.posix_fallocate(self._descriptor, begin, FLUSH_BYTES)
            self._claimed_bytes = begin + FLUSH_BYTES
