"""One fixture for each room, parametrised over its backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.blobs.base import BlobStore
from app.records import cutting
from tests import postgres as postgres_server
from tests.contracts.backends import (
    BlobBackend,
    DiskBackend,
    JobBackend,
    ObjectBackend,
    SqliteBackend,
)
from tests.contracts.postgres_backend import PostgresBackend
from tests.contracts.records import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    with postgres_server.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobBackend]:
    made: JobBackend
    if request.param == "sqlite":
        made = SqliteBackend(tmp_path)
    else:
        made = PostgresBackend(request.getfixturevalue("postgres"))
    yield made
    await made.close()


@pytest.fixture
async def store(records: JobBackend) -> Store:
    return await records.open()


@pytest.fixture
def one_item_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a claim of so many items be just so many."""
    monkeypatch.setattr(cutting, "MOST_ITEMS", {"cpu": 1, "io": 1})


@pytest.fixture(params=[pytest.param(DiskBackend, id="disk"), pytest.param(ObjectBackend, id="s3")])
async def bytes_room(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobBackend]:
    made: BlobBackend = request.param(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def blobs(bytes_room: BlobBackend) -> BlobStore:
    return await bytes_room.open()
