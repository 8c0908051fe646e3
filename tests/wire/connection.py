"""Raw connections to a service, for tests that misbehave on them."""

from __future__ import annotations

import contextlib
import io
import itertools
import threading

from tests.api.answers import answer_on, connect, head

GET = head("GET", "/livez")
CHUNKED = head("POST", "/v1/compress", "Transfer-Encoding: chunked")


def fits(service):
    """Fail unless the service answers others as ever."""
    with connect(service.url) as other:
        other.sendall(GET)
        assert answer_on(other).status_code == 200


class _Kept(io.BufferedReader):
    def close(self):
        """Stay open for the next answer."""


class Pipe:
    """What `answer_on` reads several answers from, one behind the other."""

    def __init__(self, connection):
        self._reader = _Kept(connection.makefile("rb", buffering=0))

    def makefile(self, _):
        return self._reader


def ended(connection):
    """Return what still comes on a connection until the other side ends it; it has to."""
    came = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1 << 16):
            came += more
    return came


@contextlib.contextmanager
def dripping(connection, pieces, every_s):
    """Send the pieces one at a time, over and over, for as long as the context is open."""
    over = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            for piece in itertools.cycle(pieces):
                if over.wait(every_s):
                    return
                connection.sendall(piece)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
