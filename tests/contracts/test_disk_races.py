"""Two chores on one folder of bytes: neither stumbles over what the other removes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contracts.backends import DiskBackend

pytestmark = pytest.mark.anyio


async def chunks(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def test_a_look_for_old_bytes_goes_on_where_some_are_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = DiskBackend(tmp_path)
    store = await backend.open()
    for number in range(3):
        await store.put(chunks(f"blob {number}"), 100)
    backend.clock.move(3600)
    kept = set(backend.stored())
    looked_at = os.scandir

    @contextmanager
    def removing(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with looked_at(folder) as entries:
            listed = list(entries)
        if listed and len(kept) == 3:
            kept.remove(listed[0].name)
            Path(listed[0].path).unlink()
        yield iter(listed)

    monkeypatch.setattr(os, "scandir", removing)
    assert {key async for keys in store.unused_since(60) for key in keys} == kept
    await backend.close()
