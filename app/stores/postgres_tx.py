"""A transaction on PostgreSQL, its rows, and what PostgreSQL's errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import AdaptersMap, Loader
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from psycopg.types.string import StrDumper

from app.errors import StorageError, StorageFull
from app.stores import postgres_sets, statements
from app.stores.base import READY, Row

_ESCAPE = "\x01"
_LOCK = re.compile(r"\s+FOR (NO KEY UPDATE|UPDATE|KEY SHARE)( OF \w+)?( SKIP LOCKED)?$")


def spelled(text: str) -> str:
    """Give a statement as psycopg takes it: `%(x)s` for `:x`, and arrays for lists."""
    text = re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE)
    text = text.rstrip(";").replace("%", "%%")
    text = re.sub(r"NOT IN :(\w+)\[\]", r"<> ALL(%(\1)s)", text)
    text = re.sub(r"IN :(\w+)\[\]", r"= ANY(%(\1)s)", text)
    return re.sub(r"(?<!:):(\w+)(\[\])?", r"%(\1)s", text)


_FOUND = statements.load("postgres")
STATEMENTS = {name: spelled(statement.text) for name, statement in _FOUND.items()}
"""By name, as PostgreSQL takes them."""
READING = {name: _LOCK.sub("", text) for name, text in STATEMENTS.items()}
"""The same without locks, for who only reads."""
IN_SETS = frozenset(name for name, statement in _FOUND.items() if "unnest(" in statement.text)
"""Those of which the values are arrays."""
GIVING = frozenset(
    name
    for name, text in STATEMENTS.items()
    if text.startswith(("SELECT", "WITH")) or "RETURNING" in text
)
"""Those that give rows. The others' end is not waited for: the commit says whether they did it."""


class PgRow:
    """`Row`: values by their columns' names."""

    __slots__ = ("_columns", "_places", "_values")

    def __init__(
        self, columns: Sequence[str], places: Mapping[str, int], values: Sequence[Any]
    ) -> None:
        """Take `places`, where the values of `columns` stand in `values`."""
        self._columns, self._places, self._values = columns, places, values

    def __getitem__(self, column: str, /) -> Any:
        """See `Row`."""
        return _read(self._values[self._places[column]])

    def __iter__(self) -> Iterator[Any]:
        """Give the values."""
        return map(_read, self._values)

    def keys(self) -> Sequence[str]:
        """See `Row`."""
        return self._columns


def _maker(columns: Sequence[str]) -> Callable[[Sequence[Any]], PgRow]:
    # As with SQLite, the first of two columns with one name is meant.
    places = {name: n for n, name in reversed(list(enumerate(columns)))}
    return partial(PgRow, columns, places)


class _TextDumper(StrDumper):
    """PostgreSQL's text holds no NUL: it is escaped, and so is what escapes it."""

    def dump(self, obj: str) -> Any:
        """See `Dumper`."""
        if "\0" in obj or _ESCAPE in obj:
            obj = obj.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")
        return super().dump(obj)


def _read(value: Any) -> Any:
    if type(value) is str and _ESCAPE in value:
        return value.replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE)
    return value


class _SumLoader(Loader):
    """A sum of integers is numeric there; here it is an integer again."""

    def load(self, data: Any) -> int:
        """See `Loader`."""
        return int(bytes(data))


def adapt(adapters: AdaptersMap) -> None:
    """Have values go over as their columns' types, and come back as SQLite's do."""
    for dumper in (Int8Dumper, Int8BinaryDumper):  # one type, so one prepared statement
        adapters.register_dumper(int, dumper)
    adapters.register_dumper(str, _TextDumper)
    adapters.register_loader("numeric", _SumLoader)


class PgTx:
    """`Tx` on one connection."""

    __slots__ = ("_known", "_makers", "_now", "db", "sent", "told")

    def __init__(
        self,
        db: psycopg.Connection[Any],
        now: Callable[[], int],
        makers: dict[str, Callable[[Sequence[Any]], PgRow]],
        known: Mapping[str, str] = STATEMENTS,
    ) -> None:
        """Run on `db`; `now` gives milliseconds since the epoch.

        `makers` are the connection's: what makes rows of what a statement gives, by its name.
        """
        self._makers = makers
        self.db = db
        self._now = now
        self._known = known
        self.told: list[tuple[str, Any]] = []
        self.sent: list[Row] = []
        """Chunks that messages are to be sent of before the commit."""

    def run(self, statement: str, **values: Any) -> list[Any]:
        """See `Tx.run`."""
        return self._run(statement, self._known[statement], values)

    def many(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """See `Tx.many`."""
        if not rows:
            return []
        text = self._known[statement]
        if len(rows) == 1 and statement not in IN_SETS:
            return self._run(statement, text, rows[0])
        if statement not in IN_SETS:
            text = postgres_sets.in_a_set(text)
        return self._run(statement, text, postgres_sets.columns(text, rows))

    def _run(self, statement: str, text: str, values: Mapping[str, Any]) -> list[Any]:
        done = self.db.execute(text, values)
        if statement not in GIVING:
            return []
        found = done.fetchall()
        if not found:
            return []
        maker = self._makers.get(statement)
        if maker is None:
            names = tuple(column.name for column in done.description or ())
            maker = self._makers[statement] = _maker(names)
        return [maker(row) for row in found]

    def array(self, values: Iterable[Any]) -> list[Any]:
        """See `Tx.array`."""
        return list(values)

    def send(self, chunks: Sequence[Row]) -> None:
        """See `Tx.send`."""
        self.sent += chunks
        for lane in {chunk["lane"] for chunk in chunks}:
            self.tell(READY, lane)

    def tell(self, topic: str, value: Hashable) -> None:
        """See `Tx.tell`."""
        self.told.append((topic, value))

    def now(self) -> int:
        """See `Tx.now`."""
        return self._now()


def translated(error: psycopg.Error) -> StorageError:
    """Say in this service's words what PostgreSQL could not do."""
    detail = f"{error.sqlstate}: {error}" if error.sqlstate else str(error)
    if isinstance(error, errors.DiskFull):
        return StorageFull("The disk that records are kept on is full.", log_detail=detail)
    return StorageError("The record could not be written or read.", log_detail=detail)
