"""What is brought once for all who need it at the same time, and kept a while for the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Folders(Protocol):
    """See `BlobStore`."""

    def spare(self) -> Path:
        """Give a place for a folder."""

    async def clear(self, folders: Iterable[Path]) -> None:
        """Remove folders."""


class _Entry(Generic[T]):
    def __init__(self, bringing: Coroutine[Any, Any, T], folder: Path, weight: int) -> None:
        self.bringing = asyncio.create_task(bringing)
        self.folder = folder
        self.weight = weight
        self.users = 0
        self.is_counted = False
        """Among those that nobody needs just now."""

    def is_of_use(self) -> bool:
        """Tell whether it is under way, or went well."""
        done = self.bringing
        return not done.done() or not (done.cancelled() or done.exception())

    def is_idle(self) -> bool:
        return self.bringing.done() and not self.users


class Kept(Generic[K, T]):
    """Files by what they were made of, each in a folder of its own."""

    def __init__(self, folders: Folders, most: int) -> None:
        """Keep none yet.

        Args:
            folders: gives places, and removes them.
            most: what those that nobody needs just now may weigh together; the one that was asked
                for longest ago goes first.
        """
        self._folders = folders
        self._most = most
        self._entries: dict[K, _Entry[T]] = {}
        self._idle_weight = 0
        self._dropped: list[_Entry[T]] = []

    def has(self, key: K) -> bool:
        """Tell whether something is kept under a key, or is being brought."""
        entry = self._entries.get(key)
        return entry is not None and entry.is_of_use()

    @asynccontextmanager
    async def of(
        self, key: K, bring: Callable[[Path], Coroutine[Any, Any, T]], weight: int = 1
    ) -> AsyncIterator[T]:
        """Give what is kept under a key, or what `bring` puts into a folder that it makes.

        It is there until the context is left. Raises what `bring` raises, to all who wait for it.
        """
        entry = self._taken_out(key)
        if entry is not None and not entry.is_of_use():
            self._dropped.append(entry)
            entry = None
        if entry is None:
            folder = self._folders.spare()
            entry = _Entry(bring(folder), folder, weight)
            entry.bringing.add_done_callback(partial(self._brought, key, entry))
        self._entries[key] = entry  # what was asked for last stands last
        entry.users += 1
        try:
            # Who is cancelled takes it from no other.
            yield await asyncio.shield(entry.bringing)
        finally:
            entry.users -= 1
            self._count(key, entry)
            await self.shed(self._most)

    async def drop(self, key: K) -> None:
        """Keep one no longer; who has it has it to the end."""
        if (entry := self._taken_out(key)) is not None:
            self._dropped.append(entry)
            await self.shed(self._most)

    async def shed(self, most: int = 0) -> None:
        """Remove of those that nobody needs all that is over a weight."""
        gone = [entry for entry in self._dropped if entry.is_idle()]
        self._dropped = [entry for entry in self._dropped if not entry.is_idle()]
        over = self._idle_weight - most
        going: list[K] = []
        for key, entry in self._entries.items():  # no further than it must: there may be thousands
            if over <= 0:
                break
            if entry.is_counted:
                over -= entry.weight
                going.append(key)
        gone += [one for key in going if (one := self._taken_out(key))]
        await self._folders.clear(entry.folder for entry in gone)

    def _brought(self, key: K, entry: _Entry[T], _: object) -> None:
        self._count(key, entry)  # who asked may have been cancelled meanwhile

    def _count(self, key: K, entry: _Entry[T]) -> None:
        """Count an entry among those that nobody needs, if it is one now."""
        if entry.is_idle() and not entry.is_counted and self._entries.get(key) is entry:
            entry.is_counted = True
            self._idle_weight += entry.weight

    def _taken_out(self, key: K) -> _Entry[T] | None:
        entry = self._entries.pop(key, None)
        if entry is not None and entry.is_counted:
            entry.is_counted = False
            self._idle_weight -= entry.weight
        return entry
