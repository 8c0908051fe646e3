"""Items that ask for the same URL as one before them: they end as it does, and with it.

A follower is never queued. Very many of them are a matter of bites: what is left of them once the
item is over is written down to be gone on with.
"""

from __future__ import annotations

import json
from typing import Any

from app.model.blobs import Blob, NamedBlob
from app.model.jobs import ItemStatus
from app.ops.text_types import Word, called
from app.records import events, files, rows
from app.records.held import Job
from app.stores.base import FEW, Row, Tx

BITE_ITEMS = 500
AT_ONCE = FEW
"""Followers that end in the transaction that ends their leader, which may be one on the loop."""
NAMELESS = "download"
"""What a URL's content is called that nobody has named."""


def named(blob: Blob, own: str | None, told: dict[str, Any]) -> NamedBlob:
    """Give fetched content its name and, by what it is called, its type.

    Args:
        blob: what was fetched, typed by its content.
        own: the name that the client gave the URL, if it did.
        told: the facts of the fetch: what the origin calls it.
    """
    origin = Word(told["name"], told["claimed_media_type"])
    media_type = called(told["media_type"], Word(own or None, own=True), origin)
    typed = Blob(blob.key, blob.size_bytes, media_type, blob.digest, blob.value)
    return NamedBlob(typed, own or told["name"] or NAMELESS)


def follow(tx: Tx, job: Job, leader: int, most: int) -> bool:
    """End up to `most` of the items that wait for one that is over; True if there may be more."""
    found = tx.run("followers", pk=leader, limit=most)
    first = tx.run("twin", pk=leader) if found else []
    if not first:  # or it runs again already, and they wait again
        return False
    _end(tx, job, first[0], found)
    return len(found) == most


def _end(tx: Tx, job: Job, first: Row, followers: list[Row]) -> None:
    now_ms, facts = tx.now(), rows.load(first["facts"])
    if "fetch" in facts and first["status"] == ItemStatus.SUCCEEDED:
        facts["fetch"]["deduped"] = True
    job["queued"] -= len(followers)
    job[first["status"]] += len(followers)
    common = {name: first[name] for name in ("status", "refused", "problem")}
    common |= {"facts": rows.dump(facts), "now_ms": now_ms, "started_ms": now_ms}
    tx.many(
        "end_item",
        [common | {"pk": item["pk"], "seq": job["seq"], "attempt": 0} for item in followers],
    )
    results = tx.run("results_of", item_pks=tx.array([first["pk"]]))
    new: list[dict[str, Any]] = []
    code = json.loads(first["problem"])["code"] if first["problem"] else None
    for item in followers:
        names = []
        for result in results:
            source = _result(job, result, item["name"], facts)
            names.append(source.name)
            place = {"job_key": job["pk"], "item_key": item["pk"]}
            position = result["position"]
            new.append(files.row(job["client"], source, now_ms, **place, position=position))
        events.item_ended(tx, job, item["idx"], code)
        if item["store"] is not None and code is None:
            events.result_ready(tx, job, item["pk"], item["idx"], item["store"], names)
    tx.many("insert_file", new)


def _result(job: Job, result: Row, own: str, facts: dict[str, Any]) -> NamedBlob:
    """Give a follower's result: what was only fetched has the name that its own item says."""
    blob = rows.blob(result)
    assert blob is not None  # noqa: S101 - NOT NULL
    if rows.recipe(job).before:
        return NamedBlob(blob, result["name"])
    return named(blob, own, facts["fetch"])
