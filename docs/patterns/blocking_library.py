"""A blocking library from async code: threads, of which it has its own, and few enough."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor


class Client:
    """Stands for a driver without async: each call blocks its thread."""

    def __init__(self) -> None:
        """Count how many calls there are at a time."""
        self._lock = threading.Lock()
        self._now = 0
        self.most_at_once = 0

    def call(self, number: int) -> int:
        """Block for a while, as a query does."""
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(0.01)
        with self._lock:
            self._now -= 1
        return number * 2


async def call_all(client: Client, numbers: range, threads: ThreadPoolExecutor) -> list[int]:
    """Call for all of them, in order, with no more at once than there are threads."""
    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(loop.run_in_executor(threads, client.call, number) for number in numbers)
    )


async def trap() -> bool:
    """Fill the default executor; tells whether a host name can be looked up meanwhile."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))  # min(32, cores + 4) unless one says
    gate = threading.Event()
    slow = [asyncio.create_task(asyncio.to_thread(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(0.1):
            await loop.getaddrinfo("localhost", 80)  # in the same threads
    except TimeoutError:
        return False
    finally:
        gate.set()
        await asyncio.gather(*slow)
    return True


async def main() -> None:
    client = Client()
    with ThreadPoolExecutor(4, "client") as threads:
        doubled = await call_all(client, range(20), threads)
    print("in order:", doubled == list(range(0, 40, 2)), "at once:", client.most_at_once)
    print("trap: a look-up while the default executor is full:", await trap())


if __name__ == "__main__":
    asyncio.run(main())
