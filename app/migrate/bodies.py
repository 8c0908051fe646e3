"""Large bodies on their way from a folder to where the settings want them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import islice

import structlog

from app.blobs.base import BlobStore
from app.blobs.checked import BytesDiffer
from app.errors import StorageError
from app.migrate.progress import Progress
from app.migrate.source import Source
from app.migrate.target import Place, Target
from app.model.blobs import Blob

log = structlog.get_logger(__name__)

AT_ONCE = 6
"""Each takes some 15 MB of memory at most, whatever its size."""
NOTED_EVERY = 48
"""Bodies after which it is noted how far it is; those since then are asked for again."""


async def move(source: Source, blobs: BlobStore, target: Target, place: Place) -> Place:
    """Store all bodies from `place` on; gives the place behind them."""
    progress = Progress(place.part, place.done, source.count("bodies"))
    left, moved_bytes = source.bodies(place.done), 0
    while some := list(islice(left, NOTED_EVERY)):
        found = await _all_stored(source, blobs, some)
        moved_bytes += sum(
            blob.size_bytes for blob, there in zip(some, found, strict=True) if there
        )
        missing = place.missing + found.count(False)
        place = target.advance(place, replace(place, done=place.done + len(some), missing=missing))
        progress.now(place.done, bytes=moved_bytes)
    return place


async def _all_stored(source: Source, blobs: BlobStore, some: list[Blob]) -> list[bool]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(blob: Blob) -> bool:
        async with turns:
            return await _stored(source, blobs, blob)

    tasks = [asyncio.create_task(in_turn(blob)) for blob in some]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stored(source: Source, blobs: BlobStore, blob: Blob) -> bool:
    """Store a body, unless it is there; False if the folder does not have it as it was stored."""
    if await blobs.has(blob):
        return True
    path = source.path(blob)
    if not path.is_file():
        log.warning("body_missing", blob=blob.key)
        return False
    try:
        await blobs.take(path, blob)
    except BytesDiffer:
        log.warning("body_damaged", blob=blob.key)
        return False
    if not await blobs.has(blob):
        raise StorageError("What was stored is not there.", log_detail=blob.key)
    return True
