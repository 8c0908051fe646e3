"""The instruments of Prometheus, and by which labels they are kept: closed sets, all of them."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from app.metrics import OTHER, SEVERAL, code_of

QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""Of requests, transactions, and how late the event loop is."""
WORK_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Of items and fetches."""
WAIT_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Instruments:
    """One of each, in a registry of their own."""

    def __init__(self, operations: frozenset[str]) -> None:
        """Make them; `operations` are those that an item can go through."""
        # When each began to count would be half of what is said.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._operations = operations | {"fetch", SEVERAL}
        self.registry = here = CollectorRegistry()
        ProcessCollector(registry=here)
        PlatformCollector(registry=here)
        self.requests = Counter(
            "offload_http_requests_total",
            "Requests, by the template of their route and the class of their status.",
            ("route", "method", "status"),
            registry=here,
        )
        self.request_s = Histogram(
            "offload_http_request_duration_seconds",
            "From a request's head to the end of its answer; not of those that ask to wait.",
            ("route",),
            buckets=QUICK_S,
            registry=here,
        )
        self.jobs_accepted = Counter(
            "offload_jobs_accepted_total", "Jobs that were made here.", ("op",), registry=here
        )
        self.jobs_finished = Counter(
            "offload_jobs_finished_total",
            "Jobs that this node's transactions brought to an end.",
            ("state",),
            registry=here,
        )
        self.items = Counter(
            "offload_items_finished_total",
            "Items that ran here and whose outcome is recorded; `code` is empty for success.",
            ("op", "outcome", "code"),
            registry=here,
        )
        self.item_wait_s = Histogram(
            "offload_item_wait_seconds",
            "From the coming of an item's job to the beginning of its work.",
            ("op",),
            buckets=WAIT_S,
            registry=here,
        )
        self.item_s = Histogram(
            "offload_item_duration_seconds",
            "Work on an item, its fetch included.",
            ("op",),
            buckets=WORK_S,
            registry=here,
        )
        self.input_bytes = Counter(
            "offload_item_input_bytes_total",
            "Bytes of the stored files that items had as their inputs.",
            ("op",),
            registry=here,
        )
        self.output_bytes = Counter(
            "offload_item_output_bytes_total", "Bytes of items' results.", ("op",), registry=here
        )
        self.fetches = Counter(
            "offload_fetch_total",
            "Fetches of URLs: `succeeded`, or the code of why not.",
            ("outcome",),
            registry=here,
        )
        self.fetch_s = Histogram(
            "offload_fetch_duration_seconds",
            "Fetches, with their redirects and tries, to the last byte.",
            buckets=WORK_S,
            registry=here,
        )
        self.fetched_bytes = Counter(
            "offload_fetch_bytes_total", "Bytes of content that was fetched.", registry=here
        )
        self.deliveries = Counter(
            "offload_webhook_deliveries_total",
            "Attempts at deliveries: of an `event` or a `result`; `pending`: tried again later.",
            ("kind", "outcome"),
            registry=here,
        )
        self.worker_restarts = Counter(
            "offload_worker_restarts_total",
            "How often the pool's children were made anew: one `died`, or all were `worn`.",
            ("reason",),
            registry=here,
        )
        self.blob_bytes = Counter(
            "offload_blob_bytes_total",
            "Bytes of large bodies: `written` to the store, `read` from a bucket.",
            ("direction",),
            registry=here,
        )
        self.blob_errors = Counter(
            "offload_blob_errors_total", "Calls of the store that failed.", ("code",), registry=here
        )
        self.cache_requests = Counter(
            "offload_cache_requests_total",
            "Whether what work needs of a bucket was on this machine already.",
            ("result",),
            registry=here,
        )
        self.transaction_s = Histogram(
            "offload_db_transaction_duration_seconds",
            "Transactions that write, from their beginning to their commit.",
            buckets=QUICK_S,
            registry=here,
        )
        self.reconnects = Counter(
            "offload_db_reconnects_total",
            "Lost connections to PostgreSQL.",
            registry=here,
        )
        self.lateness_s = Histogram(
            "offload_event_loop_lateness_seconds",
            "How late the event loop comes to what is due, looked at twice a second.",
            buckets=QUICK_S,
            registry=here,
        )
        self._begin_with_nothing()
        self._request = lru_cache(4096)(self._request_of)
        self._item = lru_cache(4096)(self._item_of)

    def _begin_with_nothing(self) -> None:
        """Have those be 0 that have not happened: what begins with 1 has no rate."""
        for reason in ("died", "worn"):
            self.worker_restarts.labels(reason)
        for state in ("succeeded", "partial", "failed", "canceled"):
            self.jobs_finished.labels(state)
        for kind in ("event", "result"):
            for outcome in ("delivered", "pending", "dead"):
                self.deliveries.labels(kind, outcome)
        for direction in ("written", "read"):
            self.blob_bytes.labels(direction)
        for result in ("hit", "miss"):
            self.cache_requests.labels(result)
        for code in ("storage.unavailable", "storage.full", "storage.missing"):
            self.blob_errors.labels(code)
        self.fetches.labels("succeeded")

    def known(self, op: str) -> str:
        """Give an operation as a label."""
        return op if op in self._operations else OTHER

    def request_ended(
        self, route: str, method: str, status: int | None, duration_s: float, *, waited: bool
    ) -> None:
        """See `metrics.request_ended`."""
        counted, timed = self._request(route, method, status)
        counted.inc()
        if not waited:
            timed.observe(duration_s)

    def _request_of(self, route: str, method: str, status: int | None) -> tuple[Counter, Histogram]:
        method = method if method in METHODS else OTHER
        answer = f"{status // 100}xx" if status else "none"
        return self.requests.labels(route, method, answer), self.request_s.labels(route)

    def item_ended(
        self, op: str, code: str | None, waited_s: float, worked_s: float, sizes: tuple[int, int]
    ) -> None:
        """See `metrics.item_ended`."""
        counted, wait, work, came, made = self._item(op, code)
        counted.inc()
        wait.observe(waited_s)
        work.observe(worked_s)
        came.inc(sizes[0])
        made.inc(sizes[1])

    def _item_of(
        self, op: str, code: str | None
    ) -> tuple[Counter, Histogram, Histogram, Counter, Counter]:
        op = self.known(op)
        outcome = "failed" if code else "succeeded"
        return (
            self.items.labels(op, outcome, code_of(code) if code else ""),
            self.item_wait_s.labels(op),
            self.item_s.labels(op),
            self.input_bytes.labels(op),
            self.output_bytes.labels(op),
        )
