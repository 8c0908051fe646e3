"""The whole service for its operator: what waits, what is under way, and the last hour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from app import __version__
from app.api.deps import OperatorDep, RuntimeDep
from app.api.problems import ProblemView, documented, view_of
from app.api.routes import Router
from app.api.schemas import Moment
from app.model.deliveries import Delivery
from app.model.jobs import Lane
from app.records import overview, sight, tally
from app.records.overview import ItemSeen, NodeSeen, Overview, SlowItem, UnderWay

router = Router(prefix="/v1", tags=["service"])


class LaneView(BaseModel):
    """What waits in a lane: `cpu` for a worker process, `io` for an origin."""

    lane: Lane
    chunks: int = Field(description=f"{sight.LOOKED_AT} stands for as many or more.")
    items: int = Field(description="In those chunks.")
    oldest_s: float = Field(
        description="Since the job of the oldest came, of those without a pace; 0 if none waits."
    )


class WaitingView(BaseModel):
    """What of a client waits in a lane, among the chunks that are counted there."""

    client: str
    lane: Lane
    chunks: int
    items: int


class ClientView(BaseModel):
    """A client with items that are not over."""

    client: str
    unfinished_items: int


class NodeView(BaseModel):
    """A node that shows signs of life, and what it said at the last one; null: it cannot know."""

    id: str
    roles: list[str]
    started_at: Moment
    version: str | None
    workers: int | None = Field(description="Worker processes; 0 for a node that takes requests.")
    workers_busy: int | None
    disk_total_bytes: int | None = Field(description="Of the disk of its data folder.")
    disk_free_bytes: int | None
    disk_floor_bytes: int | None = Field(description="What uploads and results leave free of it.")
    memory_total_bytes: int | None = Field(
        description="What its container may use, or else the machine has."
    )
    memory_available_bytes: int | None
    process_memory_bytes: int | None = Field(
        description="Of the process that takes requests, without its workers."
    )


class WorkView(BaseModel):
    """Items of one job that a node has in hand."""

    node: str
    lane: Lane
    job_id: str
    client: str
    ops: list[str] = Field(examples=[["image", "compress"]])
    items: int
    first_index: int
    last_index: int
    started_at: Moment | None = Field(
        description="Of the first item that is known to run: one that does for 0.1 s and more."
    )


class ThroughputView(BaseModel):
    """Items that ran and ended, by minute; the last number is of the minute that is not over."""

    since: Moment = Field(description="The beginning of the first step.")
    step_s: int
    succeeded: list[int]
    failed: list[int]
    worked_ms: list[int] = Field(description="How long they took, added up.")


class FailureView(BaseModel):
    """What failed in the last hour with one code."""

    code: str = Field(description="One of docs/errors.md; `other` for those of other packages.")
    items: int
    series: list[int] = Field(description="By minute, as in `throughput`.")
    job_id: str | None = Field(description="Of one of the last; null if it is gone.")
    item_index: int | None


class SlowView(BaseModel):
    """One of the items that took longest in the last hour."""

    job_id: str
    item_index: int
    name: str = Field(description="Of a URL that has none, the URL without its query.")
    client: str
    ops: list[str]
    worked_ms: int
    code: str | None = Field(description="Of its failure; null if it went well.")
    finished_at: Moment | None


class DeadView(BaseModel):
    """An event that was given up."""

    id: str
    client: str
    event: str
    job_id: str | None
    url: str | None = Field(description="Null for the endpoint that the operator configured.")
    created_at: Moment
    ended_at: Moment | None
    error: ProblemView | None


class DeliveriesView(BaseModel):
    """How it stands with what leaves the house: events, and results that are put elsewhere."""

    pending: int = Field(description=f"{overview.DELIVERIES} stands for as many or more.")
    sending: int
    due_at: Moment | None = Field(description="When the first of the pending ones is, or was, due.")
    dead: int = Field(description="Events that were given up and whose records are there yet.")
    latest_dead: list[DeadView] = Field(
        description="`POST /v1/webhooks/deliveries/{id}/replay` sends one again."
    )


class ServiceView(BaseModel):
    """The service at one moment, all its nodes together."""

    at: Moment
    version: str = Field(description="Of the node that answers.")
    unfinished_items: int
    lanes: list[LaneView]
    waiting: list[WaitingView] = Field(description="Up to 50 clients a lane, those with most.")
    clients: list[ClientView] = Field(description="Up to 50, those with most.")
    nodes: list[NodeView] = Field(description="The oldest first.")
    work: list[WorkView] = Field(description="Up to 200, by node.")
    throughput: ThroughputView
    failures: list[FailureView] = Field(description="The most frequent first.")
    slowest: list[SlowView] = Field(
        description="Up to 20, the slowest first: of each minute, node and code the slowest."
    )
    deliveries: DeliveriesView


@router.get(
    "/service",
    summary="Look at the whole service",
    operation_id="get_service",
    responses=documented(401, 403),
)
async def get_service(runtime: RuntimeDep, _: OperatorDep) -> ServiceView:
    """Give what waits, what is under way and the last hour, of all nodes and clients.

    For keys that the operator has marked; where there are no keys, for everybody.
    """
    return service_view(await runtime.database.read(overview.look))


def service_view(seen: Overview) -> ServiceView:
    """Show an overview."""
    return ServiceView(
        at=seen.at,
        version=__version__,
        unfinished_items=seen.sight.unfinished_items,
        lanes=[LaneView(lane=lane, **one._asdict()) for lane, one in seen.sight.lanes.items()],
        waiting=[WaitingView(**one._asdict()) for one in seen.waiting],
        clients=[ClientView(client=c, unfinished_items=n) for c, n in seen.clients.items()],
        nodes=[_node(node) for node in seen.nodes],
        work=[_work(one) for one in seen.under_way],
        throughput=_throughput(seen),
        failures=[
            FailureView(
                code=code,
                items=ends.items,
                series=ends.series,
                job_id=example.job_id if example else None,
                item_index=example.idx if example else None,
            )
            for code, ends, example in seen.failures
        ],
        slowest=[_slow(one) for one in seen.slowest],
        deliveries=_deliveries(seen.deliveries),
    )


def _node(node: NodeSeen) -> NodeView:
    known = {name: node.told.get(name) for name in NodeView.model_fields}
    own: dict[str, Any] = {"id": node.id, "roles": node.roles, "started_at": node.started_at}
    return NodeView.model_validate(known | own)


def _work(one: UnderWay) -> WorkView:
    return WorkView(**one._asdict())


def _throughput(seen: Overview) -> ThroughputView:
    succeeded = [seen.succeeded] if seen.succeeded else []
    failed = [failures.ends for failures in seen.failures]
    return ThroughputView(
        since=seen.since,
        step_s=tally.STEP_MS // 1000,
        succeeded=_summed(ends.series for ends in succeeded),
        failed=_summed(ends.series for ends in failed),
        worked_ms=_summed(ends.worked_ms for ends in succeeded + failed),
    )


def _summed(series: Iterable[list[int]]) -> list[int]:
    return [sum(step) for step in zip([0] * tally.STEPS, *series, strict=True)]


def _slow(one: SlowItem) -> SlowView:
    item: ItemSeen = one.item
    return SlowView(
        job_id=item.job_id,
        item_index=item.idx,
        name=item.name,
        client=item.client,
        ops=item.ops,
        worked_ms=one.worked_ms,
        code=one.code or None,
        finished_at=one.finished_at,
    )


def _deliveries(seen: overview.DeliveriesSeen) -> DeliveriesView:
    return DeliveriesView(
        pending=seen.pending,
        sending=seen.sending,
        due_at=seen.due_at,
        dead=seen.dead,
        latest_dead=[_dead(client, delivery) for client, delivery in seen.latest_dead],
    )


def _dead(client: str, delivery: Delivery) -> DeadView:
    return DeadView(
        id=delivery.id,
        client=client,
        event=delivery.event,
        job_id=delivery.job_id,
        url=delivery.url,
        created_at=delivery.created_at,
        ended_at=delivery.ended_at,
        error=view_of(delivery.problem) if delivery.problem else None,
    )
