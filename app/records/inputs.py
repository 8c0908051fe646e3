"""What jobs are given to work on: items and their files, as rows that are written together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.model.blobs import Blob, NamedBlob
from app.model.jobs import NewItem, NewJob
from app.records import delivery_rows, files, rows, versions
from app.stores.base import Tx

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows of any number of jobs, until they are written."""

    now_ms: int
    items: list[Columns] = field(default_factory=list)
    files: list[Columns] = field(default_factory=list)
    passed: list[Columns] = field(default_factory=list)
    """Results that are there at once."""
    blobs: list[Blob] = field(default_factory=list)

    def add(
        self,
        job_key: int,
        new: NewJob,
        items: Iterable[NewItem],
        *,
        at: int = 0,
        stored: Mapping[str, NamedBlob] | None = None,
        join: bool = True,
    ) -> None:
        """Add items of a job, the first of them at position `at`; behind them the one that joins.

        `stored` has the files that they name, by id.
        """
        index = at
        for index, item in enumerate(items, at):
            source, file_id = item.upload, item.file_id
            if file_id is not None:
                source = (stored or {})[file_id]
            elif source is not None:
                file_id = self._add_file(new, job_key, source)
            self._add_item(job_key, index, new, item, source, file_id)
        if join and new.join_at is not None:
            last = NewItem(store=new.store)
            self.items.append(_item_row(new, job_key, index + 1, last, None, None, None, joins=1))

    def add_asides(self, job_key: int, new: NewJob, stored: Mapping[str, NamedBlob]) -> None:
        """Add the files of a job that its steps name."""
        for file_id in new.asides:
            file = files.row(
                new.client, stored[file_id], self.now_ms, job_key=job_key, file_id=file_id
            )
            self.files.append(file)

    def write(self, tx: Tx) -> None:
        """Write all of them."""
        tx.many("insert_item", self.items)
        tx.many("insert_file", self.files)
        tx.many("insert_passed", self.passed)
        files.keep_values(tx, self.blobs)

    def _add_file(self, new: NewJob, job_key: int, source: NamedBlob) -> str:
        file = files.row(new.client, source, self.now_ms, job_key=job_key)
        self.files.append(file)
        self.blobs.append(source.blob)
        return str(file["id"])

    def _add_item(
        self,
        job_key: int,
        index: int,
        new: NewJob,
        item: NewItem,
        source: NamedBlob | None,
        file_id: str | None,
    ) -> None:
        passes = new.passes(item)
        ended_ms = self.now_ms if passes else None
        self.items.append(_item_row(new, job_key, index, item, source, file_id, ended_ms))
        if passes and source is not None:
            result = files.row(new.client, source, self.now_ms, job_key=job_key)
            self.passed.append(result | {"idx": index})


def _item_row(
    new: NewJob,
    job_key: int,
    index: int,
    item: NewItem,
    source: NamedBlob | None,
    file_id: str | None,
    ended_ms: int | None,
    joins: int = 0,
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
        "status": "queued" if ended_ms is None else "succeeded",
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
        "joins": joins,
        "store": delivery_rows.dump_target(item.store) if item.store else None,
        "ended_ms": ended_ms,
    }
