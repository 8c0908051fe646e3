"""What is handed background tasks: an application that is killed, and this service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.guide import subjects
from app.guide.subjects import Durable, InProcess
from tests.service import Service

pytestmark = pytest.mark.anyio
PATIENCE_S = 30


async def test_an_application_does_its_tasks_until_it_is_killed(
    tmp_path: Path, origin: str
) -> None:
    ways = ("create_task", "executor", "pool")
    for way in ways:
        (tmp_path / way).mkdir()
    application = InProcess(tmp_path, f"{origin}/1")
    await application.start()
    try:
        for way in ways:
            await application.prepare(way)
            await application.submit(way)
            assert await application.done(way, 1, PATIENCE_S) == 1
    finally:
        await application.kill()
    await application.start()
    try:
        assert [await application.done(way, 0, 0) for way in ways] == [1, 1, 1]
        await application.submit("create_task")
        assert await application.done("create_task", 2, PATIENCE_S) == 2
    finally:
        await application.kill()


async def test_this_service_takes_the_same_task(
    tmp_path: Path, origin: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def runs(*_: Any) -> AsyncIterator[Service]:
        yield service

    monkeypatch.setattr(subjects, "service", runs)
    ours = Durable(tmp_path, f"{origin}/1", {})
    await ours.start()
    for _ in range(3):
        await ours.submit("compress")
    assert await ours.done("compress", 3, PATIENCE_S) == 3
    assert await ours.done("compress", 4, PATIENCE_S) == 3
    await ours._stack.aclose()
