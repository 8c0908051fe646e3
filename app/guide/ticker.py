"""How late an event loop is for what it has promised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.tasks import cancel

TICK_S = 0.005


@asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """Tick while the context is open; gives a list that fills with ms by which ticks were late."""
    late_ms = list[float]()
    task = asyncio.create_task(_tick(late_ms))
    await asyncio.sleep(0)  # or a loop that is held up at once would never have begun to tick
    try:
        yield late_ms
        await asyncio.sleep(TICK_S)  # what held the loop up to the end shows in one tick more
    finally:
        await cancel(task)


async def _tick(late_ms: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        late_ms.append((loop.time() - due) * 1000)
