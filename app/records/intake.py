"""How jobs get into the records: any number in one transaction, each in one piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from app.errors import IdempotencyMismatch, InvalidParameter, NotFound, OffloadError
from app.model.blobs import NamedBlob
from app.model.chunks import Submitted
from app.model.jobs import FETCH_LANE, WORK_LANE, Counts, Lane, NewItem, NewJob, job_status, new_id
from app.records import backlog, cutting, delivery_rows, held, queue, rows
from app.records.backlog import Entry
from app.records.inputs import Inputs
from app.stores.base import Row, Tx


class Taker(NamedTuple):
    """A node that has room for a chunk."""

    node: str
    lane: Lane


class Asked(NamedTuple):
    """A job that is to be submitted, and who takes what it has room for in the same transaction."""

    new: NewJob
    taker: Taker | None = None


@dataclass(slots=True)
class Coming:
    """A job on its way in."""

    new: NewJob
    stored: Mapping[str, NamedBlob]
    """The stored files that it names, by id."""
    counts: Counts
    taker: Taker | None = None
    turn: int = 0

    @property
    def entry(self) -> Entry:
        """Give what it asks of the backlog."""
        return Entry(self.new.client, self.new.lane, self.counts.queued)


def submit(tx: Tx, new: NewJob, most: int, taker: Taker | None = None) -> Submitted:
    """Write a job and all that belongs to it.

    `most` is how many items may be unfinished in the service.

    Raises:
        NotFound: a `file_id` is not a file of this client.
        InvalidParameter: a step names a file that is not there.
        IdempotencyMismatch: the key belongs to a request with another fingerprint.
        QueueFull: more unfinished items than `most`.
    """
    [made] = submit_all(tx, [Asked(new, taker)], most)
    if isinstance(made, OffloadError):
        raise made
    return made


def submit_all(tx: Tx, asked: Sequence[Asked], most: int) -> list[Submitted | OffloadError]:
    """Submit jobs, each as `submit` does; gives in the place of one that is refused what it raises.

    Ten take hardly more statements than one. Those with takers have all the same node.
    """
    answers: dict[int, Submitted | OffloadError] = {}
    coming: dict[int, Coming] = {}
    keys, again = set(), []
    for n, one in enumerate(asked):
        key = one.new.client, one.new.idempotency_key
        if one.new.idempotency_key is not None and key in keys:
            again.append(n)  # what it is answered, the one before it decides
            continue
        keys.add(key)
        try:
            answered = earlier(tx, one.new) or _coming(tx, one)
        except OffloadError as error:
            answers[n] = error
            continue
        if isinstance(answered, Submitted):
            answers[n] = answered
        else:
            coming[n] = answered
    answers |= _submit(tx, coming, most)
    if again:
        answers |= dict(zip(again, submit_all(tx, [asked[n] for n in again], most), strict=True))
    return [answers[n] for n in range(len(asked))]


def _coming(tx: Tx, asked: Asked) -> Coming:
    new, stored = named(tx, asked.new)
    passing = sum(new.passes(item) for item in new.items)
    counts = Counts(queued=new.total_items - passing, succeeded=passing)
    return Coming(new, stored, counts, asked.taker)


def _submit(
    tx: Tx, coming: Mapping[int, Coming], most: int
) -> Mapping[int, Submitted | OffloadError]:
    """Write those that fit in."""
    answers: dict[int, Submitted | OffloadError] = {}
    turns = backlog.enter_all(tx, [one.entry for one in coming.values()], most)
    columns: dict[int, dict[str, Any]] = {}
    for (n, one), turn in zip(coming.items(), turns, strict=True):
        if isinstance(turn, OffloadError):
            answers[n] = turn
            continue
        one.turn = turn
        columns[n] = columns_of(tx, one) | {"id": new_id("job"), "node": None}
    if not columns:
        return answers
    written = {row["id"]: row for row in tx.many("insert_job", list(columns.values()))}
    jobs = [(written[row["id"]], coming[n]) for n, row in columns.items()]
    inputs = Inputs(tx.now())
    for job, one in jobs:
        inputs.add(job["pk"], one.new, one.new.items, stored=one.stored)
        inputs.add_asides(job["pk"], one.new, one.stored)
    inputs.write(tx)
    return answers | dict(zip(columns, enqueue(tx, jobs), strict=True))


def columns_of(tx: Tx, coming: Coming) -> dict[str, Any]:
    """Give the columns that a job's labels, steps and terms fill."""
    new, now_ms = coming.new, tx.now()
    return {
        "client": new.client,
        "status": str(job_status(coming.counts)),
        "steps": rows.dump_steps(new.steps),
        "join_at": new.join_at,
        **rows.dump_marks(new.marks),
        "webhook": delivery_rows.dump_webhook(new.webhook) if new.webhook else None,
        "lane": WORK_LANE,
        "turn": coming.turn,
        "queued": coming.counts.queued,
        "succeeded": coming.counts.succeeded,
        "retention_ms": int(new.retention_s * 1000),
        "now_ms": now_ms,
        "started_ms": now_ms if coming.counts.succeeded else None,
        "pace": new.pace,
        "stops": int(new.stops),
    }


# -- into the queue ------------------------------------------------------------------------------


def enqueue(tx: Tx, jobs: Sequence[tuple[Row, Coming]]) -> list[Submitted]:
    """Do what ends the submission of jobs whose items are there."""
    keys = [
        {
            "client": one.new.client,
            "key": one.new.idempotency_key,
            "fingerprint": one.new.fingerprint,
            "job_id": job["id"],
            "now_ms": tx.now(),
        }
        for job, one in jobs
        if one.new.idempotency_key is not None
    ]
    tx.many("insert_key", keys)
    queued, taken, node = [], [], ""
    for job, one in jobs:
        parts = _cut(tx, job, one)
        if one.taker is not None and (first := _first(parts, one.taker)) is not None:
            taken.append((job, parts.pop(first)))
            node = one.taker.node
        queued += parts
    chunks = queue.insert_taken(tx, node, taken)
    if not chunks:  # the node is gone
        queued += [part for _, part in taken]
    cutting.put(tx, queued)
    return [
        Submitted(rows.job(job), created=True, chunks=chunks.get(job["pk"], ())) for job, _ in jobs
    ]


def _first(parts: Sequence[cutting.Part], taker: Taker) -> int | None:
    """Give the place of the first chunk that somebody can take."""
    fit = (n for n, p in enumerate(parts) if p["lane"] == taker.lane and p["state"] == "ready")
    return next(fit, None)


def _cut(tx: Tx, job: Row, coming: Coming) -> list[cutting.Part]:
    """Cut a new job's items; of URLs with a pace only the first are queued, at once."""
    new, job_key, turn = coming.new, job["pk"], job["turn"]
    items = [(n, item) for n, item in enumerate(new.items) if not new.passes(item)]
    stored = [
        cutting.Piece(n, WORK_LANE, fetches=False, cost_ms=new.weigh(_size_bytes(item, coming)))
        for n, item in items
        if item.url is None
    ]
    parts = cutting.parts(job_key, cutting.cut(stored), turn=turn)
    if new.pace is not None:
        [own] = held.lock(tx, [job_key]).values()
        cutting.release(tx, own)
        own["seq"] -= 1  # nobody has seen it yet
        tx.many("put_job", [own])
    else:
        urls = _urls(tx, job_key, new, items)
        most = cutting.STOPPING if new.stops else None
        parts += cutting.parts(job_key, cutting.cut(urls, most), turn=turn)
    if new.join_at is not None:
        last = coming.counts.total - 1
        state = "ready" if coming.counts.queued == 1 else "held"
        part = cutting.Cut(last, last, 1, WORK_LANE, fetches=False)
        parts += cutting.parts(job_key, [part], turn=turn, state=state)
    return parts


def _urls(
    tx: Tx, job_key: int, new: NewJob, items: Iterable[tuple[int, NewItem]]
) -> list[cutting.Piece]:
    """Give the URLs that are to be queued: no twins."""
    found = [n for n, item in items if item.url is not None]
    if found and new.dedupe:
        first = {r["idx"] for r in tx.run("unfinished_items", job_pk=job_key) if r["fetches"]}
        found = [n for n in found if n in first]
    return [cutting.Piece(n, FETCH_LANE, fetches=True) for n in found]


def _size_bytes(item: NewItem, coming: Coming) -> int:
    file = item.upload or coming.stored[item.file_id or ""]
    return file.blob.size_bytes


# -- what a job names ----------------------------------------------------------------------------


def earlier(tx: Tx, new: NewJob) -> Submitted | None:
    """Give the job that this idempotency key has made already."""
    if new.idempotency_key is None:
        return None
    key = {"client": new.client, "key": new.idempotency_key}
    for known in tx.run("get_key", **key):
        job = tx.run("get_job", id=known["job_id"])
        if not job:  # deleted since: the key is free again
            tx.run("drop_key", **key)
        elif known["fingerprint"] != new.fingerprint:
            raise IdempotencyMismatch(
                "This Idempotency-Key was used with another request in the last 24 hours."
            )
        else:
            return Submitted(rows.job(job[0]), created=False)
    return None


def named(tx: Tx, new: NewJob) -> tuple[NewJob, dict[str, NamedBlob]]:
    """Give a job with files of its own for those that its steps name; and all its files, by id."""
    stored = _files_named(tx, new)
    return _own_asides(new, stored), stored


def _files_named(tx: Tx, new: NewJob) -> dict[str, NamedBlob]:
    """Give the stored files that a job's items and steps name, by id."""
    items = [item.file_id for item in new.items if item.file_id is not None]
    ids = {*items, *new.asides}
    if not ids:
        return {}
    found = tx.run("get_files", ids=tx.array(sorted(ids)))
    own = {row["id"]: rows.file(row) for row in found if row["client"] == new.client}
    for file_id in items:
        if file_id not in own:
            raise NotFound(f"There is no file {file_id!r}.")
    for file_id in new.asides:
        if file_id not in own:
            raise InvalidParameter(
                f"A step names a file that is not there. There is no file {file_id!r}."
            )
    return {file_id: NamedBlob(file.blob, file.name) for file_id, file in own.items()}


def _own_asides(new: NewJob, stored: dict[str, NamedBlob]) -> NewJob:
    """Give a job files of its own for those that its client's steps name."""
    steps, own = rows.dump_steps(new.steps), []
    for file_id in new.asides:
        own_id = new_id("file")
        stored[own_id] = stored[file_id]
        own.append(own_id)
        # Nobody can guess an id, so that it stands nowhere else by chance.
        steps = steps.replace(json.dumps(file_id), json.dumps(own_id))
    return replace(new, steps=rows.steps(steps), asides=tuple(own)) if own else new
