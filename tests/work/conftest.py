"""Processes that the tests of a module share: to start two is more work than most tests are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.cpu import CpuPool, PoolSettings
from app.ops.registry import load_offered, load_operations


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """For a whole module: its pool lives on one event loop."""
    return "asyncio"


@pytest.fixture(scope="module")
def plugin_installed(plugin: Path) -> Iterator[None]:
    """Have this process, and the children that it starts, find what misbehaves on demand."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(plugin)
        # Here it is weighed; who looked before did not see it.
        _look_again()
        yield
    _look_again()
    sys.modules.pop("offload_test_ops", None)


def _look_again() -> None:
    load_operations.cache_clear()
    load_offered.cache_clear()


@pytest.fixture(scope="module")
async def _two_children(plugin_installed: None) -> AsyncIterator[CpuPool]:
    async with opened(2) as made:
        yield made


@pytest.fixture(scope="module")
async def _one_child(plugin_installed: None) -> AsyncIterator[CpuPool]:
    async with opened(1) as made:
        yield made


@pytest.fixture
async def pool(_two_children: CpuPool) -> CpuPool:
    """Two idle children, for tests that leave as many: also after a death, which is mended."""
    return await mended(_two_children)


@pytest.fixture
async def pool_of_one(_one_child: CpuPool) -> CpuPool:
    """One child, on the same terms."""
    return await mended(_one_child)


@asynccontextmanager
async def opened(workers: int) -> AsyncIterator[CpuPool]:
    made = CpuPool(PoolSettings(workers=workers))
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def mended(pool: CpuPool) -> CpuPool:
    await asyncio.gather(*pool._background)
    assert pool.ready
    return pool
