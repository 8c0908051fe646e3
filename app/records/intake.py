"""How a job gets into the records: in one piece, or its items a part at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from app.errors import IdempotencyMismatch, InvalidParameter, NotFound, StorageError
from app.model.blobs import NamedBlob
from app.model.chunks import Submitted
from app.model.jobs import FETCH_LANE, WORK_LANE, Counts, Lane, NewItem, NewJob, job_status, new_id
from app.records import backlog, cutting, delivery_rows, files, held, queue, rows, versions
from app.stores.base import Row, Tx


class Taker(NamedTuple):
    """A node that has room for a chunk."""

    node: str
    lane: Lane


def submit(tx: Tx, new: NewJob, most: int, taker: Taker | None = None) -> Submitted:
    """Write a job and all that belongs to it.

    `most` is how many items may be unfinished in the service. With `taker`, that node takes what it
    has room for in the same transaction.

    Raises:
        NotFound: a `file_id` is not a file of this client.
        InvalidParameter: a step names a file that is not there.
        IdempotencyMismatch: the key belongs to a request with another fingerprint.
        QueueFull: more unfinished items than `most`.
    """
    if earlier := _earlier(tx, new):
        return earlier
    passing = sum(new.passes(item) for item in new.items)
    counts = Counts(queued=new.total_items - passing, succeeded=passing)
    turn = backlog.enter(tx, new.client, new.lane, counts.queued, most)
    stored = _files_named(tx, new)
    own = _own_asides(new, stored)
    columns = _columns(tx, own, counts, turn) | {"id": new_id("job"), "node": None}
    [job] = tx.run("insert_job", **columns)
    add_items(tx, job["pk"], own, new.items, stored=stored)
    return _queued(tx, own, job, counts, stored, taker)


def _queued(
    tx: Tx,
    new: NewJob,
    job: Row,
    counts: Counts,
    stored: dict[str, NamedBlob],
    taker: Taker | None,
) -> Submitted:
    """Do what ends a submission whose items are there."""
    _insert_asides(tx, new, job["pk"], stored)
    if new.idempotency_key is not None:
        said = {"client": new.client, "key": new.idempotency_key, "job_id": job["id"]}
        tx.run("insert_key", **said, fingerprint=new.fingerprint, now_ms=tx.now())
    ready = _cut(tx, new, job, counts, stored)
    chunks = queue.take_first(tx, taker.node, job, taker.lane) if taker else []
    cutting.tell_ready(tx, (Counter(ready) - Counter(chunk.lane for chunk in chunks)).elements())
    return Submitted(rows.job(job), created=True, chunks=tuple(chunks))


def _cut(
    tx: Tx, new: NewJob, job: Row, counts: Counts, named: Mapping[str, NamedBlob]
) -> list[Lane]:
    """Queue a new job's items, of URLs with a pace only the first; gives lanes as `insert`."""
    job_key, turn = job["pk"], job["turn"]
    items = [(n, item) for n, item in enumerate(new.items) if not new.passes(item)]
    stored = [
        cutting.Piece(n, WORK_LANE, fetches=False, cost_ms=new.weigh(_size_bytes(item, named)))
        for n, item in items
        if item.url is None
    ]
    ready = cutting.insert(tx, job_key, cutting.cut(stored), turn=turn)
    if new.pace is not None:
        [own] = held.lock(tx, [job_key]).values()
        cutting.release(tx, own)
        own["seq"] -= 1  # nobody has seen it yet
        tx.many("put_job", [own])
    elif any(item.url is not None for _, item in items):
        twins = {r["idx"] for r in tx.run("unfinished_items", job_pk=job_key) if r["fetches"]}
        urls = (cutting.Piece(n, FETCH_LANE, fetches=True) for n, _ in items if n in twins)
        most = cutting.STOPPING if new.stops else None
        ready += cutting.insert(tx, job_key, cutting.cut(urls, most), turn=turn)
    if new.join_at is not None:
        last = counts.total - 1
        state = "ready" if counts.queued == 1 else "held"
        part = cutting.Cut(last, last, 1, WORK_LANE, fetches=False)
        ready += cutting.insert(tx, job_key, [part], turn=turn, state=state)
    return ready


def _size_bytes(item: NewItem, named: Mapping[str, NamedBlob]) -> int:
    file = item.upload or named[item.file_id or ""]
    return file.blob.size_bytes


def _columns(tx: Tx, new: NewJob, counts: Counts, turn: int) -> dict[str, Any]:
    """Give the columns that a job's labels, steps and terms fill."""
    now_ms = tx.now()
    return {
        "client": new.client,
        "status": str(job_status(counts)),
        "steps": rows.dump_steps(new.steps),
        "join_at": new.join_at,
        **rows.dump_marks(new.marks),
        "webhook": delivery_rows.dump_webhook(new.webhook) if new.webhook else None,
        "lane": WORK_LANE,
        "turn": turn,
        "queued": counts.queued,
        "succeeded": counts.succeeded,
        "retention_ms": int(new.retention_s * 1000),
        "now_ms": now_ms,
        "started_ms": now_ms if counts.succeeded else None,
        "pace": new.pace,
        "stops": int(new.stops),
    }


# -- items ---------------------------------------------------------------------------------------


def add_items(
    tx: Tx,
    job_key: int,
    new: NewJob,
    items: Iterable[NewItem],
    *,
    at: int = 0,
    stored: dict[str, NamedBlob] | None = None,
    join: bool = True,
) -> None:
    """Write items of a job, the first of them at position `at`; and behind them the one that joins.

    `stored` has the files that they name, by id.
    """
    named, now_ms = stored or {}, tx.now()
    item_rows, file_rows, passed, blobs = [], [], [], []
    index = at
    for index, item in enumerate(items, at):
        source, file_id = item.upload, item.file_id
        if file_id is not None:
            source = named[file_id]
        elif source is not None:
            file = files.row(new.client, source, now_ms, job_key=job_key)
            file_id = file["id"]
            file_rows.append(file)
            blobs.append(source.blob)
        passes = new.passes(item)
        item_rows.append(_item_row(new, job_key, index, item, source, file_id, passes, now_ms))
        if passes and source is not None:
            result = files.row(new.client, source, now_ms, job_key=job_key)
            passed.append(result | {"idx": index})
    if join and new.join_at is not None:
        last = NewItem(store=new.store)
        item_rows.append(_item_row(new, job_key, index + 1, last, None, None, False, now_ms))
        item_rows[-1]["joins"] = 1
    tx.many("insert_item", item_rows)
    tx.many("insert_file", file_rows)
    tx.many("insert_passed", passed)
    files.keep_values(tx, blobs)


def _item_row(
    new: NewJob,
    job_key: int,
    index: int,
    item: NewItem,
    source: NamedBlob | None,
    file_id: str | None,
    passes: bool,
    now_ms: int,
) -> dict[str, Any]:
    blob = source.blob if source else None
    twin_key = None
    if new.dedupe and item.url is not None and item.problem is None:
        # What is only fetched has the name that its own item says: see `twins`.
        names = [item.name] if rows.worked(new.steps[: new.join_at]) else []
        asked = versions.key_of(item.url, item.headers, item.sha256, item.max_bytes, *names)
        twin_key = asked[:16]  # they are compared within a job only
    return {
        "job_pk": job_key,
        "idx": index,
        "status": "succeeded" if passes else "queued",
        "name": (source.name if source else item.name) or "",
        "file_id": file_id,
        "blob": blob.key if blob else None,
        "digest": blob.digest if blob else None,
        "media_type": blob.media_type if blob else None,
        "size_bytes": blob.size_bytes if blob else None,
        "url": item.url,
        "headers": rows.dump(dict(item.headers)) if item.headers else None,
        "sha256": item.sha256,
        "max_bytes": item.max_bytes,
        "twin_key": twin_key,
        "broken": rows.dump_problem(item.problem) if item.problem else None,
        "joins": 0,
        "store": delivery_rows.dump_target(item.store) if item.store else None,
        "ended_ms": now_ms if passes else None,
    }


# -- a part at a time ----------------------------------------------------------------------------


def open_job(tx: Tx, node: str) -> int:
    """Begin a job that nobody sees; gives its key. When its node dies, it is removed."""
    nobody = NewJob(client="", steps=(), items=(), retention_s=0)
    columns = _columns(tx, nobody, Counts(), 0)
    hidden = {"id": new_id("receiving"), "status": "receiving", "node": node}
    [row] = tx.run("insert_job", **columns | hidden)
    return int(row["pk"])


def add(tx: Tx, job_key: int, new: NewJob, items: Sequence[NewItem], at: int, most: int) -> None:
    """Write some more items of a job that is being received, all of them URLs, behind `at` others.

    Of `new`, its steps and whether it has twins are looked at. Raises `QueueFull`.
    """
    backlog.check(tx, most, at + len(items))
    add_items(tx, job_key, new, items, at=at, join=False)


def show(tx: Tx, job_key: int, new: NewJob, items: int, most: int) -> Submitted:
    """Make a job of which so many items were received its client's, in one transaction.

    `new` has no items of its own and its `pace` is set. Raises as `submit` does.
    """
    if earlier := _earlier(tx, new):
        return earlier
    counts = Counts(queued=items + (new.join_at is not None))
    turn = backlog.enter(tx, new.client, new.lane, counts.queued, most)
    stored = _files_named(tx, new)
    own = _own_asides(new, stored)
    columns = _columns(tx, own, counts, turn) | {"id": new_id("job")}
    for job in tx.run("show_job", pk=job_key, **columns):
        add_items(tx, job_key, own, (), at=items - 1)
        return _queued(tx, own, job, counts, stored, None)
    raise StorageError("The job was given up while it was being received.")


def give_up(tx: Tx, job_key: int) -> None:
    """Remove a job that was being received, unless it was shown."""
    if tx.run("give_up_job", pk=job_key):
        held.bite_later(tx, "drop", job_key)


# -- what a job names ----------------------------------------------------------------------------


def _earlier(tx: Tx, new: NewJob) -> Submitted | None:
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


def _insert_asides(tx: Tx, new: NewJob, job_key: int, stored: dict[str, NamedBlob]) -> None:
    now_ms = tx.now()
    tx.many(
        "insert_file",
        [
            files.row(new.client, stored[own_id], now_ms, job_key=job_key, file_id=own_id)
            for own_id in new.asides
        ],
    )
