"""The proofs of a deployment of many nodes: `make torture`, seeded and bounded.

`make test` runs those that are marked `short`. Each proof says in one line what it counted.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.load.world import World
from tests.postgres import Server, running
from tests.s3 import shared_s3

WHOLE = bool(os.environ.get("TORTURE"))
SEED = os.environ.get("TORTURE_SEED") or (secrets.token_hex(4) if WHOLE else "11")
_said: list[str] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if WHOLE:
        return
    ours = [item for item in items if "torture" in item.path.parts]
    long = [item for item in ours if item.get_closest_marker("short") is None]
    if long:
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _said:
        terminalreporter.section(f"torture, TORTURE_SEED={SEED}")
        for line in _said:
            terminalreporter.write_line(line)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say what a proof has counted, once all is over."""

    def told(line: str) -> None:
        _said.append(f"{request.node.name}: {line}")
        print(f"\n{_said[-1]}")

    return told


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def seed() -> str:
    return SEED


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> str:
    return shared_s3()


@pytest.fixture
def world() -> Iterator[World]:
    with World.open() as world:
        yield world
