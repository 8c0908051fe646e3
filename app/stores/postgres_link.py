"""A connection to PostgreSQL that one thread uses: made anew when it is lost, the work done again.

A transaction that the connection was lost in has not happened, and runs again. Where it was lost in
the commit, the database is asked what became of it: nothing is done twice, or by halves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import conninfo, errors

from app import metrics
from app.errors import Outdated, StorageError
from app.stores.base import Row
from app.stores.postgres_schema import newest
from app.stores.postgres_sets import NotDescribed, describe
from app.stores.postgres_tx import READING, PgRow, PgTx, adapt, translated

T = TypeVar("T")

PATIENCE_S = 10.0
"""So long a database that cannot be reached is tried."""
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
AGAIN = 5
"""So often a transaction runs that another one stood in the way of."""
STATEMENTS_KEPT = 1_000
DEFAULTS: Mapping[str, Any] = {
    "application_name": "offload",
    "connect_timeout": 5,
    # Who has gone without a word is found out within half a minute, on either side.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""What the operator's URL may say otherwise."""
# Plans made for empty tables are not to be kept; and who stands still in a transaction holds up
# all the others. LOCAL: in transaction mode PgBouncer gives the connection to the next one.
_BEGIN = """
BEGIN;
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL idle_in_transaction_session_timeout = '10s';
SELECT pg_current_xact_id()::text AS xact,
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
       (SELECT version FROM offload_schema) AS version
"""
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_xid = (%s::text::xid8)::xid AND usename = current_user"
)
_GONE = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,  # a standby, until it is the primary
    errors.TooManyConnections,
    # What was to be prepared behind a statement that failed was not: psycopg does not know.
    errors.InvalidSqlStatementName,
    errors.FeatureNotSupported,  # what was prepared here is of a shape that was migrated away
)
_IN_THE_WAY = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)
"""Somebody else wrote at the same time: seen from here, it was before."""


class Messages(NamedTuple):
    """A queue engine in the same database."""

    install: Callable[[psycopg.Connection[Any]], None]
    """Makes its tables, in a transaction that others wait for."""
    send: Callable[[psycopg.Connection[Any], Sequence[Row]], None]
    """Sends messages of chunks that are ready, in the transaction that they are of."""


class _Unknown(Exception):
    """The connection was lost in the commit of this transaction."""

    def __init__(self, xact: str, outcome: Any) -> None:
        super().__init__(xact)
        self.xact, self.outcome = xact, outcome


class Link:
    """Runs rules on a connection of its own. For one thread, but for `give_up`."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], int] | None,
        given_up: threading.Event,
        messages: Messages | None = None,
    ) -> None:
        """Name the database; without `clock`, its own is asked. `given_up` ends all patience."""
        self._messages = messages
        self._said = {**DEFAULTS, **conninfo.conninfo_to_dict(url)}
        self._clock = clock
        self._given_up = given_up
        self._db: psycopg.Connection[Any] | None = None
        self._makers: dict[str, Callable[[Sequence[Any]], PgRow]] = {}

    def close(self) -> None:
        """Leave the database."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def write(self, rule: Callable[[PgTx], T]) -> tuple[T, list[tuple[str, Any]]]:
        """Run a rule in a transaction; gives what it gave, and what it told, once that is durable.

        Raises:
            StorageError: the database could not do it, or not be reached; then it is undone, unless
                the database went away in the commit for longer than `PATIENCE_S`.
        """
        return self._patiently(lambda: self._transact(rule))

    def read(self, rule: Callable[[PgTx], T]) -> T:
        """Run a rule that only reads, each statement by itself. Raises as `write` does."""
        return self._patiently(
            lambda: rule(PgTx(self._connected(), self._now, self._makers, READING))
        )

    def once(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do something with the connection. Raises as `write` does."""
        return self._patiently(lambda: work(self._connected()))

    # -- one try -------------------------------------------------------------------------------

    def _connected(self) -> psycopg.Connection[Any]:
        if self._db is None or self._db.closed:
            self._db = psycopg.connect(**self._said, autocommit=True)
            self._makers.clear()
            self._db.prepared_max = STATEMENTS_KEPT
            if _pooled(self._db):
                self._db.prepare_threshold = None
            adapt(self._db.adapters)
        return self._db

    def _now(self) -> int:
        if self._clock is not None:
            return self._clock()
        [[now_ms]] = self._connected().execute(_CLOCK).fetchall()
        return int(now_ms)

    def _transact(self, rule: Callable[[PgTx], T]) -> tuple[T, list[tuple[str, Any]]]:
        began = time.perf_counter()
        db = self._connected()
        [(xact, now_ms, version)] = db.execute(_BEGIN).set_result(-1).fetchall()
        tx = PgTx(db, self._clock or _clock_from(now_ms), self._makers)
        outcome = None
        try:
            _check_version(version)
            # What gives no rows is sent along with what does, or with the commit: the interpreter
            # lock is let go, and waited for, at every answer.
            with db.pipeline():
                found = rule(tx)
                if tx.sent and self._messages is not None:
                    self._messages.send(db, tx.sent)
                outcome = found, tx.told
                db.execute("COMMIT")
        except psycopg.Error as error:
            # What the server says has failed has not happened. Of all else nobody can tell: a
            # connection may be lost before it is known to be.
            if outcome is not None and (error.sqlstate is None or _lost(error, db)):
                raise _Unknown(xact, outcome) from error
            _roll_back(db)
            raise
        except BaseException:
            _roll_back(db)
            raise
        metrics.transaction_ended(time.perf_counter() - began)
        return outcome

    # -- and again -----------------------------------------------------------------------------

    def _patiently(self, work: Callable[[], T]) -> T:
        give_up_at, pause_s, tries = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S, 0
        while True:
            tries += 1
            try:
                return work()
            except _Unknown as unknown:
                metrics.database_lost()
                if self._happened(unknown.xact):
                    outcome: T = unknown.outcome
                    return outcome
            except NotDescribed as wanted:
                self.once(partial(describe, text=str(wanted)))
            except _IN_THE_WAY as error:
                if tries >= AGAIN:
                    raise translated(error) from error
            except psycopg.Error as error:
                if not self._to_be_tried(error) or time.monotonic() > give_up_at:
                    raise translated(error) from error
                metrics.database_lost()
                self.close()
                if self._given_up.wait(pause_s):
                    raise translated(error) from error
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _to_be_tried(self, error: psycopg.Error) -> bool:
        return self._db is None or _lost(error, self._db)

    def _happened(self, xact: str) -> bool:
        """Ask whether a transaction was committed; one that still goes on is ended first."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            self.close()
            status = self.once(lambda db: _ended(db, xact))
            if status != "in progress":
                return status == "committed"
            if time.monotonic() > give_up_at or self._given_up.wait(FIRST_PAUSE_S):
                raise StorageError(
                    "It is not known whether this was written.", log_detail=f"transaction {xact}"
                )


def _ended(db: psycopg.Connection[Any], xact: str) -> str:
    """End a transaction of which nobody hears any more, unless it has ended; gives its status."""
    db.execute(_END, [xact])
    [[status]] = db.execute("SELECT pg_xact_status(%s::text::xid8)", [xact]).fetchall()
    return str(status)


def _pooled(db: psycopg.Connection[Any]) -> bool:
    """Tell whether somebody between us and the server gives its connections to us in turn.

    Then what one of them has prepared, the next one does not know. PgBouncer greets in a name of
    its own, and not in that of a server's process.
    """
    [[pid]] = db.execute("SELECT pg_backend_pid()").fetchall()
    return bool(pid != db.info.backend_pid)


def _check_version(found: int) -> None:
    """Write nothing in a shape that is another version's.

    Who migrates waits for all transactions that have read the version, and they for it.
    """
    if found != newest():
        raise Outdated(
            "The service is being upgraded; ask again.",
            log_detail=f"the database has schema {found}, this program knows {newest()}",
        )


def _clock_from(now_ms: int) -> Callable[[], int]:
    began = time.monotonic()
    return lambda: now_ms + int((time.monotonic() - began) * 1000)


def _roll_back(db: psycopg.Connection[Any]) -> None:
    try:
        db.execute("ROLLBACK")
    except psycopg.Error:
        db.close()  # which undoes it as well


def _lost(error: psycopg.Error, db: psycopg.Connection[Any]) -> bool:
    """Tell whether an error is of the connection, and not of what was to be done."""
    return db.closed or isinstance(error, _GONE)
