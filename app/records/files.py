"""Records of files: inputs, results, and files that belong to no job; and their small values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.model.blobs import Blob, File, NamedBlob
from app.model.jobs import new_id
from app.records import rows
from app.stores.base import Tx


def row(
    client: str,
    source: NamedBlob,
    now_ms: int,
    *,
    job_key: int | None = None,
    item_key: int | None = None,
    position: int | None = None,
    expires_ms: int | None = None,
    file_id: str | None = None,
) -> dict[str, Any]:
    """Give a new file as a row.

    With `job_key` it is a job's input; with `item_key` and `position` too, one result of that item.
    """
    return {
        "id": file_id or new_id("file"),
        "client": client,
        "name": source.name,
        "job_pk": job_key,
        "item_pk": item_key,
        "position": position,
        "now_ms": now_ms,
        "expires_ms": expires_ms,
        **columns(source.blob),
    }


def columns(blob: Blob) -> dict[str, Any]:
    """Give what items, files and versions say of a blob."""
    return {
        "blob": blob.key,
        "digest": blob.digest,
        "media_type": blob.media_type,
        "size_bytes": blob.size_bytes,
    }


def keep_values(tx: Tx, blobs: Iterable[Blob]) -> None:
    """Write the bytes of those that are values."""
    small = [{"key": b.key, "value": b.value} for b in blobs if b.value is not None]
    tx.many("insert_small", small)


def add(tx: Tx, client: str, source: NamedBlob, retention_s: float) -> File:
    """Record a file that belongs to no job."""
    expires_ms = tx.now() + int(retention_s * 1000)
    new = row(client, source, tx.now(), expires_ms=expires_ms)
    keep_values(tx, [source.blob])
    tx.many("insert_file", [new])
    return rows.file(tx.run("get_file", id=new["id"])[0])


def get(tx: Tx, file_id: str) -> File | None:
    """Give a file, with its value if it is small; or None."""
    found = tx.run("get_file", id=file_id)
    return rows.file(found[0]) if found else None


def delete(tx: Tx, file_id: str) -> None:
    """Remove a file's record; one that is gone already is fine."""
    tx.run("delete_file", id=file_id)


def extend(tx: Tx, file: File, retention_s: float) -> None:
    """Renew the retention of a file, or of the job it belongs to, from now."""
    now_ms = tx.now()
    if file.job_id is not None:
        tx.run("extend_job", job_id=file.job_id, now_ms=now_ms)
    else:
        tx.run("extend_file", id=file.id, expires_ms=now_ms + int(retention_s * 1000))


def abandon(tx: Tx, keys: Sequence[str]) -> None:
    """Have `take_loose` look at keys of bytes that were stored and maybe never recorded."""
    tx.many("abandon", [{"key": key} for key in keys])


def take_loose(tx: Tx, limit: int = 500) -> tuple[int, list[str]]:
    """Forget what no record points at any more of the bytes that some have let go of.

    Gives how many were looked at, and the keys, once, of those that the blob store is to remove:
    small ones are gone with this.
    """
    loose = [found["blob"] for found in tx.run("take_loose_blobs", limit=limit)]
    free = unreferenced(tx, loose)
    dropped = {found["key"] for found in tx.run("drop_small", keys=tx.array(free))}
    return len(loose), [key for key in free if key not in dropped]


def unreferenced(tx: Tx, keys: Sequence[str]) -> list[str]:
    """Give those blob keys that no record points at."""
    named = {found["blob"] for found in tx.run("referenced", keys=tx.array(keys))}
    return [key for key in keys if key not in named]


def check_writable(tx: Tx) -> None:
    """Raise `StorageError` unless a write would succeed now."""
    tx.run("write_probe")
