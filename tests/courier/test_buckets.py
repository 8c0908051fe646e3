"""Results on their way into buckets that the operator named."""

from __future__ import annotations

import hashlib
import secrets
import tracemalloc
from unittest.mock import patch

import obstore
import pytest

from app.model.deliveries import DeliveryStatus, PutTarget
from tests.courier.conftest import deliver
from tests.courier.test_push import BIG, pushed
from tests.outbound.test_remotes import options, remote
from tests.s3 import bucket_of, shared_s3, storage

pytestmark = pytest.mark.anyio

PLACE = f"s3://tests/{secrets.token_hex(8)}"
WRONG = {"secret_access_key": "not-the-secret"}


def remotes(**more):
    return {"media": remote(shared_s3(), PLACE, **more)}


def stored():
    bucket = bucket_of(storage(shared_s3(), PLACE))
    before = f"{PLACE.rsplit('/', 1)[1]}/"
    listed = [meta for page in obstore.list(bucket) for meta in page]
    paths = {meta["path"].removeprefix(before): meta["e_tag"] for meta in listed}
    return {at: (etag, bytes(obstore.get(bucket, at).bytes())) for at, etag in paths.items()}


async def one_push(house, template, content=b"result", each=("r.bin",)):
    job = await house.job("", store=PutTarget(f"{PLACE}/{template}", remote="media"))
    await house.end(content, each=each)
    return job


@pytest.mark.parametrize("content", [b"", b"{}", BIG], ids=["empty", "small", "large"])
async def test_a_result_is_put_whole_with_its_type_and_told_of(house, content):
    courier = await house.courier(remotes=remotes())
    job = await one_push(house, "whole/{job}-{index}-é %20{name}", content)
    await deliver(courier)
    key = f"whole/{job.id}-0-é %20r.bin"
    etag, put = stored()[key]
    assert put == content
    [push] = await pushed(house, job)
    assert (push.status, push.attempts, push.problem) == ("delivered", 1, None)
    assert (push.url, push.etag, push.size_bytes) == (f"{PLACE}/{key}", etag, len(content))
    assert etag.strip('"') == hashlib.md5(content).hexdigest()
    got = obstore.get(bucket_of(storage(shared_s3(), PLACE)), key)
    items, _ = await house.store.list_items(job.id)
    assert got.attributes["Content-Type"] == items[0].results[0].blob.media_type


async def test_a_large_result_is_not_held_in_memory(house):
    courier = await house.courier(remotes=remotes())
    await one_push(house, "flat", BIG)
    tracemalloc.start()
    try:
        await deliver(courier)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored()["flat"][1] == BIG
    assert peak_bytes < 6 << 20


async def test_each_result_is_put_and_no_other_written_over(house):
    courier = await house.courier(remotes=remotes())
    names = ("a/x.txt", "b/x.txt", "y" * 1100)
    job = await one_push(house, "each/{name}", each=names)
    await deliver(courier)
    first, second, third = await pushed(house, job)
    assert first.status is DeliveryStatus.DELIVERED
    for push in (second, third):
        assert (push.status, push.problem.code, push.attempts) == ("dead", "delivery.key", 0)
    items, _ = await house.store.list_items(job.id)
    assert items[0].pushed.status is DeliveryStatus.DEAD
    assert [path for path in stored() if path.startswith("each/")] == ["each/x.txt"]
    job = await one_push(house, "each/{result}-{name}", each=names[:2])
    await deliver(courier)
    assert {"each/0-x.txt", "each/1-x.txt"} <= stored().keys()


async def test_what_the_operator_mends_is_put_later(house):
    broken = remotes(options=options(shared_s3(), **WRONG))
    job = await one_push(house, "mended")
    await deliver(await house.courier(remotes=broken))
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code, push.etag) == ("pending", "delivery.status", None)
    assert push.problem.extra["http_status"] == 403
    assert "X-Amz" not in repr(push)
    assert "not-the-secret" not in repr(push)
    house.clock.move(10)
    await deliver(await house.courier(remotes=remotes()))
    [push] = await pushed(house, job)
    assert (push.status, push.attempts) == ("delivered", 2)


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"media": {"url": "s3://elsewhere"}},
        {"media": {"url": PLACE, "clients": ["bank"]}},
    ],
    ids=["none", "another", "not for this client"],
)
async def test_a_remote_that_is_no_more_ends_it(house, named):
    courier = await house.courier(remotes=named)
    job = await one_push(house, "ended")
    await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code) == ("dead", "fetch.remote")
    items, _ = await house.store.list_items(job.id)
    assert items[0].results  # it stays here


async def test_the_guard_stands_before_a_bucket_too(house):
    closed = remotes(allow_networks=[])
    courier = await house.courier(remotes=closed, fetch={"allow_networks": ""})
    job = await one_push(house, "closed")
    await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code) == ("dead", "fetch.forbidden")


async def test_what_no_bucket_takes_is_told(house):
    courier = await house.courier(remotes=remotes())
    job = await one_push(house, "large")
    with patch("app.outbound.attempt.MAX_OBJECT_BYTES", 5):
        await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code) == ("dead", "delivery.too_large")


async def test_a_bucket_that_gets_other_bytes_refuses_them(house):
    courier = await house.courier(remotes=remotes())
    job = await one_push(house, "damaged", BIG)
    with patch("app.outbound.attempt._md5", lambda _: "XUFAKrxLKna5cZ2REBfFkg=="):
        await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.extra["http_status"]) == ("pending", 400)
    assert "damaged" not in stored()
