"""The whole way of a data folder to the deployment that the settings name.

First the bodies, then the records that name them, a table after the other. Each step is noted where
it is done, so a run that was cut off at any moment is gone on with by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import psycopg

from app.blobs.disk import DiskBlobStore
from app.errors import StorageError
from app.migrate import bodies
from app.migrate.progress import Progress
from app.migrate.source import NODES, TABLES, Source, opened
from app.migrate.target import COUNTED, Place, Target
from app.nodes.folder import (
    BUCKET,
    check_with_records,
    check_without_bucket,
    check_without_records,
    hold,
    tie_bucket,
    unused,
)
from app.runtime import LargeBytes, blobs_of, tie_postgres
from app.settings import Settings

PARTS = ("bodies", *TABLES)
WORK = "migrating"
"""The folder in OFFLOAD_DATA_DIR for what is in hand."""
BATCH_ROWS = 20_000
"""Written in one transaction."""
BATCH_VALUES = 500
"""Of those that are up to 64 KiB each."""
KEYED = ("jobs", "items", "files", "deliveries", "bites", "chunks")
"""Tables that give their rows keys."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What there is where it was moved to."""

    rows: int
    bodies: int
    missing: int
    """Bodies that records name and the folder did not have any more, or not as they were stored."""
    before: bool
    """An earlier run had done all of it."""


async def migrate(settings: Settings, url: str, folder: Path) -> Migrated:
    """Move a folder's records and bytes to the database of `url` and to where bytes are kept.

    The folder stays as it is. What is there already, of an earlier run, is not done again.

    Raises:
        StorageError: it cannot be done, or not gone on with; said in a sentence for the operator.
    """
    check_without_records(settings.data_dir)
    check_with_records(folder)
    with (
        _told(),
        unused(folder),
        hold(settings.data_dir, ("api", "work"), lambda _: True),
        closing(Target(url)) as target,
    ):
        place = target.place()
        with opened(folder, settings.data_dir / WORK) as source:
            return await _moved(settings, source, target, place)


@contextmanager
def _told() -> Iterator[None]:
    """Say what PostgreSQL's client raises in a sentence."""
    try:
        yield
    except psycopg.Error as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(
            f"The database of OFFLOAD_DATABASE_URL could not be used: {said[0]}"
        ) from error


async def _moved(
    settings: Settings, source: Source, target: Target, place: Place | None
) -> Migrated:
    before = place is not None and place.ended
    if place is not None and place.source != source.digest:
        raise StorageError(_OTHER_RECORDS if place.ended else _OTHER_FOLDER)
    async with _opened(settings) as blobs:
        await tie_postgres(settings, _tied(source, target, blobs), blobs)
        place = place or target.begin(source.digest, PARTS[0])
        while not place.ended:
            place = await _next(source, blobs, target, place)
    rows = sum(source.count(table) for table in TABLES)
    return Migrated(rows, source.count("bodies") - place.missing, place.missing, before)


_OTHER_RECORDS = "The database of OFFLOAD_DATABASE_URL has records of its own; name an empty one."
_OTHER_FOLDER = (
    "Another folder than this is being moved into the database of OFFLOAD_DATABASE_URL, or this "
    "one has been used since. Begin anew, with an empty database and an empty bucket."
)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[LargeBytes]:
    blobs = blobs_of(settings)
    await blobs.open()
    try:
        yield blobs
    finally:
        await blobs.close()


def _tied(source: Source, target: Target, blobs: LargeBytes) -> Callable[[str, bool], bool]:
    """Give what ties the database to its bytes: those of a folder with a bucket are in that one.

    Raises:
        StorageError: they are, and the settings name none.
    """
    if isinstance(blobs, DiskBlobStore):
        check_without_bucket(source.folder)
        return target.tie
    if not (source.folder / BUCKET).exists():
        return target.tie
    return lambda name, _: tie_bucket(source.folder, name, False) and target.tie(name, True)


async def _next(source: Source, blobs: LargeBytes, target: Target, place: Place) -> Place:
    """Move the part at which a migration is, and go to the next one."""
    if place.part == PARTS[0]:
        place = await bodies.move(source, blobs, target, place)
    else:
        place = await _table(source, target, place)
    if place.part != PARTS[-1]:
        following = PARTS[PARTS.index(place.part) + 1]
        return target.advance(place, replace(place, part=following, done=0))
    return _ended(source, target, place)


async def _table(source: Source, target: Target, place: Place) -> Place:
    progress = Progress(place.part, place.done, source.count(place.part))
    columns, rows = source.columns(place.part), source.rows(place.part, place.done)
    size = BATCH_VALUES if place.part == "small" else BATCH_ROWS
    while some := list(islice(rows, size)):
        place = target.copy(place, columns, some)
        progress.now(place.done)
        await asyncio.sleep(0)  # who interrupts it is heard here
    return place


def _ended(source: Source, target: Target, place: Place) -> Place:
    nodes = source.columns(NODES), list(source.rows(NODES, 0))
    keys = {table: source.last_key(table) for table in KEYED}
    return target.end(place, nodes, keys, {table: source.count(table) for table in COUNTED})
