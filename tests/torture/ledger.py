"""`tests/load`'s clients with many nodes: what they asked is there, once, and right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.load.clients import Clients, RefusedError
from tests.load.orders import Order
from tests.load.world import World
from tests.torture.deployment import Deployment

ORDERS_A_ROUND = 12
ANYWHERE = ""
"""In place of a node's address: `_client` sends each request to another node."""


class Ledger(Clients):
    """Clients whose every request goes to another node, and the ledger of what was promised."""

    def __init__(
        self, nodes: Deployment, world: World, seed: str, *, writes_fail: bool = False
    ) -> None:
        """With `writes_fail`, take `storage.*` for an answer, and ask again later."""
        super().__init__(world, seed, writes_fail=writes_fail)
        self.nodes = nodes
        self.broken = 0
        """How many requests were broken off."""
        self._stop = threading.Event()
        self.store_files(ANYWHERE)

    def _client(self, url: str) -> httpx.Client:
        return self.nodes.client()

    def _ask(self, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return super()._ask(client, method, path, **more)
        except httpx.TransportError as error:  # that node has gone, another goes on
            self.broken += 1
            raise RefusedError from error

    def _hear(self, client: httpx.Client, order: Order) -> None:
        try:
            super()._hear(client, order)
        except httpx.TransportError as error:
            self.broken += 1
            raise RefusedError from error

    @contextmanager
    def at_work(self, most: int = 10_000) -> Iterator[None]:
        """Ask for new things, up to so many, and go on with the others, until it is left."""
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                while not self._stop.is_set():
                    self.run(lambda: ANYWHERE, max(0, min(ORDERS_A_ROUND, most - len(self.ledger))))
                    self._stop.wait(0.05)
            except BaseException as error:  # noqa: BLE001 - the test's to raise
                failed.append(error)

        def hear() -> None:
            try:
                while not self._stop.wait(1):
                    self.follow(lambda: ANYWHERE)
            except BaseException as error:  # noqa: BLE001 - the test's to raise
                failed.append(error)

        threads = [threading.Thread(target=work) for work in (ask, hear)]
        self._stop.clear()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if failed:
            raise failed[0]

    def settle(self, before_looking: Callable[[], None] = lambda: None) -> str:
        """See that all of it was done, right and once, and that nothing is left of it.

        The nodes run before and not after; `before_looking` is called each time when they are
        stopped, and the records and bytes are looked at. Gives what was counted.
        """
        nodes = self.nodes
        nodes.start(*nodes.names)
        self.check_all(ANYWHERE)
        acknowledged = [order for order in self.ledger if order.acknowledged]
        items = sum(len(order.want) for order in acknowledged)
        counted = (
            f"{len(self.ledger)} orders, {len(acknowledged)} acknowledged, {items} items, "
            f"{len(self._world.bodies)} events, {self.broken} requests broken off, "
        )
        if self.refusals:
            counted += f"{self.refusals.total()} refused and asked again, "
        nodes.check_log()
        nodes.stop()
        before_looking()
        objects = nodes.check_bytes()
        nodes.start("api1")
        self.delete_all(ANYWHERE)
        nodes.stop("api1")
        before_looking()
        nodes.check_nothing_is_left()
        return counted + f"0 lost, 0 doubled, 0 stuck; {objects} objects, each with its record"
