"""What the parameters of a `fetch` step ask of the queue, not of the fetch itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from app.model.jobs import Step
from app.ops.fetch import FetchParams
from app.outbound.limits import FetchSettings

AHEAD = 2
"""For each request that a host may have under way, so many of its URLs are in the queue: one is
fetched while the next is claimed."""


def fetch_params(steps: Sequence[Step]) -> FetchParams | None:
    """Give the parameters of a job's `fetch` step, if it has one."""
    if not steps or steps[0].op != "fetch":
        return None
    return FetchParams.model_validate(steps[0].params)


def pace_of(
    params: FetchParams | None, urls: Iterable[str | None], settings: FetchSettings
) -> int | None:
    """Give the pace of a job whose URLs are known, if it has any: see `NewJob.pace`."""
    if params is None:
        return None
    pace = Pace(params, settings)
    for url in urls:
        if url is not None:
            pace.note(url)
    return pace.limit


class Pace:
    """How many URLs of a batch may be in the queue at once.

    A batch with a `per_host_concurrency` of its own would otherwise hold slots of the service
    with URLs that wait for their host, while other batches wait for the slots.
    """

    def __init__(
        self, params: FetchParams, settings: FetchSettings, *, generous: bool = False
    ) -> None:
        """Look at what the batch asks for; `note` each of its URLs before reading `limit`.

        A `generous` batch, one that is very long, leaves slots to others even where it asks for no
        less than its hosts may have.
        """
        asked = params.concurrency
        self._asked = asked if asked is not None and asked < settings.concurrency else None
        per_host = params.per_host_concurrency
        if per_host is None or per_host >= settings.per_host_concurrency:
            per_host = settings.per_host_concurrency if generous else None
        self._per_host = per_host
        self._enough = settings.concurrency
        self._hosts: Counter[str] = Counter()
        self._room = 0

    def note(self, url: str) -> None:
        """Count a URL; in bounded memory, however many hosts there are."""
        if self._per_host is None or self._room >= self._enough:
            return
        host = _host(url)
        if self._hosts[host] < AHEAD * self._per_host:
            self._hosts[host] += 1
            self._room += 1

    @property
    def limit(self) -> int | None:
        """Most URLs in the queue; None for all."""
        limits = [] if self._asked is None else [self._asked]
        if self._per_host is not None and self._room < self._enough:
            limits.append(max(self._room, 1))
        return min(limits, default=None)


def _host(url: str) -> str:
    """Name the place that a URL leads to; what is no URL fails without going anywhere."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
