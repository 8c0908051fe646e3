"""Results on their way to presigned URLs."""

from __future__ import annotations

import base64
import hashlib
import tracemalloc

import pytest

from app.model.deliveries import DeliveryStatus, PutTarget
from tests.courier.conftest import at_work, deliver

pytestmark = pytest.mark.anyio

BIG = bytes(range(256)) * (24 << 12)  # 24 MiB


async def pushed(house, job):
    items, _ = await house.store.list_items(job.id)
    return [push for item in items for push in item.pushed.pushes]


async def one_push(house, url, content=b"result", **headers):
    job = await house.job("", store=PutTarget(url, headers))
    await house.end(content)
    return job


@pytest.mark.parametrize("content", [b"", b"{}", BIG], ids=["empty", "small", "large"])
async def test_a_result_is_put_whole_with_its_type_length_and_digest(house, receiver, content):
    courier = await house.courier()
    job = await one_push(house, f"{receiver.url}/ok?X-Amz-Signature=a%2Fb~c%20d", content)
    await deliver(courier)
    [one] = receiver.received
    assert (one.method, one.path) == ("PUT", "/ok?X-Amz-Signature=a%2Fb~c%20d")
    assert one.body == content
    assert one.headers["content-length"] == str(len(content))
    assert "transfer-encoding" not in one.headers
    items, _ = await house.store.list_items(job.id)
    [result] = items[0].results
    assert one.headers["content-type"] == result.blob.media_type
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert one.headers["repr-digest"] == f"sha-256=:{digest}:"
    # Stores refuse headers of their own that were not signed.
    assert not [name for name in one.headers if name.startswith(("x-amz", "x-goog", "x-ms"))]
    [push] = await pushed(house, job)
    assert (push.status, push.attempts, push.problem) == ("delivered", 1, None)


async def test_a_large_result_is_not_held_in_memory(house, receiver):
    courier = await house.courier()
    await one_push(house, f"{receiver.url}/unread", BIG)
    tracemalloc.start()
    try:
        await deliver(courier)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6 << 20


async def test_headers_that_were_signed_go_with_it(house, receiver):
    courier = await house.courier()
    headers = {"x-amz-acl": "private", "Content-Type": "application/x-mine"}
    await one_push(house, f"{receiver.url}/ok", **headers)
    await deliver(courier)
    [one] = receiver.received
    assert one.headers["x-amz-acl"] == "private"
    assert one.headers["content-type"] == "application/x-mine"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("204", "delivered", None),
        ("cut", "delivered", None),
        ("status/403", "dead", "delivery.status"),
        ("status/404", "dead", "delivery.status"),
        ("status/410", "dead", "delivery.gone"),
        ("status/500", "pending", "delivery.status"),
        ("status/503", "pending", "delivery.status"),
        ("status/429", "pending", "delivery.status"),
        ("redirect/307", "pending", "delivery.status"),
        ("close", "pending", "fetch.connect"),
        ("reset", "pending", "fetch.connect"),
        ("garbage", "pending", "fetch.protocol"),
    ],
)
async def test_what_counts_as_put(house, receiver, path, status, code):
    courier = await house.courier()
    job = await one_push(house, f"{receiver.url}/{path}")
    await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.attempts) == (status, 1)
    assert (push.problem and push.problem.code) == code
    assert receiver.to("/ok") == []


async def test_a_store_that_reads_nothing_and_says_why_is_heard_or_tried_again(house, receiver):
    courier = await house.courier()
    job = await one_push(house, f"{receiver.url}/unread", BIG)
    await deliver(courier)
    [push] = await pushed(house, job)
    # Its answer may be lost with the connection that it closes; nobody may call it a success.
    assert push.problem.code in ("delivery.status", "fetch.connect")
    assert push.status in (DeliveryStatus.DEAD, DeliveryStatus.PENDING)


async def test_a_store_that_never_answers_is_cut_off(house, receiver):
    courier = await house.courier(push_timeout_s=0.3)
    job = await one_push(house, f"{receiver.url}/stall")
    await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code) == ("pending", "fetch.timeout")


async def test_a_store_that_recovers_gets_the_same_bytes(house, receiver):
    courier = await house.courier()
    job = await one_push(house, f"{receiver.url}/flaky/2", b"the same")
    for _ in range(4):
        await deliver(courier)
        house.clock.move(400)
    assert [one.body for one in receiver.received] == [b"the same"] * 3
    [push] = await pushed(house, job)
    assert (push.status, push.attempts) == ("delivered", 3)


async def test_no_result_goes_where_no_fetch_may_go(house, receiver):
    courier = await house.courier(fetch={"allow_networks": ""}, allow_networks="127.0.0.0/8")
    job = await one_push(house, f"{receiver.url}/ok")
    await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code) == ("dead", "fetch.forbidden")
    assert receiver.connections == 0


@pytest.mark.parametrize("what", ["record", "bytes"])
async def test_a_result_that_is_gone_cannot_be_put(house, receiver, what):
    courier = await house.courier()
    job = await one_push(house, f"{receiver.url}/ok")
    items, _ = await house.store.list_items(job.id)
    [result] = items[0].results
    if what == "record":
        await house.store.delete_file(result.id)
    else:
        assert await house.blobs.delete(result.blob.key)
    await deliver(courier)
    [push] = await pushed(house, job)
    assert (push.status, push.problem.code) == ("dead", "storage.missing")
    assert receiver.received == []


async def test_what_was_being_put_when_the_service_died_is_put_again(house, receiver):
    job = await one_push(house, f"{receiver.url}/ok")
    [route] = await house.outbox.due([], None)
    await house.outbox.claim([route.key])
    assert (await pushed(house, job))[0].status is DeliveryStatus.SENDING
    await house.outbox.recover()
    async with at_work(await house.courier()):
        await receiver.wait_for(1)
    await house.outbox.recover()
    await deliver(await house.courier())
    assert (await pushed(house, job))[0].status is DeliveryStatus.DELIVERED
    assert {one.body for one in receiver.received} == {b"result"}
