"""The tutorial's way to fetch many URLs, as a process of its own: threads and requests.

`python -m benchmarks.tutorial_fetch PORT COUNT plain|session [DELAY_MS]` prints the seconds taken.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

THREADS = 20

_own = threading.local()


def plain(url: str) -> bytes:
    response = requests.get(url, timeout=30)
    response.raise_for_status()
    return response.content


def with_session(url: str) -> bytes:
    if not hasattr(_own, "session"):
        _own.session = requests.Session()
    response = _own.session.get(url, timeout=30)
    response.raise_for_status()
    return response.content


def main(port: str, count: str, how: str, delay_ms: str = "0") -> None:
    urls = [f"http://127.0.0.1:{port}/{delay_ms}/{number}" for number in range(int(count))]
    fetch = with_session if how == "session" else plain
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        sizes = list(threads.map(lambda url: len(fetch(url)), urls))
    taken_s = time.perf_counter() - started
    if len(sizes) != int(count) or not all(sizes):
        raise SystemExit("Not everything was fetched.")
    print(taken_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
