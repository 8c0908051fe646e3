"""What the demonstration's jobs work on: samples that it makes, and an origin that serves them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.samples import log_lines, photograph

LOG_LINES = 50_000
PHOTO_PX = (4000, 3000)
PAGES = 7


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the jobs get to work on."""

    log: Path
    photo: Path
    pages: dict[str, bytes]
    """Content by name, for the origin to serve."""

    @classmethod
    def made_in(cls, folder: Path) -> Inputs:
        """Make them, in `folder`/inputs."""
        inputs = folder / "inputs"
        inputs.mkdir(parents=True, exist_ok=True)
        made = cls(
            inputs / "access.log",
            inputs / "photo.jpg",
            {f"page-{number}.html": _page(number) for number in range(1, PAGES + 1)},
        )
        made.log.write_text("".join(islice(log_lines(), LOG_LINES)))
        photograph(*PHOTO_PX).jpegsave(os.fspath(made.photo), Q=90)
        return made


def _page(number: int) -> bytes:
    rows = "".join(f"<li>{number * row}</li>\n" for row in range(500 * number))
    return f"<!doctype html>\n<title>Page {number}</title>\n<ul>\n{rows}</ul>\n".encode()


@asynccontextmanager
async def origin(inputs: Inputs) -> AsyncIterator[str]:
    """Serve the pages and the photo on loopback, some things badly; gives the base URL."""
    served = {f"/{name}": content for name, content in inputs.pages.items()}
    served[f"/{inputs.photo.name}"] = await asyncio.to_thread(inputs.photo.read_bytes)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_answer(head.split()[1].decode(), served))
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _answer(path: str, served: dict[str, bytes]) -> bytes:
    """Give a whole HTTP/1.1 response; that of /cut ends long before the length it announced."""
    close = "Connection: close\r\n\r\n"
    if path in served:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(served[path])}\r\n{close}"
        return head.encode() + served[path]
    if path == "/moved":
        head = "HTTP/1.1 302 Found\r\nLocation: /page-1.html\r\nContent-Length: 0\r\n"
        return (head + close).encode()
    if path == "/cut":
        return f"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n{close}Only this much.".encode()
    return f"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}".encode()
