"""Events on their way to endpoints of every kind."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Verifier

from app.errors import StorageFull
from app.model.deliveries import DeliveryStatus, Webhook
from app.model.marks import Marks
from app.records import outbox
from app.work.loop import POLL_EVERY_S
from tests.courier.conftest import EVENTS, SECRET, at_work, deliver, under_way
from tests.outbound.receiver import Receiver

pytestmark = pytest.mark.anyio

OWN = "whsec_" + base64.b64encode(b"of-the-job" * 3).decode()
OLD = "whsec_" + base64.b64encode(b"old" * 10).decode()


async def test_the_real_library_verifies_what_arrives(house, receiver):
    house.clock.now = datetime.now(UTC)
    courier = await house.courier(secrets=f"{SECRET},{OLD}", base_url="https://offload.test")
    job = await house.job(
        f"{receiver.url}/ok?t=1", marks=Marks(tag="spring", metadata={"größe": [1, "ü"]})
    )
    await house.end()
    own = await house.ended(f"{receiver.url}/ok", secret=OWN)
    await deliver(courier)
    first, second = receiver.received
    assert (first.method, first.path) == ("POST", "/ok?t=1")
    assert first.headers["content-type"] == "application/json"
    for secret in (SECRET, OLD):
        told = Verifier(secret).verify(first.body, first.headers)
    [delivery] = await house.deliveries(job)
    assert first.headers["webhook-id"] == delivery.id
    assert told["type"] == "job.succeeded"
    assert datetime.fromisoformat(told["timestamp"]) <= datetime.now(UTC)
    assert told["data"] == {
        "job_id": job.id,
        "status": "succeeded",
        "counts": {"total": 1, "succeeded": 1, "failed": 0, "canceled": 0},
        "tag": "spring",
        "metadata": {"größe": [1, "ü"]},
        "links": {
            "job": f"https://offload.test/v1/jobs/{job.id}",
            "items": f"https://offload.test/v1/jobs/{job.id}/items",
        },
    }
    # A job's own secret is the only one that signs for it.
    assert Verifier(OWN).verify(second.body, second.headers)["data"]["job_id"] == own.job_id
    assert " " not in second.headers["webhook-signature"]


async def test_the_largest_body_is_under_20_kb(house, receiver):
    courier = await house.courier(base_url="https://" + "o" * 200 + ".test")
    metadata = {"a": "", "ü" * 100: "\x00" * 10, "x": "€" * 2000}
    metadata["a"] = "y" * (16 * 1024 - len(json.dumps(metadata)))
    assert len(json.dumps(metadata)) == 16 * 1024
    await house.job(f"{receiver.url}/ok", marks=Marks(metadata=metadata, tag="\U0001f600" * 100))
    await house.end()
    await deliver(courier)
    assert len(receiver.received[0].body) < 20_000


async def test_ten_attempts_over_three_days_with_the_same_id_and_bytes(house, receiver, offsets):
    courier = await house.courier()
    delivery = await house.ended(f"{receiver.url}/status/500")
    for _ in range(10):
        await deliver(courier)
        due_at = (await house.now(delivery)).due_at
        if due_at is not None:
            # Not a moment sooner.
            house.clock.move((due_at - house.clock.now).total_seconds() - 0.001)
            await deliver(courier)
            house.clock.move(0.001)
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert len({one.headers["webhook-signature"] for one in receiver.received}) == 10
    expected = [0, 5, 305, 2105, 9305, 27_305, 63_305, 113_705, 185_705, 272_105]
    assert offsets() == pytest.approx(expected, abs=20)
    found = await house.now(delivery)
    assert found.status is DeliveryStatus.DEAD
    assert (found.problem.code, len(found.attempts)) == ("delivery.exhausted", 10)
    assert {(a.http_status, a.answer) for a in found.attempts} == {(500, "no: 500")}
    house.clock.move(1e7)
    await deliver(courier)
    assert len(receiver.received) == 10


async def test_a_receiver_that_recovers_gets_it_once_more_and_no_more(house, receiver):
    courier = await house.courier()
    delivery = await house.ended(f"{receiver.url}/flaky/3")
    for wait_s in (5, 300, 1800, 7200, 18_000):
        await deliver(courier)
        house.clock.move(wait_s + 1)
    found = await house.now(delivery)
    assert found.status is DeliveryStatus.DELIVERED
    assert [a.http_status for a in found.attempts] == [500, 500, 500, 200]
    assert len(receiver.received) == 4


@pytest.mark.parametrize(
    ("path", "status", "http_status", "code", "answer"),
    [
        ("ok", "delivered", 200, None, "thanks"),
        ("204", "delivered", 204, None, ""),
        ("status/299", "delivered", 299, None, "no: 299"),
        ("huge", "delivered", 200, None, "x" * 512),
        ("binary", "delivered", 200, None, "\ufffd\ufffd\ufffd[31mred"),
        ("cut", "delivered", 200, None, "some"),
        ("cut/500", "pending", 500, "delivery.status", "some"),
        ("status/404", "pending", 404, "delivery.status", "no: 404"),
        ("status/401", "pending", 401, "delivery.status", "no: 401"),
        ("redirect", "pending", 302, "delivery.status", ""),
        ("redirect/307", "pending", 307, "delivery.status", ""),
        ("redirect-badly", "pending", 302, "delivery.status", ""),
        ("unread", "pending", 413, "delivery.status", "too much"),
        ("close", "pending", None, "fetch.connect", ""),
        ("reset", "pending", None, "fetch.connect", ""),
        ("garbage", "pending", None, "fetch.protocol", ""),
        ("status/410", "dead", 410, "delivery.gone", "no: 410"),
    ],
)  # fmt: skip
async def test_what_counts_as_delivered(house, receiver, path, status, http_status, code, answer):
    courier = await house.courier()
    delivery = await house.ended(f"{receiver.url}/{path}")
    await deliver(courier)
    found = await house.now(delivery)
    [attempt] = found.attempts
    assert found.status == status, attempt
    assert (attempt.http_status, attempt.problem and attempt.problem.code) == (http_status, code)
    assert attempt.answer == answer
    assert attempt.elapsed_ms < 5000
    assert "s3cret" not in str(attempt)
    assert receiver.to("/ok") == ([] if path != "ok" else receiver.received)


@pytest.mark.parametrize("path", ["stall", "drip-headers"])
async def test_an_endpoint_that_never_answers_is_cut_off(house, receiver, path):
    courier = await house.courier(timeout_s=0.2)
    delivery = await house.ended(f"{receiver.url}/{path}")
    await deliver(courier)
    found = await house.now(delivery)
    [attempt] = found.attempts
    assert (attempt.http_status, attempt.problem.code) == (None, "fetch.timeout")
    assert 200 <= attempt.elapsed_ms < 2000


async def test_the_body_of_an_answer_is_not_waited_for(house, receiver, monkeypatch):
    monkeypatch.setattr("app.outbound.attempt.ANSWER_S", 0.1)
    courier = await house.courier()
    delivery = await house.ended(f"{receiver.url}/stall-in-body")
    await deliver(courier)
    found = await house.now(delivery)
    assert (found.status, found.attempts[0].answer) == ("delivered", "so")


async def test_nobody_listening_is_a_failed_attempt(house):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        courier = await house.courier()
        delivery = await house.ended(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        await deliver(courier)
    found = await house.now(delivery)
    assert (found.status, found.attempts[0].problem.code) == ("pending", "fetch.connect")


async def test_no_event_goes_where_no_fetch_may_go(house, receiver):
    async def rebinding(host):
        return ["127.0.0.1" if host == "inside.test" else "169.254.169.254"]

    courier = await house.courier(fetch={"allow_networks": ""}, lookup=rebinding)
    urls = [f"{receiver.url}/ok", "http://inside.test/", "http://meta.test/", "http://[::1]/"]
    deliveries = [await house.ended(url) for url in urls]
    await deliver(courier)
    for delivery in deliveries:
        found = await house.now(delivery)
        assert (found.status, found.problem.code) == ("dead", "fetch.forbidden")
        # Which rule, and what a name resolves to, is the log's.
        assert "127.0.0.1" not in found.problem.detail
        assert "169.254" not in found.problem.detail
    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("asked", "cap_s", "waited_s"),
    [("60", 86_400, 60), ("1", 86_400, 5), ("9999", 600, 600), ("past", 86_400, 5)],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_time_gets_it(
    house, receiver, status, asked, cap_s, waited_s
):
    courier = await house.courier(retry_after_cap_s=cap_s)
    delivery = await house.ended(f"{receiver.url}/busy/{status}/{asked}")
    await deliver(courier)
    due_at = (await house.now(delivery)).due_at
    assert (due_at - house.clock.now).total_seconds() == pytest.approx(waited_s, abs=2)


async def test_while_it_wants_time_it_gets_nothing_else_either(house, receiver):
    courier = await house.courier(per_endpoint_concurrency=1)
    busy = f"{receiver.url}/busy/429/60"
    for url in (busy, busy, f"{receiver.url}/ok"):
        await house.job(url)
        await house.end()
    await deliver(courier)
    assert [one.path for one in receiver.received] == ["/busy/429/60", "/ok"]
    house.clock.move(59)
    await deliver(courier)
    assert len(receiver.received) == 2
    house.clock.move(3)
    await deliver(courier)
    assert len(receiver.to("/busy/429/60")) == 2  # the first again, and it asks for time again
    house.clock.move(120)
    await deliver(courier)
    assert len(receiver.to("/busy/429/60")) == 3


# -- who answers 410 ---------------------------------------------------------------------------


async def test_an_endpoint_that_is_gone_is_left_alone_by_that_job_only(house, receiver):
    courier = await house.courier()
    asked = frozenset({"item.succeeded", "job.succeeded"})
    url = f"{receiver.url}/status/410"
    job = await house.job(url, items=3, events=asked)
    await house.end()
    await deliver(courier)
    await house.end(b"a", b"b")
    await deliver(courier)
    assert len(receiver.received) == 1
    assert {d.status for d in await house.deliveries(job)} == {DeliveryStatus.DEAD}
    assert {d.problem.code for d in await house.deliveries(job)} == {"delivery.gone"}
    await house.ended(url)
    await deliver(courier)
    assert len(receiver.received) == 2


async def test_the_operators_endpoint_is_left_alone_until_it_takes_something_again(house, receiver):
    courier = await house.courier(url=f"{receiver.url}/opens")
    first = await house.ended(None)
    await deliver(courier)
    second = await house.ended(None)
    await deliver(courier)
    assert len(receiver.received) == 1
    assert (await house.now(second)).problem.code == "delivery.gone"
    assert (await house.now(second)).attempts == ()
    await house.outbox.replay(first.id)
    await deliver(courier)
    assert (await house.now(first)).status is DeliveryStatus.DELIVERED
    third = await house.ended(None)
    await deliver(courier)
    assert (await house.now(third)).status is DeliveryStatus.DELIVERED
    assert [one.headers["webhook-id"] for one in receiver.received] == [
        first.id,
        first.id,
        third.id,
    ]


async def test_a_new_service_tries_the_operators_endpoint_again(house, receiver):
    url = f"{receiver.url}/opens"
    await house.ended(None)
    await deliver(await house.courier(url=url))
    delivery = await house.ended(None)
    await deliver(await house.courier(url=url))
    assert (await house.now(delivery)).status is DeliveryStatus.DELIVERED


# -- the operator's endpoint -------------------------------------------------------------------


async def test_what_the_operator_takes_away_is_told_no_more(house, receiver):
    delivery = await house.ended(None)
    await deliver(await house.courier())
    assert (await house.now(delivery)).problem.code == "delivery.endpoint"
    unsigned = await house.ended(f"{receiver.url}/ok")
    await deliver(await house.courier(secrets=()))
    assert (await house.now(unsigned)).problem.code == "delivery.endpoint"
    assert receiver.received == []


async def test_the_operators_networks_are_opened_to_his_endpoint_only(house, receiver):
    courier = await house.courier(
        url=f"{receiver.url}/ok",
        allow_networks="127.0.0.1/32",
        fetch={"allow_networks": ""},
        started=True,
    )
    assert courier.alive
    mine, theirs = await house.ended(None), await house.ended(f"{receiver.url}/ok")
    done = [await house.outbox.ended(delivery.id, 20) for delivery in (mine, theirs)]
    assert [delivery.status for delivery in done] == ["delivered", "dead"]
    assert done[1].problem.code == "fetch.forbidden"


# -- who waits for whom ------------------------------------------------------------------------


async def test_a_slow_receiver_holds_up_no_other(house, receiver):
    await house.courier(started=True)
    jobs = [await house.job(f"{receiver.url}/held") for _ in range(30)]
    quick = await house.job(f"{receiver.url}/ok")
    await house.end(*[b"r"] * 31)
    async with Receiver() as other:
        elsewhere = await house.job(f"{other.url}/ok")
        await house.end()
        [there] = await house.deliveries(elsewhere)
        found = await house.outbox.ended(there.id, 20)
        assert found.status is DeliveryStatus.DELIVERED
    assert len(receiver.to("/held")) == receiver.most_under_way == 4
    receiver.hold.set()
    for job in (*jobs, quick):
        [delivery] = await house.deliveries(job)
        found = await house.outbox.ended(delivery.id, 20)
        assert found.status is DeliveryStatus.DELIVERED
    # Proven by then, it got more at once, and never more than it may.
    assert receiver.most_under_way <= 16


async def test_a_slow_path_holds_up_no_other_path_of_a_proven_host(house, receiver):
    await house.courier(started=True, per_endpoint_concurrency=3)
    first = await house.ended(f"{receiver.url}/ok")
    await house.outbox.ended(first.id, 20)
    for _ in range(10):
        await house.job(f"{receiver.url}/held")
    await house.end(*[b"r"] * 10)
    await receiver.wait_for(1 + 3)
    delivery = await house.ended(f"{receiver.url}/ok")
    found = await house.outbox.ended(delivery.id, 20)
    assert found.status is DeliveryStatus.DELIVERED
    assert len(receiver.to("/held")) == 3


async def test_a_hundred_dead_receivers_hold_up_none_that_lives(house):
    async with Receiver("0.0.0.0") as server:
        await house.courier(started=True, concurrency=16)
        alive = f"{server.url}/ok"
        await house.outbox.ended((await house.ended(alive)).id, 20)
        # One host each: 127.0.0.2, 127.0.0.3 and so on; none of them ever answers.
        dead = [f"http://127.0.0.{n}:{server.port}/stall" for n in range(2, 102)]
        for url in dead:
            await house.job(url)
        await house.end(*[b"r"] * 100)
        await server.wait_for(1 + 8)
        for _ in range(20):
            found = await house.outbox.ended((await house.ended(alive)).id, 20)
            assert found.status is DeliveryStatus.DELIVERED
        # Half of the slots, and not one more, wait for the dead.
        assert len(server.to("/stall")) == 8


# -- starting, stopping, failing ---------------------------------------------------------------


async def test_an_event_goes_out_at_once(house, receiver):
    courier = await house.courier(started=True)
    delivery = await house.ended(f"{receiver.url}/ok")
    assert (await house.outbox.ended(delivery.id, 20)).status is DeliveryStatus.DELIVERED
    assert courier.alive


async def test_what_becomes_due_later_goes_out_then(house, receiver):
    courier = await house.courier(started=True)
    delivery = await house.ended(f"{receiver.url}/flaky/1")
    await receiver.wait_for(1)
    await under_way(courier)
    house.clock.move(6)
    courier.wake()
    assert (await house.outbox.ended(delivery.id, 20)).status is DeliveryStatus.DELIVERED


async def test_a_courier_waits_for_as_long_as_nothing_is_due(house, receiver):
    courier = await house.courier()
    assert await courier._idle_s() == POLL_EVERY_S
    await house.ended(f"{receiver.url}/status/500")
    await deliver(courier)
    assert await courier._idle_s() == POLL_EVERY_S
    house.clock.move(4.9)
    assert 0 < await courier._idle_s() < POLL_EVERY_S


async def test_a_courier_that_is_told_to_stop_gives_back_what_it_has_in_hand(house, receiver):
    delivery = await house.ended(f"{receiver.url}/held")
    courier = await house.courier()
    async with at_work(courier):
        await receiver.wait_for(1)
    assert not courier.alive
    found = await house.now(delivery)
    assert (found.status, found.attempts) == ("pending", ())
    receiver.hold.set()
    await deliver(await house.courier())
    assert (await house.now(delivery)).status is DeliveryStatus.DELIVERED
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1


async def test_a_courier_that_is_told_to_stop_lets_attempts_finish_for_a_while(house, receiver):
    delivery = await house.ended(f"{receiver.url}/held")
    async with at_work(await house.courier(), drain_timeout_s=20):
        await receiver.wait_for(1)
        asyncio.get_running_loop().call_later(0.05, receiver.hold.set)
    assert (await house.now(delivery)).status is DeliveryStatus.DELIVERED


async def test_what_a_dead_service_was_sending_is_sent_again(house, receiver):
    delivery = await house.ended(f"{receiver.url}/ok")
    [route] = await house.outbox.due([], None)
    assert await house.outbox.claim([route.key])
    await house.store.recover()
    await house.courier(started=True)
    assert (await house.outbox.ended(delivery.id, 20)).status is DeliveryStatus.DELIVERED


class Failing:
    """A database whose disk is full for the first so many calls of one rule."""

    def __init__(self, inner, on, times):
        self._inner, self._on, self.left = inner, on, times

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def write(self, rule, *args):
        return await self._judged(self._inner.write, rule, args)

    note = write

    async def read(self, rule, *args):
        return await self._judged(self._inner.read, rule, args)

    async def _judged(self, run, rule, args):
        if rule is self._on and self.left > 0:
            self.left -= 1
            raise StorageFull("The disk is full.")
        return await run(rule, *args)


@pytest.mark.parametrize("rule", [outbox.due, outbox.take, outbox.settle, outbox.next_due_at])
async def test_a_full_disk_loses_no_event(house, receiver, rule, monkeypatch):
    monkeypatch.setattr("app.work.loop.RETRY_S", 0.01)
    failing = Failing(house.store.db, rule, 3)
    await house.courier(database=failing, started=True)
    delivery = await house.ended(f"{receiver.url}/ok")
    found = await house.outbox.ended(delivery.id, 20)
    assert found.status is DeliveryStatus.DELIVERED
    assert len(receiver.received) == 1
    assert failing.left < 3


async def test_a_bug_is_one_failed_attempt(house, receiver, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    courier = await house.courier()
    delivery = await house.ended(f"{receiver.url}/ok")
    monkeypatch.setattr("app.outbound.webhooks.message", broken)
    await deliver(courier)
    found = await house.now(delivery)
    assert (found.status, found.attempts[0].problem.code) == ("pending", "internal.error")
    monkeypatch.undo()
    house.clock.move(6)
    await deliver(courier)
    assert (await house.now(delivery)).status is DeliveryStatus.DELIVERED


async def test_old_records_go(house, receiver):
    await house.courier(started=True)
    delivery = await house.ended(f"{receiver.url}/ok")
    await house.outbox.ended(delivery.id, 20)
    house.clock.move(3601)
    await house.outbox.purge(3600)
    assert await house.outbox.get(delivery.id) is None


# -- asked for ---------------------------------------------------------------------------------


async def test_a_replay_has_a_whole_schedule_before_it(house, receiver):
    courier = await house.courier()
    delivery = await house.ended(f"{receiver.url}/flaky/12")
    for _ in range(10):
        await deliver(courier)
        house.clock.move(90_000 * 1.1)
    assert (await house.now(delivery)).status is DeliveryStatus.DEAD
    await house.outbox.replay(delivery.id)
    for _ in range(3):
        await deliver(courier)
        house.clock.move(90_000)
    found = await house.now(delivery)
    assert (found.status, len(found.attempts)) == (DeliveryStatus.DELIVERED, 13)


@pytest.mark.parametrize(("path", "status"), [("ok", "delivered"), ("status/500", "dead")])
async def test_a_test_is_one_attempt(house, receiver, path, status):
    house.clock.now = datetime.now(UTC)
    courier = await house.courier()
    made = await house.outbox.test("shop", Webhook(f"{receiver.url}/{path}", EVENTS, OWN))
    await deliver(courier)
    house.clock.move(timedelta(days=9).total_seconds())
    await deliver(courier)
    found = await house.now(made)
    assert (found.status, len(found.attempts)) == (status, 1)
    [one] = receiver.received
    assert Verifier(OWN).verify(one.body, one.headers)["type"] == "webhook.test"


# -- backlogs ----------------------------------------------------------------------------------


async def test_a_backlog_goes_out_whole_and_a_few_at_a_time(house, receiver):
    courier = await house.courier(per_endpoint_concurrency=2)
    job = await house.job(f"{receiver.url}/ok", items=60, events=frozenset({"item.succeeded"}))
    await house.end(*[b"r"] * 60)
    await deliver(courier)
    assert {d.status for d in await house.deliveries(job)} == {DeliveryStatus.DELIVERED}
    assert len(receiver.received) == 60
    assert receiver.most_under_way <= 2


async def test_a_search_that_is_not_cheap_is_not_made_all_the_time(house, receiver, monkeypatch):
    courier = await house.courier(started=True)
    delivery = await house.ended(f"{receiver.url}/ok")
    await house.outbox.ended(delivery.id, 20)
    monkeypatch.setattr("app.work.deliveries.LOOK_CHEAP_S", -1)
    monkeypatch.setattr("app.work.deliveries.LOOK_SHARE", 1e-3)
    delivery = await house.ended(f"{receiver.url}/ok")
    await house.outbox.ended(delivery.id, 20)
    assert await courier._look() == []
    assert 0 < await courier._idle_s() <= 5
    courier._look_at = 0.0
    later = await house.ended(f"{receiver.url}/ok")
    assert (await house.outbox.ended(later.id, 20)).status is DeliveryStatus.DELIVERED
