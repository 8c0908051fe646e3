"""Blocks: one stream made of parts that several threads compress, in the order of the input.

All codecs here release the interpreter's lock while they compute, so threads of one worker process
use as many cores as they may. Where a block begins and ends, and what is in it, depends on the
input alone and not on how many threads there were: the same input gives the same bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, Self

MIB = 1 << 20

MAX_THREADS = 16
"""Each also has a stack of 8 MiB in the address space that a worker may use."""


class Sink(Protocol):
    """What a packer writes to: a binary file, or what behaves like one."""

    def write(self, data: bytes, /) -> Any:
        """Write all of `data`."""


class Stopped(Exception):
    """Nobody waits for this block any more."""


class Packer:
    """Writes one compressed stream. Use it as a context manager; see `packing`."""

    method = ""
    """Which library compresses, and its own level; complete once the stream is."""

    def write(self, data: bytes, /) -> int:
        """Compress the next bytes of the input, and perhaps write some of the output."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is left, and the end of the stream."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Leave the stream unfinished, and stop what works on it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish the stream, or on an exception abandon it."""
        try:
            if kind is None:
                self.finish()
        finally:
            self.abandon()


Block = Callable[[threading.Event], Any]
"""Compresses one block, on one thread, apart from the others. If that takes over a second, it looks
at the event, which says that nobody waits any more, and raises `Stopped`."""


class Lane:
    """Runs blocks on as many threads as may compute, and gives their results back in order."""

    def __init__(
        self,
        take: Callable[[Any], None],
        cores: Callable[[], int],
        max_threads: int = MAX_THREADS,
    ) -> None:
        """Start nothing yet.

        Args:
            take: gets each result, in the order of `put`, on the thread that calls `put`.
            cores: how many threads may compute right now; asked before each block.
            max_threads: at most so many, for blocks that take much memory.
        """
        self._take = take
        self._cores = cores
        self._max_threads = min(max_threads, MAX_THREADS)
        self._queue: deque[Future[Any]] = deque()
        self._stopped: threading.Event | None = None
        self._executor: ThreadPoolExecutor | None = None

    def put(self, block: Block, *, last: bool = False) -> None:
        """Have a block compressed; waits while as many are in work as may be."""
        if self._stopped is None:
            # Not before: a small input comes without blocks, and this would be a tenth of it.
            self._stopped = threading.Event()
        threads = self._wait_for_a_core()
        if threads == 1 or (last and not self._queue):
            # Nothing else is in work, so one more thread would only take turns with this one.
            self._drain(all_of_them=True)
            self._take(block(self._stopped))
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._max_threads, "block")
        try:
            self._queue.append(self._executor.submit(block, self._stopped))
        except RuntimeError as error:
            # The one way in which this fails: no memory for one more stack.
            raise MemoryError(str(error)) from error
        # After the next block is in work: writing and hashing take time too.
        self._drain(all_of_them=False)
        while len(self._queue) > 2 * threads:
            self._take(self._queue.popleft().result())

    def finish(self) -> None:
        """Wait for all blocks, and take them."""
        self._drain(all_of_them=True)

    def stop(self) -> None:
        """End the threads; what they have not finished is lost."""
        if self._stopped is not None:
            self._stopped.set()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _wait_for_a_core(self) -> int:
        while True:
            threads = max(1, min(self._cores(), self._max_threads))
            working = [block for block in self._queue if not block.done()]
            if len(working) < threads:
                return threads
            wait(working, return_when=FIRST_COMPLETED)

    def _drain(self, *, all_of_them: bool) -> None:
        while self._queue and (all_of_them or self._queue[0].done()):
            self._take(self._queue.popleft().result())


class Cutter:
    """Cuts what is written, in whatever portions, into blocks of one size."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0

    def add(self, data: bytes) -> Iterable[bytes]:
        """Take bytes and give the blocks that are full; no copy of what is one block already."""
        size = self._block_bytes
        at = 0
        while self._held_bytes + len(data) - at >= size:
            end = at + size - self._held_bytes
            whole = not self._held and at == 0 and end == len(data)
            self._hold(data if whole else data[at:end])
            at = end
            yield self.rest()
        if at < len(data):
            self._hold(data[at:] if at else data)

    def rest(self) -> bytes:
        """Give what is held, which is less than a block between calls of `add`."""
        block = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return block

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)


class BlockPacker(Packer):
    """A packer that is made of blocks: says what a block is, and what to write around them."""

    _ends_in_a_block = False
    """Whether the last block marks the end, and has to be there even if it is empty."""

    def __init__(
        self,
        sink: Sink,
        cores: Callable[[], int],
        block_bytes: int,
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._sink = sink
        self._cutter = Cutter(block_bytes)
        self._lane = Lane(self._take, cores, max_threads)

    def write(self, data: bytes, /) -> int:
        """Compress the next bytes of the input."""
        data = bytes(data)
        for block in self._cutter.add(data):
            self._lane.put(self._block(block, last=False))
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the end of the stream."""
        rest = self._cutter.rest()
        if rest or self._ends_in_a_block:
            self._lane.put(self._block(rest, last=True), last=True)
        self._lane.finish()

    def abandon(self) -> None:
        """Stop the threads."""
        self._lane.stop()

    def _block(self, data: bytes, *, last: bool) -> Block:
        raise NotImplementedError

    def _take(self, result: Any) -> None:
        raise NotImplementedError
