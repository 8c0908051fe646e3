"""What the parameters of a `fetch` step ask of the queue, not of the fetch itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from app.model import Step
from app.ops.fetch import FetchParams
from app.outbound.fetch import FetchSettings

AHEAD = 2
"""For each request that a host may have under way, so many of its URLs are in the queue: one is
fetched while the next is claimed."""


def batch_terms(
    steps: Sequence[Step], urls: Iterable[str | None], settings: FetchSettings
) -> dict[str, Any]:
    """Give the members of `NewJob` that derive from its `fetch` step: none where there is none."""
    if not steps or steps[0].op != "fetch":
        return {}
    params = FetchParams.model_validate(steps[0].params)
    return {
        "pace": pace(params, urls, settings),
        "stops": params.on_error == "fail",
        "dedupe": params.dedupe,
    }


def pace(params: FetchParams, urls: Iterable[str | None], settings: FetchSettings) -> int | None:
    """Say how many URLs of a batch may be in the queue at once; None for all.

    A batch with a `per_host_concurrency` of its own would otherwise hold slots of the service
    with URLs that wait for their host, while other batches wait for the slots.
    """
    limits = []
    if params.concurrency is not None and params.concurrency < settings.concurrency:
        limits.append(params.concurrency)
    per_host = params.per_host_concurrency
    if per_host is not None and per_host < settings.per_host_concurrency:
        hosts = Counter(_host(url) for url in urls if url is not None)
        room = sum(min(count, AHEAD * per_host) for count in hosts.values())
        if room < settings.concurrency:
            limits.append(max(room, 1))
    return min(limits, default=None)


def _host(url: str) -> str:
    """Name the place that a URL leads to; what is no URL fails without going anywhere."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
