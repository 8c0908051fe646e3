"""Nodes and a database as queues (SimPy): what becomes of items that come at some rate.

An item is taken by an API node (one core), recorded, waits for a node with a free slot, is run
there (its one loop, then a process of its pool) and recorded again. A node writes one transaction
after the other, each some CPU of the database and a flush. Times are exponential around what was
measured, arrivals are Poisson: harder than the real thing, where sizes differ less.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

from app.work.taking import CHUNKS_PER_WORKER_AFAR
from benchmarks.simulation.demands import Demand
from benchmarks.stats import percentile

Steps = Generator[Any, Any, None]
WARM_UP = 0.2
"""Share of the items that are not looked at: they come to empty queues."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """How many there are of each part."""

    api: int
    work: int
    pool: int
    """Processes of each node that works."""
    database: int
    """Cores of PostgreSQL's."""
    flush_ms: float = 1.0
    """Of the database's log, at each commit."""
    far_ms: float = 0.0
    """For which an item waits for a bucket: round trips, and bytes on their way."""
    slots: int = CHUNKS_PER_WORKER_AFAR
    """What a node has in hand for each process of its pool."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    per_second: float
    """Items that ended."""
    mean_ms: float
    p50_ms: float
    p99_ms: float
    busy: dict[str, float]
    """By part, the share of its time that it worked."""


class Model:
    """One deployment under one load."""

    def __init__(self, deployment: Deployment, demand: Demand, seed: int) -> None:
        self.env = simpy.Environment()
        self._it, self._demand, self._chance = deployment, demand, random.Random(seed)
        self._api = self._each(deployment.api)
        self._loop, self._pool = self._each(deployment.work), self._each(deployment.work, "pool")
        self._writers = self._each(deployment.api + deployment.work)
        self._database = simpy.Resource(self.env, deployment.database)
        self._free: simpy.Store = simpy.Store(self.env)
        for slot in range(deployment.work * deployment.pool * deployment.slots):
            self._free.put(slot % deployment.work)
        self.worked_ms = dict.fromkeys(("api", "work", "pool", "database"), 0.0)
        self.ended: list[tuple[float, float]] = []
        """When an item came, and when it was over, in ms."""

    def _each(self, count: int, what: str = "") -> list[simpy.Resource]:
        cores = self._it.pool if what else 1
        return [simpy.Resource(self.env, cores) for _ in range(count)]

    def come(self, units: int, gap_ms: float) -> Steps:
        """Have so many units of work come, one `gap_ms` after the other on average."""
        for number in range(units):
            self.env.process(self._unit(number))
            yield self.env.timeout(self._chance.expovariate(1 / gap_ms))

    def _unit(self, number: int) -> Steps:
        came, asked = self.env.now, self._demand
        door = number % self._it.api
        yield from self._busy("api", self._api[door], asked.api_ms)
        yield from self._record(door)
        node = yield self._free.get()
        yield from self._busy("work", self._loop[node], asked.work_ms)
        yield self.env.timeout(self._it.far_ms)
        yield from self._busy("pool", self._pool[node], asked.pool_ms)
        yield from self._record(self._it.api + node)
        self._free.put(node)
        self.ended.append((came, self.env.now))

    def _record(self, node: int) -> Steps:
        """Write: a node has one connection for it."""
        with self._writers[node].request() as turn:
            yield turn
            yield from self._busy("database", self._database, self._demand.postgres_ms / 2)
            yield self.env.timeout(self._it.flush_ms)

    def _busy(self, part: str, server: simpy.Resource, mean_ms: float) -> Steps:
        if not mean_ms:
            return
        with server.request() as turn:
            yield turn
            taken_ms = self._chance.expovariate(1 / (mean_ms * self._demand.batch))
            self.worked_ms[part] += taken_ms
            yield self.env.timeout(taken_ms)


def simulate(
    deployment: Deployment, demand: Demand, per_second: float, items: int, seed: int = 1
) -> Outcome:
    """Have `items` come at a rate, and give what became of them."""
    model, units = Model(deployment, demand, seed), max(1, items // demand.batch)
    model.env.process(model.come(units, 1000 * demand.batch / per_second))
    model.env.run()
    seen = sorted(model.ended)[int(units * WARM_UP) :]
    took_ms = [end - came for came, end in seen]
    ends = sorted(end for _, end in model.ended)[-len(seen) :]
    cores = {
        "api": deployment.api,
        "work": deployment.work,
        "pool": deployment.work * deployment.pool,
        "database": deployment.database,
    }
    return Outcome(
        len(ends) * demand.batch / (ends[-1] - ends[0]) * 1000,
        sum(took_ms) / len(took_ms),
        percentile(took_ms, 50),
        percentile(took_ms, 99),
        {part: worked / cores[part] / model.env.now for part, worked in model.worked_ms.items()},
    )
