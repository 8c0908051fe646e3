"""A producer and its consumers: a bounded queue holds the producer back, an end mark ends each."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from queue import Queue
from typing import Final

END: Final = object()


def consume_all(
    produced: Iterable[int], consume: Callable[[int], None], consumers: int, in_hand: int
) -> list[Exception]:
    """Hand what is produced to so many threads, at most `in_hand` ahead; gives their errors."""
    queue: Queue[object] = Queue(in_hand)
    errors: list[Exception] = []

    def consumer() -> None:
        while (piece := queue.get()) is not END:
            try:
                consume(piece)  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001 - a consumer that dies would stop the producer
                errors.append(error)

    threads = [threading.Thread(target=consumer) for _ in range(consumers)]
    for thread in threads:
        thread.start()
    try:
        for piece in produced:
            queue.put(piece)  # waits while the queue is full
    finally:
        for _ in threads:
            queue.put(END)
        for thread in threads:
            thread.join()
    return errors


SAVE = """
import threading, time
def save():
    time.sleep(0.1)
    print("saved", flush=True)
threading.Thread(target=save, daemon={}).start()
"""


def trap(*, daemon: bool) -> str:
    """End a program while a thread is at work; gives what the thread still did."""
    ended = subprocess.run(
        [sys.executable, "-c", SAVE.format(daemon)], capture_output=True, text=True, check=True
    )
    return ended.stdout.strip() or "nothing"


if __name__ == "__main__":
    ahead, most, lock = 0, 0, threading.Lock()

    def produced() -> Iterable[int]:
        """Make pieces, and note how far ahead of the consumers that is."""
        global ahead, most  # noqa: PLW0603
        for piece in range(100):
            with lock:
                ahead += 1
                most = max(most, ahead)
            yield piece

    def consume(piece: int) -> None:
        global ahead  # noqa: PLW0603
        with lock:
            ahead -= 1
        if piece % 50 == 0:
            raise ValueError(piece)

    failed = consume_all(produced(), consume, consumers=3, in_hand=5)
    print("errors:", sorted(str(error) for error in failed))
    print("never far ahead:", most <= 5 + 3 + 1)
    print("trap: a daemon thread saved", trap(daemon=True))
    print("a thread that is waited for:", trap(daemon=False))
