"""A database as version 0.2.0 left it: rows by hand, on the migrations of then."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from app.stores.schema import connect
from app.stores.statements import migrations

SCHEMA = 6
HIDDEN = "\0"
FETCH, SHRINK, PACK = ({"op": op, "params": {}} for op in ("fetch", "image", "archive"))
FACTS = {"fetch": {"name": "x", "media_type": "text/plain", "claimed_media_type": None}}
BROKEN = {
    "code": "internal.operation",
    "title": "The operation failed",
    "status": 500,
    "detail": "It broke.",
    "retryable": False,
    "extra": {},
}
HOOK = {"url": "https://shop.test/hooks", "events": ["job.succeeded", "job.canceled"]}
STATUSES = ("queued", "running", "succeeded", "failed", "canceled")


class Folder:
    """What is written to a new database of that version."""

    def __init__(self, path: Path, now_ms: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.db = connect(path)
        self.now_ms = now_ms
        for number, file in migrations("sqlite").items():
            if number <= SCHEMA:
                self.db.executescript(file.read_text("utf-8"))
        self.db.execute(f"PRAGMA user_version = {SCHEMA}")

    def insert(self, table: str, **values: Any) -> int:
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        return int(self.db.execute(sql, tuple(values.values())).lastrowid or 0)

    def job(self, job_id: str, items: list[dict[str, Any]], **others: Any) -> list[int]:
        """Write a job with the counts that its items make; gives the items' keys."""
        found = [item.get("status", "queued") for item in items]
        counts = {status: found.count(status) for status in STATUSES}
        over = not counts["queued"] + counts["running"]
        columns = {
            "id": job_id,
            "client": "shop",
            "status": "running",
            "seq": 7,
            "steps": json.dumps([SHRINK]),
            "metadata": "{}",
            "retention_ms": 3_600_000,
            "created_ms": self.now_ms,
            "started_ms": self.now_ms,
            "finished_ms": self.now_ms if over else None,
            "expires_ms": self.now_ms + 3_600_000 if over else None,
        }
        pk = self.insert("jobs", **columns | counts | others)
        return [self._item(pk, index, **item) for index, item in enumerate(items)]

    def _item(self, job_pk: int, index: int, **others: Any) -> int:
        columns = {
            "job_pk": job_pk,
            "idx": index,
            "status": "queued",
            "seq": index + 1,
            "lane": "cpu",
            "priority": -index,
            "name": f"{index}.txt",
        }
        if others.get("status") == "running":
            columns |= {"attempt": 1, "started_ms": self.now_ms}
        return self.insert("items", **columns | others)

    def file(self, file_id: str, blob: str, **others: Any) -> None:
        columns = {"id": file_id, "client": "shop", "blob": blob, "name": f"{blob}.out"}
        columns |= {"media_type": "text/plain", "size_bytes": 3, "created_ms": self.now_ms}
        self.insert("files", **columns | others)

    def delivery(self, delivery_id: str, **others: Any) -> int:
        columns = {
            "id": delivery_id,
            "kind": "webhook",
            "client": "shop",
            "event": "job.succeeded",
            "data": "{}",
            "url": HOOK["url"],
            "origin": "https://shop.test",
            "lane": "https://shop.test/hooks",
            "status": "pending",
            "created_ms": self.now_ms,
        }
        return self.insert("deliveries", **columns | others)


def upload(blob: str = "in", **others: Any) -> dict[str, Any]:
    return {"blob": blob, "media_type": "text/plain", "size_bytes": 2, "file_id": "f"} | others


def url(number: int, lane: str = "io", **others: Any) -> dict[str, Any]:
    return {"url": f"http://o/{number}", "lane": lane, "name": ""} | others


def written(path: Path, now_ms: int) -> None:
    """Write a folder in which something of everything is half done."""
    folder = Folder(path, now_ms)
    with closing(folder.db):
        _over(folder)
        _at_work(folder)
        _hidden(folder)


def _over(folder: Folder) -> None:
    facts = json.dumps({"image": {"width": 10}})
    done = {"status": "succeeded", "attempt": 1, "facts": facts, "finished_ms": folder.now_ms}
    failed = {"status": "failed", "attempt": 2, "problem": json.dumps(BROKEN), "facts": "{}"}
    first, _ = folder.job(
        "job_over", [upload(**done), upload(**failed)], status="partial", webhook=json.dumps(HOOK)
    )
    folder.file("file_result", "out", job_pk=1, item_pk=first, position=0)
    folder.file("file_kept", "kept", expires_ms=folder.now_ms + 1_000_000)
    said = {"client": "shop", "key": "k", "fingerprint": "f", "job_id": "job_over"}
    folder.insert("idempotency_keys", **said, created_ms=folder.now_ms)
    version = {"client": "shop", "key": b"key", "blob": "kept", "media_type": "text/plain"}
    folder.insert("versions", **version, size_bytes=3, facts="{}", seen_ms=folder.now_ms)
    sent = {"status": "delivered", "tries": 1, "ended_ms": folder.now_ms}
    pk = folder.delivery("msg_delivered", job_id="job_over", **sent)
    tried = {"delivery_pk": pk, "n": 1, "at_ms": folder.now_ms, "elapsed_ms": 5}
    folder.insert("attempts", **tried, http_status=200, answer="thanks")
    folder.delivery("msg_sending", job_id="job_over", status="sending", claims=1)


def _at_work(folder: Folder) -> None:
    over = {"status": "succeeded", "attempt": 1, "facts": json.dumps(FACTS)}
    running = {"status": "running"}
    # Claimed, and no worker had begun it.
    waiting = {"status": "running", "started_ms": None, "attempt": 3}
    folder.job("job_running", [upload(**over), upload(**running), upload(**waiting), upload()])
    fetches = json.dumps([FETCH])
    paced = [url(n, "paced") for n in range(3, 12)]
    started = [url(0, **over), url(1, **running), url(2, **running)]
    folder.job("job_paced", [*started, *paced], steps=fetches, pace=2, released=2)
    first, _, _, other, _, _ = folder.job(
        "job_twins",
        [
            url(1, **over, twin_key=b"1"),
            url(1, **over, twin_key=b"1"),
            url(1, twin_key=b"1"),
            url(2, **running, twin_key=b"2"),
            url(2, "twin", twin_key=b"2"),
            url(2, "twin", twin_key=b"2", name="mine"),
        ],
        steps=fetches,
    )
    folder.file("file_twin", "x", job_pk=4, item_pk=first, position=0)
    folder.db.execute(
        "UPDATE items SET twin_of = ? WHERE pk IN (?, ?)", (first, first + 1, first + 2)
    )
    folder.db.execute(
        "UPDATE items SET twin_of = ? WHERE pk IN (?, ?)", (other, other + 1, other + 2)
    )
    joined = {"steps": json.dumps([SHRINK, PACK]), "join_at": 1}
    join = {"joins": 1, "name": "", "lane": "join"}
    [made, *_] = folder.job("job_join_held", [upload(**over), upload(), join], **joined)
    folder.file("file_held", "part", job_pk=5, item_pk=made, position=0)
    [made, *_] = folder.job("job_join_ready", [upload(**over), join], **joined)
    folder.file("file_ready", "part", job_pk=6, item_pk=made, position=0)
    gone = {"status": "canceled"}
    folder.job(
        "job_canceling",
        [url(0, **gone), *(url(n, "paced") for n in range(1, 5))],
        steps=fetches,
        pace=1,
        canceling=1,
        webhook=json.dumps(HOOK | {"secret": None}),
    )


def _hidden(folder: Folder) -> None:
    hidden = {"client": HIDDEN, "finished_ms": folder.now_ms, "expires_ms": None}
    lines = [url(n, "paced") for n in range(3)]
    folder.job("receiving_1", lines, **hidden, status="receiving")
    [item, *_] = folder.job("deleted_job_a", [upload("a")], **hidden, status="dropping")
    folder.delivery("msg_a", job_id="job_a", due_ms=folder.now_ms)
    [item] = folder.job("dropping_job_b", [{"status": "succeeded"}], **hidden, status="dropping")
    folder.delivery("msg_b", job_id="job_b", due_ms=folder.now_ms)
    folder.delivery(
        "msg_push", kind="push", job_id="job_b", item_pk=item, status="dead", event=None
    )


def many(path: Path, now_ms: int, items: int) -> None:
    """Write one job of so many URLs, half of them fetched."""
    folder = Folder(path, now_ms)
    with closing(folder.db) as db:
        db.execute("BEGIN")
        counts = {"queued": items - items // 2, "succeeded": items // 2}
        folder.job(
            "job_many", [], steps="[]", pace=100, finished_ms=None, expires_ms=None, **counts
        )
        db.executemany(
            "INSERT INTO items (job_pk, idx, status, seq, lane, priority, name, url, facts) "
            "VALUES (1, ?, ?, ?, 'paced', 0, '', ?, ?)",
            (
                (n, "succeeded" if n < items // 2 else "queued", n, f"http://o/{n}", "{}")
                for n in range(items)
            ),
        )
        db.execute("COMMIT")
