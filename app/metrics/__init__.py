"""What this process counts of its own work, for `/metrics`; nothing unless that is asked for.

Whatever happens is told here by a function, from any thread. Until `begin` has been called they do
nothing, and Prometheus's client is not even imported: the pool's children never need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from app.errors import CATALOGUE, OffloadError

if TYPE_CHECKING:
    from app.metrics.instruments import Instruments

OTHER = "other"
"""What is of no closed set: an operation or a route that is not known here, another's code."""
SEVERAL = "several"
"""The operation of who goes through more than one."""

_kept: Instruments | None = None


def begin(operations: Iterable[str]) -> Instruments:
    """Count from now on; gives what is counted in. `operations` are those that there are."""
    global _kept  # noqa: PLW0603 - a process counts once, as it has one log
    if _kept is None:
        from app.metrics.instruments import Instruments

        _kept = Instruments(frozenset(operations))
    return _kept


def code_of(code: str) -> str:
    """Give a code as a label: those of errors that are not in the catalogue are one."""
    return code if code in CATALOGUE else OTHER


def op_of(ops: Sequence[str]) -> str:
    """Give what an item goes through, its fetch included, as one label."""
    return ops[0] if len(ops) == 1 else SEVERAL


# -- what happens --------------------------------------------------------------------------------


def request_ended(
    route: str, method: str, status: int | None, duration_s: float, *, waited: bool
) -> None:
    """Count a request by the template of its route.

    One that `waited` lasted as long as its client asked it to: its time is none to be held against
    the service.
    """
    if _kept is not None:
        _kept.request_ended(route, method, status, duration_s, waited=waited)


def job_accepted(ops: Sequence[str], *, fetches: bool) -> None:
    """Count a job that was made, by its steps; of URLs, whether these name the fetch or not."""
    if _kept is not None:
        named = [*["fetch"] * (fetches and "fetch" not in ops[:1]), *ops]
        _kept.jobs_accepted.labels(_kept.known(op_of(named))).inc()


def item_ended(
    op: str, code: str | None, waited_s: float, worked_s: float, sizes: tuple[int, int]
) -> None:
    """Count an item whose outcome is recorded.

    Args:
        op: see `op_of`.
        code: of its failure.
        waited_s: from its job's coming to the beginning of its work.
        worked_s: from then on.
        sizes: the bytes of its inputs and of its results.
    """
    if _kept is not None:
        _kept.item_ended(op, code, waited_s, worked_s, sizes)


@contextmanager
def fetching() -> Iterator[None]:
    """Time a fetch and count how it ends."""
    if _kept is None:
        yield
        return
    began, outcome = perf_counter(), "succeeded"
    try:
        yield
    except OffloadError as error:
        outcome = code_of(error.code)
        raise
    except BaseException:
        outcome = OTHER  # canceled, or what stores it failed
        raise
    finally:
        _kept.fetches.labels(outcome).inc()
        _kept.fetch_s.observe(perf_counter() - began)


def fetched(size_bytes: int) -> None:
    """Count what arrived of a body."""
    if _kept is not None:
        _kept.fetched_bytes.inc(size_bytes)


def delivery_tried(kind: str, outcome: str) -> None:
    """Count an attempt at delivering an `event` or a `result`, once its outcome is recorded."""
    if _kept is not None:
        _kept.deliveries.labels(kind, outcome).inc()


def workers_restarted(reason: str) -> None:
    """Count that the pool's children were made anew: `died` or `worn`."""
    if _kept is not None:
        _kept.worker_restarts.labels(reason).inc()


def blob_stored(size_bytes: int) -> None:
    """Count bytes that were given to the store."""
    if _kept is not None:
        _kept.blob_bytes.labels("written").inc(size_bytes)


def blob_brought(size_bytes: int) -> None:
    """Count bytes that were read from a bucket."""
    if _kept is not None:
        _kept.blob_bytes.labels("read").inc(size_bytes)


def blob_failed(code: str) -> None:
    """Count a call of the store that failed."""
    if _kept is not None:
        _kept.blob_errors.labels(code_of(code)).inc()


def cache_asked(*, hit: bool) -> None:
    """Count whether what a bucket has was on this machine already."""
    if _kept is not None:
        _kept.cache_requests.labels("hit" if hit else "miss").inc()


def transaction_ended(duration_s: float) -> None:
    """Count a transaction that writes, from its beginning to its commit."""
    if _kept is not None:
        _kept.transaction_s.observe(duration_s)


def database_lost() -> None:
    """Count that a connection to the database was lost, and is made anew."""
    if _kept is not None:
        _kept.reconnects.inc()
