"""What the demonstration's jobs work on: samples that it makes, and an origin that serves them."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        _make_log(made.log)
        _make_photo(made.photo)
        return made


def _page(number: int) -> bytes:
    rows = "".join(f"<li>{number * row}</li>\n" for row in range(500 * number))
    return f"<!doctype html>\n<title>Page {number}</title>\n<ul>\n{rows}</ul>\n".encode()


def _make_log(path: Path) -> None:
    """Write some 5 MB of a web server's log."""
    dice = random.Random(1)  # noqa: S311 - the same log each time
    paths = [f"/articles/{number}" for number in range(300)] + ["/", "/search", "/api/items"]
    agents = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Firefox/{v}.0" for v in range(120, 140)]
    with path.open("w") as file:
        for line in range(LOG_LINES):
            clock = f"{line // 3600 % 24:02}:{line // 60 % 60:02}:{line % 60:02}"
            file.write(
                f"10.0.{dice.randrange(32)}.{dice.randrange(256)} - - [01/Jun/2025:{clock} +0000] "
                f'"GET {dice.choice(paths)} HTTP/1.1" {dice.choice((200, 200, 200, 304, 404))} '
                f'{dice.randrange(200, 90_000)} "-" "{dice.choice(agents)}"\n'
            )


def _make_photo(path: Path) -> None:
    """Write what compresses like a photo of 12 megapixels: soft forms of all sizes, and grain."""
    import pyvips

    width, height = PHOTO_PX
    scale = 4  # the forms are drawn small and enlarged: the same look, sooner
    forms = ((800, 30), (200, 16), (48, 8), (12, 5))

    def channel(number: int) -> Any:
        sum_ = pyvips.Image.black(width // scale, height // scale) + 120
        for cell_px, strength in forms:
            # The large forms differ by channel, and so have colour; the small ones are light.
            seed = cell_px + (number if cell_px >= 200 else 0)
            dots = pyvips.Image.gaussnoise(
                width // cell_px + 4, height // cell_px + 4, mean=0, sigma=strength, seed=seed
            )
            soft = dots.resize(cell_px // scale, kernel="cubic")
            sum_ += soft.crop(0, 0, width // scale, height // scale)
        return sum_

    red, green, blue = (channel(number) for number in range(3))
    picture = red.bandjoin([green, blue]).cast("uchar").resize(scale, kernel="cubic")
    grain = pyvips.Image.gaussnoise(width // 2, height // 2, mean=0, sigma=9, seed=1)
    picture += grain.cast("char").resize(2, kernel="linear")
    picture.cast("uchar").copy(interpretation="srgb").jpegsave(os.fspath(path), Q=90)


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
