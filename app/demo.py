"""The demonstration: one job of each kind over real HTTP, against a service of its own.

It does what a client does (submit, poll, download), and then checks what it got.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer

from app.api.schemas import FileView, ItemView, JobView

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LOG_LINES = 50_000
PHOTO_PX = (4000, 3000)
BOX_PX = (800, 600)
PAGES = 7

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
"""More than the service gives open responses and work under way together."""
WORK_TIMEOUT_S = 300

Decoder = Callable[[bytes], bytes]

DECODERS: dict[str, Decoder] = {
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "deflate-raw": lambda data: zlib.decompress(data, -zlib.MAX_WBITS),
    "zstd": zstd.decompress,
}
LOADERS = {"jpeg": "jpegload_buffer", "webp": "webpload_buffer"}

COLUMNS = ("job", "input", "size", "result", "size", "outcome", "time")
RIGHT_ALIGNED = {2, 4, 6}


class DemoFailed(Exception):
    """Something is not as it should be; the text says what."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    job: str
    source: str
    source_bytes: int | None
    result: str
    result_bytes: int | None
    outcome: str
    """Ratio, dimensions, HTTP status, or the code of a failure."""
    took_s: float

    def cells(self) -> tuple[str, ...]:
        """Give the line's cells as text."""
        return (
            self.job,
            self.source,
            _size(self.source_bytes),
            self.result,
            _size(self.result_bytes),
            self.outcome,
            f"{self.took_s:.2f} s",
        )


async def run(keep: Path | None) -> int:
    """Run the demonstration and print its table.

    Args:
        keep: where to leave inputs and results; made if missing. None leaves nothing behind.

    Returns:
        0 if all is as it should be, else 1, with what was wrong on standard error.
    """
    # As an interrupt does: the service must not outlive this process, nor the folder either.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="offload-demo-") as temporary:
        folder = Path(temporary)
        log_path = folder / "service.log"
        try:
            inputs = await asyncio.to_thread(Inputs.made_in, keep or folder)
            async with (
                asyncio.timeout(WORK_TIMEOUT_S),
                origin(inputs) as origin_url,
                service(folder / "data", log_path) as url,
                httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http,
            ):
                client = Client(http, (keep or folder) / "results")
                rows = await _all_jobs(client, inputs, origin_url)
        except (DemoFailed, httpx.HTTPError, OSError) as error:
            typer.echo(f"Not as it should be: {str(error) or type(error).__name__}", err=True)
            typer.echo(await asyncio.to_thread(_tail, log_path), err=True)
            return 1
    for line in table(rows):
        typer.echo(line)
    typer.echo("\nEvery result was downloaded and checked; the bad URLs failed alone.")
    return 0


async def _all_jobs(client: Client, inputs: Inputs, origin_url: str) -> list[Row]:
    rows = [await compress(client, inputs.log, coding) for coding in DECODERS]
    rows += [await resize(client, inputs.photo, form) for form in LOADERS]
    rows += await fetch(client, inputs, origin_url)
    rows.append(await chain(client, inputs, origin_url))
    return rows


# -- the jobs ----------------------------------------------------------------------------------


async def compress(client: Client, source: Path, coding: str) -> Row:
    """Compress a file; decompressed, the result must be that file."""
    started = time.monotonic()
    job = await client.upload("/v1/compress", source, format=coding)
    took_s = time.monotonic() - started
    _check(job.status == "succeeded", f"compress {coding}: the job is {job.status}")
    [result] = _items(job)[0].results
    content, original = await client.download(result), await asyncio.to_thread(source.read_bytes)
    _check(DECODERS[coding](content) == original, f"{result.name} is not {source.name} compressed")
    ratio = f"{len(original) / len(content):.2f} : 1"
    return Row(
        f"compress {coding}",
        source.name,
        len(original),
        result.name,
        len(content),
        ratio,
        took_s,
    )


async def resize(client: Client, source: Path, form: str) -> Row:
    """Fit a photo into a box; the result must have that size and format."""
    started = time.monotonic()
    width, height = BOX_PX
    job = await client.upload("/v1/images", source, width=width, height=height, format=form)
    took_s = time.monotonic() - started
    _check(job.status == "succeeded", f"image {form}: the job is {job.status}")
    [item] = _items(job)
    [result] = item.results
    content = await client.download(result)
    _check_picture(content, form, result.name)
    return Row(
        f"image {form}",
        source.name,
        item.size_bytes,
        result.name,
        len(content),
        _dimensions(PHOTO_PX, BOX_PX),
        took_s,
    )


async def fetch(client: Client, inputs: Inputs, origin_url: str) -> list[Row]:
    """Fetch a batch of which two URLs are bad: only those may fail, each for its own reason."""
    asked = [f"/{name}" for name in inputs.pages] + ["/moved", "/missing", "/cut"]
    fails = {"/missing": "fetch.status", "/cut": "fetch.truncated"}
    response = await client.http.post(
        "/v1/fetch", json={"urls": [origin_url + path for path in asked]}
    )
    job = await client.done(response)
    _check(job.status == "partial", f"fetch: the job is {job.status}")
    rows = []
    for path, item in zip(asked, _items(job), strict=True):
        took_s = (item.elapsed_ms or 0) / 1000
        code = item.error.code if item.error else None
        _check(code == fails.get(path), f"fetch {path}: {code or 'it should have failed'}")
        if code:
            rows.append(Row("fetch", path, None, "-", None, code, took_s))
            continue
        [result] = item.results
        content = await client.download(result)
        served = inputs.pages["page-1.html" if path == "/moved" else path[1:]]
        _check(content == served, f"fetch {path}: other content than the origin's")
        status = _moves(item.facts["fetch"])
        rows.append(Row("fetch", path, len(served), result.name, len(content), status, took_s))
    return rows


def _moves(facts: dict[str, Any]) -> str:
    hops = facts["redirects"]
    return f"{facts['status']}" + (f" after {hops} redirect" if hops else "")


async def chain(client: Client, inputs: Inputs, origin_url: str) -> Row:
    """Fetch a photo, shrink it and compress the result, in one job."""
    started = time.monotonic()
    width, height = BOX_PX
    steps = [
        {"op": "fetch"},
        {"op": "image", "width": width, "height": height, "format": "webp"},
        {"op": "compress", "format": "zstd"},
    ]
    name = inputs.photo.name
    response = await client.http.post(
        "/v1/jobs", json={"items": [{"url": f"{origin_url}/{name}"}], "steps": steps}
    )
    job = await client.done(response)
    took_s = time.monotonic() - started
    _check(job.status == "succeeded", f"fetch > image > compress: the job is {job.status}")
    [item] = _items(job)
    [result] = item.results
    content = await client.download(result)
    _check_picture(DECODERS["zstd"](content), "webp", result.name)
    return Row(
        "fetch > image > compress",
        f"/{name}",
        item.facts["fetch"]["size_bytes"],
        result.name,
        len(content),
        _dimensions(PHOTO_PX, BOX_PX),
        took_s,
    )


def _items(job: JobView) -> list[ItemView]:
    _check(bool(job.items), f"{job.id} shows no items")
    return job.items or []


def _check(as_it_should_be: bool, otherwise: str) -> None:
    if not as_it_should_be:
        raise DemoFailed(otherwise)


def _check_picture(content: bytes, form: str, name: str) -> None:
    import pyvips

    picture = pyvips.Image.new_from_buffer(content, "")
    found = (picture.get("vips-loader"), picture.width, picture.height)
    _check(found == (LOADERS[form], *BOX_PX), f"{name} is {found}")


# -- the client --------------------------------------------------------------------------------


class Client:
    """What a caller of the service needs: upload, poll, download."""

    def __init__(self, http: httpx.AsyncClient, folder: Path) -> None:
        """Use a client whose base is the service; results go to `folder`."""
        self.http = http
        self._folder = folder

    async def upload(self, door: str, source: Path, **params: str | int) -> JobView:
        """Send a file to an operation's door, as a browser's form does; gives the done job."""
        content = await asyncio.to_thread(source.read_bytes)
        response = await self.http.post(door, params=params, files={"file": (source.name, content)})
        return await self.done(response)

    async def done(self, response: httpx.Response) -> JobView:
        """Follow the answer to a submission until its job is done."""
        job = _job(response)
        while not job.done:
            job = _job(await self.http.get(job.links["self"], params={"wait": 10}))
        return job

    async def download(self, file: FileView) -> bytes:
        """Give a file's content, and keep it."""
        response = await self.http.get(file.href)
        _check(response.status_code == httpx.codes.OK, f"{file.name}: {response.text}")
        digest = hashlib.sha256(response.content).hexdigest()
        _check(digest == file.sha256, f"{file.name} does not have the digest that was promised")
        await asyncio.to_thread(self._keep, file.name, response.content)
        return response.content

    def _keep(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / Path(name).name).write_bytes(content)


def _job(response: httpx.Response) -> JobView:
    _check(response.is_success, f"{response.request.url.path}: {response.text}")
    return JobView.model_validate_json(response.content)


# -- the inputs --------------------------------------------------------------------------------


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


# -- the service -------------------------------------------------------------------------------


@asynccontextmanager
async def service(data_dir: Path, log_path: Path) -> AsyncIterator[str]:
    """Run a service on a free port of loopback; gives its URL, and ends it whatever happens.

    Raises `DemoFailed` if it does not start, or does not end as it should.
    """
    ours = {
        "OFFLOAD_PORT": "0",
        "OFFLOAD_DATA_DIR": os.fspath(data_dir),
        # A few megabytes are all it takes, and a small /tmp has them.
        "OFFLOAD_BLOBS_MIN_FREE_BYTES": "0",
        "OFFLOAD_FETCH_ALLOW_NETWORKS": '["127.0.0.1/32"]',
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
    with await asyncio.to_thread(log_path.open, "wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder that this is run in may have an `app` of its own
            "-m",
            "app",
            "serve",
            env=others | ours,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield await _announced(process)
    finally:
        ended = await _stopped(process)
    # uvicorn ends by the signal that it was ended by.
    _check(ended in (0, -signal.SIGTERM), f"the service ended with {ended}")


async def _announced(process: asyncio.subprocess.Process) -> str:
    """Wait until the service says where it listens."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while line := (await process.stdout.readline()).decode():
                _, found, rest = line.partition(" listens on ")
                if found:
                    return rest.split()[0]
    except TimeoutError:
        raise DemoFailed(f"the service did not start within {START_TIMEOUT_S} s") from None
    raise DemoFailed("the service did not start")


async def _stopped(process: asyncio.subprocess.Process) -> int:
    """End the service: SIGTERM, and SIGKILL if that is not enough; gives its exit status."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


# -- the table ---------------------------------------------------------------------------------


def table(rows: list[Row]) -> list[str]:
    """Lay the rows out in columns."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return [
        "  ".join(
            cell.rjust(width) if column in RIGHT_ALIGNED else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def _dimensions(before: tuple[int, int], after: tuple[int, int]) -> str:
    return f"{before[0]}x{before[1]} -> {after[0]}x{after[1]}"


def _tail(log_path: Path, lines: int = 20) -> str:
    """Give the end of the service's log, if there is one."""
    if not log_path.exists():
        return ""
    return "\n".join(log_path.read_text(errors="replace").splitlines()[-lines:])
