"""The demonstration's jobs: each is done, downloaded and checked."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from pathlib import Path
from typing import Any

from app.api.schemas import FileView, ItemView, JobView
from app.demo.checks import DECODERS, check, check_picture
from app.demo.client import Client, items_of
from app.demo.samples import PHOTO_PX, Inputs
from app.demo.table import Row, dimensions

BOX_PX = (800, 600)


async def all_jobs(client: Client, inputs: Inputs, origin_url: str) -> list[Row]:
    """Do them all; raises `DemoFailed` at the first result that is not as it should be."""
    rows = [await compress(client, inputs.log, coding) for coding in DECODERS]
    rows += [await resize(client, inputs.photo, form) for form in ("jpeg", "webp", "avif")]
    rows.append(await optimize(client, inputs.photo))
    rows += await fetch(client, inputs, origin_url)
    rows.append(await chain(client, inputs, origin_url))
    rows.append(await pack(client, inputs, origin_url))
    return rows


async def single(client: Client, job: JobView, what: str) -> tuple[ItemView, FileView, bytes]:
    """Give the item, the result and its content of a job that has one; it must have succeeded."""
    check(job.status == "succeeded", f"{what}: the job is {job.status}")
    [item] = items_of(job)
    [result] = item.results
    return item, result, await client.download(result)


async def compress(client: Client, source: Path, coding: str) -> Row:
    """Compress a file; decompressed, the result must be that file."""
    started = time.monotonic()
    job = await client.upload("/v1/compress", source, format=coding)
    took_s = time.monotonic() - started
    _, result, content = await single(client, job, f"compress {coding}")
    original = await asyncio.to_thread(source.read_bytes)
    check(DECODERS[coding](content) == original, f"{result.name} is not {source.name} compressed")
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
    item, result, content = await single(client, job, f"image {form}")
    check_picture(content, form, BOX_PX, result.name)
    return Row(
        f"image {form}",
        source.name,
        item.size_bytes,
        result.name,
        len(content),
        dimensions(PHOTO_PX, BOX_PX),
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
    check(job.status == "partial", f"fetch: the job is {job.status}")
    rows = []
    for path, item in zip(asked, items_of(job), strict=True):
        took_s = (item.elapsed_ms or 0) / 1000
        code = item.error.code if item.error else None
        check(code == fails.get(path), f"fetch {path}: {code or 'it should have failed'}")
        if code:
            rows.append(Row("fetch", path, None, "-", None, code, took_s))
            continue
        [result] = item.results
        content = await client.download(result)
        served = inputs.pages["page-1.html" if path == "/moved" else path[1:]]
        check(content == served, f"fetch {path}: other content than the origin's")
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
    item, result, content = await single(client, job, "fetch > image > compress")
    check_picture(DECODERS["zstd"](content), "webp", BOX_PX, result.name)
    return Row(
        "fetch > image > compress",
        f"/{name}",
        item.facts["fetch"]["size_bytes"],
        result.name,
        len(content),
        dimensions(PHOTO_PX, BOX_PX),
        took_s,
    )


async def optimize(client: Client, source: Path) -> Row:
    """Make a photo as small as it can be without looking different; never larger."""
    started = time.monotonic()
    job = await client.upload("/v1/images", source, "hero.jpg", width=1600, quality=95)
    [shrunk] = items_of(job)[0].results
    response = await client.http.post("/v1/optimize", json={"file_ids": [shrunk.id]})
    job = await client.done(response)
    took_s = time.monotonic() - started
    _, result, content = await single(client, job, "optimize")
    check(len(content) <= shrunk.size_bytes, f"{result.name} is larger than what it was made of")
    saved = f"{100 - 100 * len(content) / shrunk.size_bytes:.0f} % less"
    return Row("optimize", shrunk.name, shrunk.size_bytes, result.name, len(content), saved, took_s)


async def pack(client: Client, inputs: Inputs, origin_url: str) -> Row:
    """Fetch pages, one of which is missing, and pack the others, in one job."""
    started = time.monotonic()
    urls = [f"{origin_url}/{name}" for name in (*inputs.pages, "missing")]
    response = await client.http.post(
        "/v1/archive", json={"urls": urls, "format": "tar.zst", "name": "pages"}
    )
    job = await client.done(response)
    took_s = time.monotonic() - started
    check(job.status == "partial", f"fetch > archive: the job is {job.status}")
    [result] = items_of(job)[-1].results
    content = await client.download(result)
    with tarfile.open(fileobj=io.BytesIO(DECODERS["zstd"](content))) as packed:
        found = {member.name: _content(packed, member) for member in packed}
    check(found == inputs.pages, f"{result.name} has other content than the origin's pages")
    size_bytes = sum(map(len, inputs.pages.values()))
    return Row(
        "fetch > archive",
        f"{len(urls)} URLs",
        size_bytes,
        result.name,
        len(content),
        f"{len(found)} files",
        took_s,
    )


def _content(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(member)
    return b"" if file is None else file.read()
