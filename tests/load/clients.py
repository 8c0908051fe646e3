"""Clients that know what they were promised, and go on with it whenever the service is back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.load.orders import Order, Orders, Want, said, stored_text
from tests.load.world import Told, World

CLIENTS = 6
STORED_FILES = 4
DONE_WITHIN_S = 120
PROBLEM = "application/problem+json"
REFUSALS = {503: "storage.unavailable", 507: "storage.full"}
"""What a request may be answered with while writes fail."""


class RefusedError(Exception):
    """It cannot be done now; later it can."""


class Clients:
    """Some clients of one service, with a ledger of all that was asked and acknowledged."""

    def __init__(self, world: World, seed: str, *, writes_fail: bool = False) -> None:
        """With `writes_fail`, take `storage.*` for an answer, and ask again later."""
        self.ledger: list[Order] = []
        self.refusals: Counter[str] = Counter()
        """How often a request or an item was refused with which code."""
        self._world = world
        self._seed = seed
        self._writes_fail = writes_fail
        self._lock = threading.Lock()
        self._orders: Orders
        self._file_ids: list[str] = []

    def store_files(self, url: str) -> None:
        """Store what some orders will name; call once, while nothing fails."""
        with self._client(url) as client:
            for number in range(STORED_FILES):
                stored = client.post("/v1/files", content=stored_text(number))
                assert stored.status_code == 201, stored.text
                self._file_ids.append(stored.json()["id"])
        self._orders = Orders(self._seed, self._world, self._file_ids)

    def run(self, url: Callable[[], str], new: int) -> None:
        """Go on with what is unfinished and ask for so many new things; ends with the service."""
        with self._lock:
            waiting = [order for order in self.ledger if not self._over(order)]
            made = [self._orders.next() for _ in range(new)]
            self.ledger += made
        self._each(url, [*waiting, *made], self._advance)

    def follow(self, url: Callable[[], str]) -> None:
        """Hear the event streams of some jobs to their end, or to that of the service."""
        self._each(url, [order for order in self.ledger if _is_followed(order)], self._hear)

    def _each(
        self,
        url: Callable[[], str],
        orders: Iterable[Order],
        work: Callable[[httpx.Client, Order], None],
    ) -> None:
        left = iter(list(orders))

        def client_() -> None:
            with self._client(url()) as client:
                while (order := self._next(left)) is not None:
                    try:
                        work(client, order)
                    except httpx.TransportError:
                        return  # it is gone, and everybody comes again when it is back
                    except RefusedError:
                        continue

        with ThreadPoolExecutor(CLIENTS) as threads:
            for running in [threads.submit(client_) for _ in range(CLIENTS)]:
                running.result()

    def _next(self, left: Any) -> Order | None:
        with self._lock:
            return next(left, None)

    def _client(self, url: str) -> httpx.Client:
        return httpx.Client(base_url=url, timeout=90)

    # -- one order ---------------------------------------------------------------------------

    def _over(self, order: Order) -> bool:
        return order.given_up or (order.acknowledged and order.followed)

    def _advance(self, client: httpx.Client, order: Order) -> None:
        """Get as far with an order as the service goes along."""
        if not order.acknowledged:
            self._submit(client, order)
        if not order.followed:
            {
                "nothing": lambda *_: None,
                "cancel": self._cancel,
                "retry": self._retry,
                "delete": self._delete,
            }[order.then](client, order)
            order.followed = True

    def _submit(self, client: httpx.Client, order: Order) -> None:
        again, order.sent = order.sent, True
        try:
            answer = self._ask(client, "POST", order.path, **order.request)
        except (httpx.TransportError, RefusedError):
            # Whoever sends no key cannot know whether it was heard.
            order.given_up = order.key is None
            raise
        # What it was heard of before may be done by now.
        assert answer.status_code == 202 or (again and answer.json()["done"]), answer.text
        order.job_id = answer.json()["id"]

    def _cancel(self, client: httpx.Client, order: Order) -> None:
        answer = self._ask(client, "POST", f"/v1/jobs/{order.job_id}/cancel")
        assert answer.status_code == 200, answer.text
        assert answer.json()["done"], answer.text

    def _delete(self, client: httpx.Client, order: Order) -> None:
        tried, order.tried = order.tried, True
        answer = self._ask(client, "DELETE", f"/v1/jobs/{order.job_id}")
        assert answer.status_code == 204 or (tried and answer.status_code == 404), answer.text

    def _retry(self, client: httpx.Client, order: Order) -> None:
        if not order.tried:
            job = self._ask(client, "GET", f"/v1/jobs/{order.job_id}?wait=5").json()
            if not job["done"]:
                raise RefusedError  # not yet: others go first
            assert job["counts"]["failed"], job
            assert order.flaky is not None
            self._world.heal(order.flaky)
        tried, order.tried = order.tried, True
        answer = self._ask(client, "POST", f"/v1/jobs/{order.job_id}/retry")
        assert answer.status_code == 202 or (tried and answer.status_code == 409), answer.text

    def _hear(self, client: httpx.Client, order: Order) -> None:
        after = {"Last-Event-ID": order.told[-1][0]} if order.told else {}
        heard, path = "", f"/v1/jobs/{order.job_id}/events"
        try:
            with client.stream("GET", path, headers=after) as stream:
                if stream.status_code >= 500:
                    stream.read()
                    self._check_refused("GET", path, stream)
                assert stream.status_code in (200, 204)
                for text in stream.iter_text():
                    heard += text
        finally:  # what came before it broke was told, and is not to be told again
            items = [(key, data) for key, name, data in said(heard) if name == "item"]
            order.told += [(str(key), data["index"]) for key, data in items]

    def done(self, client: httpx.Client, order: Order) -> dict[str, Any]:
        """Wait for a job's end, not for ever, and give the job."""
        for _ in range(DONE_WITHIN_S // 20):
            answer = self._ask(client, "GET", f"/v1/jobs/{order.job_id}?wait=20")
            assert answer.status_code == 200, (order.tag, answer.text)
            job: dict[str, Any] = answer.json()
            if job["done"]:
                return job
        raise AssertionError(f"{order.tag} is stuck: {job}")

    def _ask(self, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        answer = client.request(method, path, **more)
        self._world.happened()
        self._check_refused(method, path, answer)
        return answer

    def _check_refused(self, method: str, path: str, answer: httpx.Response) -> None:
        """See that what is refused is so for a reason, which raises `RefusedError`."""
        if answer.status_code == 503 and answer.json()["code"] == "internal.stopping":
            raise RefusedError  # another node goes on
        if answer.status_code >= 500:
            assert self._writes_fail, (method, path, answer.text)
            assert answer.headers["Content-Type"] == PROBLEM, answer.text
            told = answer.json()
            assert told["code"] == REFUSALS[answer.status_code], told
            assert told["retryable"], told
            with self._lock:
                self.refusals[told["code"]] += 1
            raise RefusedError

    # -- the reckoning -----------------------------------------------------------------------

    def check_all(self, url: str) -> None:
        """See that everything acknowledged was done, right and once; nothing may fail any more."""
        give_up_at = time.monotonic() + DONE_WITHIN_S
        while not all(map(self._over, self.ledger)):
            assert time.monotonic() < give_up_at, [o.tag for o in self.ledger if not self._over(o)]
            self.run(lambda: url, 0)
        self.follow(lambda: url)
        with self._client(url) as client:
            for order in self.ledger:
                if order.acknowledged:
                    self._check(client, order)
            self._check_list(client)
            self._check_told(client)

    def _check(self, client: httpx.Client, order: Order) -> None:
        assert order.followed, order.tag
        if order.then == "delete":
            assert client.get(f"/v1/jobs/{order.job_id}").status_code == 404
            return
        job = self._mended(client, order) if self._writes_fail else self.done(client, order)
        items = self._items(client, order)
        assert [item["index"] for item in items] == list(range(len(order.want))), order.tag
        ends = Counter(item["status"] for item in items)
        assert {n: c for n, c in job["counts"].items() if c and n != "total"} == ends, job
        for item, want in zip(items, order.want, strict=True):
            self._check_item(client, order, item, want)
        if order.told:
            assert len(set(order.told)) == len(order.told), order.tag
            if not order.retried and order.then != "retry":
                assert sorted(index for _, index in order.told) == list(range(len(items)))

    def _items(self, client: httpx.Client, order: Order) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get(
            f"/v1/jobs/{order.job_id}/items?limit=1000"
        ).json()["items"]
        return found

    def _check_item(
        self, client: httpx.Client, order: Order, item: dict[str, Any], want: Want
    ) -> None:
        if item["status"] == "canceled":
            assert order.then == "cancel", (order.tag, item)
        elif want.code:
            assert (item["status"], item["error"]["code"]) == ("failed", want.code), item
        else:
            assert item["status"] == "succeeded", (order.tag, item)
            [result] = item["results"]
            content = client.get(result["href"])
            assert content.status_code == 200, content.text
            assert len(content.content) == result["size_bytes"]
            assert want.decode(content.content) == want.value, (order.tag, item)

    def _mended(self, client: httpx.Client, order: Order) -> dict[str, Any]:
        """Have run again what failed because a write did; gives the job as it is then."""
        job = self.done(client, order)
        expected = {want.code for want in order.want}
        failed = [i["error"] for i in self._items(client, order) if i["status"] == "failed"]
        ours = [error for error in failed if error["code"] not in expected]
        # What joins the others has nothing to join where all of them have failed.
        known = {*REFUSALS.values(), "input.none_left"}
        assert {error["code"] for error in ours} <= known, (order.tag, ours)
        self.refusals.update(f"item {error['code']}" for error in ours)
        if not ours:
            return job
        order.retried = True
        self._world.retried.add(job["id"])
        answer = client.post(f"/v1/jobs/{order.job_id}/retry")
        assert answer.status_code == 202, answer.text
        return self.done(client, order)

    def _check_list(self, client: httpx.Client) -> None:
        """See that the service has what was acknowledged, and nothing twice."""
        listed = self.listed(client)
        tags = Counter(job["tag"] for job in listed)
        for order in self.ledger:
            there = order.acknowledged and order.then != "delete"
            gone = order.acknowledged and order.then == "delete"
            assert tags.pop(order.tag, 0) in ([1] if there else [0] if gone else [0, 1]), order.tag
        assert not tags
        mine = {order.tag: order.job_id for order in self.ledger if order.acknowledged}
        assert all(job["id"] == mine.get(job["tag"], job["id"]) for job in listed)
        for job in listed:  # those as well of which the client never heard
            assert client.get(f"/v1/jobs/{job['id']}?wait=60").json()["done"], job

    def listed(self, client: httpx.Client) -> list[dict[str, Any]]:
        """Give all jobs that the service shows."""
        jobs: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            where = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            answer = client.get("/v1/jobs", params=where).json()
            jobs += answer["jobs"]
            cursor = answer["next_cursor"]
        return jobs

    def _check_told(self, client: httpx.Client) -> None:
        """See that every event came, under one id and with one content, and every result."""
        promised: set[Told] = set()
        for order in self.ledger:
            if not (order.acknowledged and order.hook):
                continue
            assert order.job_id is not None
            job = client.get(f"/v1/jobs/{order.job_id}").json()
            told = {(order.job_id, f"job.{job['status']}", None)}
            for item in self._items(client, order):
                told.add((order.job_id, f"item.{item['status']}", item["index"]))
                if order.put:
                    told.add((order.job_id, "push.succeeded", item["index"]))
            promised |= told
        self._world.wait_for(promised, DONE_WITHIN_S)
        for told_, ids in self._world.ids.items():
            assert len(ids) == 1 or told_[0] in self._world.retried, (told_, ids)
        assert all(len(bodies) == 1 for bodies in self._world.bodies.values())
        for order in self.ledger:
            if order.acknowledged and order.put:
                [put] = self._world.puts[order.put]
                [want] = order.want
                assert want.decode(put) == want.value

    def delete_all(self, url: str) -> None:
        """Delete all that is there, and forget it."""
        with self._client(url) as client:
            for job in self.listed(client):
                assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
            for file_id in self._file_ids:
                assert client.delete(f"/v1/files/{file_id}").status_code == 204
        self.ledger.clear()
        self._file_ids.clear()


def _is_followed(order: Order) -> bool:
    # Of every third, so that there is other work as well.
    asked = order.acknowledged and order.then in ("nothing", "cancel")
    return asked and int(order.tag.rpartition("-")[2]) % 3 == 0
