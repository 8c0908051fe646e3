"""Bytes that somebody has in hand, whether a record names them yet or not: nobody removes these.

Removing is done in three steps: the keys are condemned, the records are asked which of them nobody
names, and those are removed that are condemned still. Whoever stores or reads bytes meanwhile takes
them out; whoever did before, and has let go since, had written its record before the question.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Hold:
    """What one request, or the work on one item, has in hand."""

    keys: list[str] = field(default_factory=list)
    over: bool = False


_mine: ContextVar[Hold | None] = ContextVar("hold", default=None)


class Holds:
    """All holds on one store, in one process. Every method takes microseconds, in any thread."""

    def __init__(self) -> None:
        """Begin with nothing in hand."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._condemned: set[str] = set()
        self._abandoned: set[str] = set()

    @contextmanager
    def holding(self) -> Iterator[Hold]:
        """Hold what is taken in this context, and in the tasks begun in it, while it is open."""
        hold = Hold()
        token = _mine.set(hold)
        try:
            yield hold
        except BaseException:
            with self._lock:
                self._abandoned.update(hold.keys)
            raise
        finally:
            _mine.reset(token)
            self._let_go(hold)

    @contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Hold bytes while the context is open, and nothing else."""
        hold = Hold()
        self.take(key, hold)
        try:
            yield
        finally:
            self._let_go(hold)

    def _let_go(self, hold: Hold) -> None:
        with self._lock:
            hold.over = True
            for key in hold.keys:
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def mine(self) -> Hold | None:
        """Give the hold that is open here; for `take` in another thread."""
        return _mine.get()

    def take(self, key: str, hold: Hold | None) -> None:
        """Take bytes in hand, and out of the hands of those who would remove them."""
        with self._lock:
            self._condemned.discard(key)
            if hold is not None and not hold.over:
                hold.keys.append(key)
                self._counts[key] += 1

    @contextmanager
    def condemning(self, keys: Iterable[str]) -> Iterator[list[str]]:
        """Condemn those of the keys that nobody holds, and give them; for as long as it is open."""
        with self._lock:
            free = [key for key in dict.fromkeys(keys) if key not in self._counts]
            self._condemned.update(free)
        try:
            yield free
        finally:
            with self._lock:
                self._condemned.difference_update(free)

    def condemned(self, key: str) -> bool:
        """Tell whether bytes may be removed."""
        with self._lock:
            return key in self._condemned

    def abandoned(self) -> list[str]:
        """Give, once, what was in hand where something failed: maybe no record will name it."""
        with self._lock:
            given, self._abandoned = self._abandoned, set()
            return list(given)
