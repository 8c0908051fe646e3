"""Processes that the tests of a module share: to start two is more work than most tests are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.cpu import CpuPool
from app.cpu.interpreters import NotOffered, check_interpreters
from app.ops.registry import load_offered, load_operations
from tests.work.pool_tasks import Tasks, opened


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
    async with opened() as made:
        yield made


@pytest.fixture(scope="module")
async def _one_child(plugin_installed: None) -> AsyncIterator[CpuPool]:
    async with opened(workers=1) as made:
        yield made


@pytest.fixture
async def pool(_two_children: CpuPool) -> CpuPool:
    """Two idle children, for tests that leave as many: also after a death, which is mended."""
    return await mended(_two_children)


@pytest.fixture
async def pool_of_one(_one_child: CpuPool) -> CpuPool:
    """One child, on the same terms."""
    return await mended(_one_child)


def _executors() -> list[str]:
    try:
        check_interpreters()
    except NotOffered:
        return ["process", "thread"]
    return ["process", "thread", "interpreter"]


@pytest.fixture(scope="module", params=_executors())
def executor(request: pytest.FixtureRequest) -> str:
    """Each kind of workers that this interpreter has."""
    return str(request.param)


@pytest.fixture(scope="module")
async def _two_others(plugin_installed: None, executor: str) -> AsyncIterator[CpuPool]:
    async with opened(executor=executor) as made:
        yield made


@pytest.fixture(scope="module")
async def _one_other(plugin_installed: None, executor: str) -> AsyncIterator[CpuPool]:
    async with opened(executor=executor, workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def _two_of_any(request: pytest.FixtureRequest, executor: str) -> CpuPool:
    # The children are there already.
    made = request.getfixturevalue("_two_children" if executor == "process" else "_two_others")
    assert isinstance(made, CpuPool)
    return made


@pytest.fixture(scope="module")
def _one_of_any(request: pytest.FixtureRequest, executor: str) -> CpuPool:
    made = request.getfixturevalue("_one_child" if executor == "process" else "_one_other")
    assert isinstance(made, CpuPool)
    return made


@pytest.fixture
async def any_pool(_two_of_any: CpuPool) -> CpuPool:
    """Two idle workers, for what holds of all kinds."""
    return await mended(_two_of_any)


@pytest.fixture
async def any_pool_of_one(_one_of_any: CpuPool) -> CpuPool:
    """One, on the same terms."""
    return await mended(_one_of_any)


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    made = Tasks(tmp_path)
    yield made
    made.let_go()


async def mended(pool: CpuPool) -> CpuPool:
    await asyncio.gather(*pool._background)
    assert pool.ready
    return pool
