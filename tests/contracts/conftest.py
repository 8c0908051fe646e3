"""One fixture for each room, parametrised over its backends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.blobs.base import BlobStore
from app.jobs.base import JobStore
from tests.contracts.backends import BlobBackend, DiskBackend, JobBackend, SqliteBackend


@pytest.fixture(params=[pytest.param(SqliteBackend, id="sqlite")])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobBackend]:
    made: JobBackend = request.param(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(records: JobBackend) -> JobStore:
    return await records.open()


@pytest.fixture(params=[pytest.param(DiskBackend, id="disk")])
async def bytes_room(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobBackend]:
    made: BlobBackend = request.param(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def blobs(bytes_room: BlobBackend) -> BlobStore:
    return await bytes_room.open()
