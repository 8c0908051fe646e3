"""The seam between the rules and a database: transactions that run statements by their names.

Every rule of the records is a function whose first parameter is a `Tx`; a `Database` runs it. A
rule may run twice, the first time undone, so it does nothing but run statements and compute.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

News = Mapping[str, Sequence[Any]]
"""By topic, what transactions have told: each value once, in the order of its first telling."""


READY = "ready"
"""A topic: a lane in which chunks may be taken."""
FEW = 32
"""So many things at most are a few for `Database.note`."""


class Row(Protocol):
    """What a statement gave."""

    def __getitem__(self, column: str, /) -> Any:
        """Give a column's value."""

    def keys(self) -> Iterable[str]:
        """Give the columns' names."""


class Tx(Protocol):
    """One transaction; a rule sees what those before it have committed, and its own changes."""

    def run(self, statement: str, **values: Any) -> list[Row]:
        """Run a statement by its name; gives the rows that it selects or returns."""

    def many(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Run a statement once for each of these rows of values, as cheaply as can be.

        Gives what it returns of them, in any order.
        """

    def array(self, values: Iterable[Any]) -> Any:
        """Give values as what stands for `:name[]` in a statement."""

    def send(self, chunks: Sequence[Row]) -> None:
        """Once all of this is durable, let nodes know of these chunks, which are ready."""

    def tell(self, topic: str, value: Hashable) -> None:
        """Once all of this is durable, let this process's listeners know: a hint to look."""

    def now(self) -> int:
        """Give the database's time: milliseconds since the epoch."""


class Database(Protocol):
    """Runs rules. What the database cannot do is a `StorageError` or `StorageFull`."""

    async def write(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a rule in a transaction; returns once its changes are durable.

        What the rule raises reaches the caller, and undoes this call only. A caller that is
        cancelled meanwhile does not undo it.
        """

    async def note(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`write`, for a rule that writes `FEW` things at most, the way that takes least."""

    async def read(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a rule that only reads."""

    async def look(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a rule that reads a few rows by their keys, the way that takes least."""

    def listen(self, listener: Callable[[News], None]) -> None:
        """Have `listener` called on the event loop after each commit that told something."""

    def alongside(self) -> Database:
        """Give this database for writes that the others need not wait for, nor they for them.

        They are in order among themselves. With SQLite all writes are.
        """


class Write(Protocol):
    """`Database.write` or `Database.note`."""

    async def __call__(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a rule in a transaction."""


def write_of(database: Database, things: int) -> Write:
    """Give what a rule that writes so many things is to be run with."""
    return database.note if things <= FEW else database.write
