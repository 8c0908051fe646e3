"""How much of each part a rate takes, by arithmetic: what the model of queues is started with."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from math import ceil

from benchmarks.simulation.demands import Demand
from benchmarks.simulation.model import Deployment

BUSY = 0.6
"""Share of its time that a part is to work: the rest is for bursts, and for a node that dies."""
POOL = 4
DATABASE_CORES = 32
"""Of the largest database that one would run; more is a second one, by clients."""
FLUSH_MS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rate takes."""

    api: int
    work: int
    databases: int
    database_cores: int
    """Of each."""
    node_hours: float
    database_hours: float
    """Hours of a core for a million items, idle time included."""

    def of_one(self) -> Deployment:
        """Give the deployment of one of the databases."""
        return Deployment(
            ceil(self.api / self.databases),
            ceil(self.work / self.databases),
            POOL,
            self.database_cores,
            FLUSH_MS,
        )


def planned(demand: Demand, per_second: float, busy: float = BUSY) -> Plan:
    """Give what is needed for `per_second` items, with every part at most so `busy`."""
    writer_ms = demand.postgres_ms / 2 + FLUSH_MS / demand.batch
    per_ms = per_second / 1000 / busy
    cores = per_ms * demand.postgres_ms
    databases = ceil(cores / DATABASE_CORES)
    hours = 1e6 / 3.6e6 / busy
    return Plan(
        ceil(per_ms * max(demand.api_ms, writer_ms)),
        ceil(per_ms * max(demand.work_ms, demand.pool_ms / POOL, writer_ms)),
        databases,
        ceil(cores / databases),
        hours * demand.nodes_ms,
        hours * demand.postgres_ms,
    )


def most_per_second(demand: Demand, deployment: Deployment) -> tuple[float, str]:
    """Give the rate that nothing exceeds, and the part that is at its end then."""
    writer_ms = demand.postgres_ms / 2 + deployment.flush_ms / demand.batch
    held_ms = demand.work_ms + demand.pool_ms + writer_ms + deployment.far_ms / demand.batch
    limits = {
        "API nodes": (deployment.api, demand.api_ms),
        "API nodes' writers": (deployment.api, writer_ms),
        "loops": (deployment.work, demand.work_ms),
        "workers' writers": (deployment.work, writer_ms),
        "pools": (deployment.work * deployment.pool, demand.pool_ms),
        "slots": (deployment.work * deployment.pool * deployment.slots, held_ms),
        "PostgreSQL": (deployment.database, demand.postgres_ms),
    }
    rates = {part: 1000 * servers / ms for part, (servers, ms) in limits.items() if ms}
    part = min(rates, key=lambda one: rates[one])
    return rates[part], part


def busiest(databases: int, clients: int, skew: float, seed: int = 1) -> float:
    """Give the share of all items that the busiest of several databases has.

    Clients are put to databases by a hash of their names, and the n-th largest has 1 / n ** `skew`
    of what the largest has.
    """
    sizes = [1 / n**skew for n in range(1, clients + 1)]
    random.Random(seed).shuffle(sizes)
    loads = [0.0] * databases
    for client, size in enumerate(sizes):
        loads[_place(f"client-{seed}-{client}", databases)] += size
    return max(loads) / sum(loads)


def _place(client: str, databases: int) -> int:
    """Rendezvous: another database moves only the clients that it takes."""
    scores = [hashlib.sha256(f"{client} {n}".encode()).digest() for n in range(databases)]
    return scores.index(max(scores))
