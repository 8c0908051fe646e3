"""Jobs: waited for, watched, canceled, and their results."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from offload._async.files import AsyncFile
from offload._async.transport import AsyncPatience, AsyncTransport, document_of
from offload._async.waiting import sleep
from offload.errors import JobFailed, NotOffload, OffloadError, TimedOut
from offload.records import Event, ItemData, JobData, listed, read_json
from offload.sse import Message, Parser

if TYPE_CHECKING:
    from offload.documents import ItemDocument, JobDocument

HOLD_S = 25.0
"""How long one request waits for news: shorter than what proxies cut off."""
POLL_S = 1.0
PING_S = 15.0
"""A stream of events says something at least so often."""
ITEMS_A_PAGE = 500


class AsyncItem(ItemData):
    """One input of a job and what became of it."""

    __slots__ = ("_transport",)

    def __init__(self, document: ItemDocument, transport: AsyncTransport) -> None:
        """Keep what is known of it, and who has its results."""
        super().__init__(document)
        self._transport = transport

    @property
    def results(self) -> list[AsyncFile]:
        """The files that came of it."""
        return [AsyncFile(one, self._transport) for one in self._get("results") or []]


class AsyncJob(JobData):
    """A job of the service. What it says is of the moment in which it was last looked at."""

    __slots__ = ("_etag", "_transport")

    def __init__(self, document: JobDocument, transport: AsyncTransport) -> None:
        """Keep what is known of it, and who has it."""
        super().__init__(document)
        self._transport = transport
        self._etag: str | None = None

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def _take(self, document: Any) -> None:
        if not isinstance(document, dict) or document.get("id") != self.id:
            raise NotOffload("The answer is not the job that was asked for.")
        self.document = document  # type: ignore[assignment]

    async def refresh(self) -> AsyncJob:
        """Look at it again. Raises `NotFound` if it is not there any more."""
        response = await self._transport.ask("GET", self._path, again=True)
        self._take(document_of(response))
        self._etag = response.headers.get("etag")
        return self

    async def wait(self, timeout_s: float | None = None) -> AsyncJob:
        """Wait until it is over, however that is: look at `status`, or ask for results.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Raises:
            TimedOut: it goes on; call again to wait longer.
            OffloadError: it is not there any more, or the service is not.
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.done:
            await self._hold(end_s, None)
        return self

    async def watch(self, timeout_s: float | None = None) -> AsyncGenerator[AsyncJob, None]:
        """Give it as it is, and again whenever that has changed, until it is over.

        With its items, where these are few: so their `progress` shows. Raises as `wait` does.
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        if not self.done and self._etag is None:
            await self.refresh()  # without a version of it, one would wait for its end
        yield self
        while not self.done:
            if await self._hold(end_s, self._etag):
                yield self

    async def _hold(self, end_s: float | None, etag: str | None) -> bool:
        """Wait for news in one request; tells whether there is any."""
        began_s = time.monotonic()
        left_s = HOLD_S if end_s is None else min(HOLD_S, end_s - began_s)
        if left_s <= 0:
            raise TimedOut(f"{self.id} is not over yet: it is {self.status}.")
        response = await self._transport.ask(
            "GET",
            self._path,
            params={"wait": round(left_s, 3)},
            headers={"If-None-Match": etag} if etag else None,
            wait_s=left_s,
            again=True,
        )
        self._etag = response.headers.get("etag")
        if news := response.status_code != HTTPStatus.NOT_MODIFIED:
            self._take(document_of(response))
        if not self.done and not (news and etag) and time.monotonic() - began_s < min(1, left_s):
            await sleep(min(POLL_S, left_s))  # a service that lets nobody wait
        return news

    async def events(self) -> AsyncGenerator[Event, None]:
        """Give its events as they happen, from its beginning to its end.

        A lost connection is taken up again behind the last item told, so that none is told twice.
        What a `job` event says is known to this job as well.

        Raises:
            OffloadError: it is not there any more, or the service is not.
        """
        patience, parser = AsyncPatience(self._transport), Parser()
        while True:
            headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
            if parser.last_id:
                headers["Last-Event-ID"] = parser.last_id
            parser.begin()
            try:
                opened = self._transport.stream(f"{self._path}/events", headers, 3 * PING_S)
                async with opened as (response, _):
                    if response.status_code == HTTPStatus.NO_CONTENT:
                        break
                    async for piece in response.aiter_raw():
                        for message in parser.feed(piece):
                            patience.forget()
                            event = self._event(message)
                            yield event
                            if event.kind == "job" and self.done:
                                return
            except (httpx.TransportError, OffloadError) as error:
                await patience.wait(error, again=True)
            else:
                await sleep(parser.retry_s or 0)
        # All items were told; what was lost is the last word.
        await self.refresh()
        yield Event("job", self.document, parser.last_id)

    def _event(self, message: Message) -> Event:
        try:
            document = read_json(message.data)
        except ValueError:
            raise NotOffload("An event is no JSON.") from None
        if message.event == "job":
            self._take(document)
        return Event(message.event, document, message.id)

    # -- what came of it -----------------------------------------------------------------------

    async def items(self, status: str | None = None) -> AsyncGenerator[AsyncItem, None]:
        """Give its items in the order of its inputs, page by page.

        Args:
            status: only those that are queued, running, succeeded, failed or canceled.
        """
        shown = self._get("items")
        if shown is not None and self.done:
            for one in shown:
                if status in (None, one.get("status")):
                    yield AsyncItem(one, self._transport)
            return
        cursor = None
        while True:
            asked = {"status": status, "cursor": cursor, "limit": ITEMS_A_PAGE}
            page = await self._transport.get(f"{self._path}/items", asked)
            for one in listed(page, "items"):
                yield AsyncItem(one, self._transport)
            cursor = page.get("next_cursor")
            if not cursor:
                return

    async def results(self, timeout_s: float | None = None) -> list[AsyncFile]:
        """Wait until it is over, and give all files that came of it; of a joined job, that one.

        What failed is left out: `items` tells. Raises as `wait` does.
        """
        await self.wait(timeout_s)
        items = [item async for item in self.items()]
        joined = [item for item in items if item.joins]
        return [file for item in joined or items for file in item.results]

    async def result(self, timeout_s: float | None = None) -> AsyncFile:
        """Wait until it is over, and give the one file that came of it.

        Raises:
            JobFailed: there is none, with the code of what failed, or there are several.
            OffloadError: as `wait` raises it.
        """
        found = await self.results(timeout_s)
        if len(found) == 1 and self.status == "succeeded":
            return found[0]
        async for item in self.items("failed"):
            if item.error is not None:
                error = item.error
                raise JobFailed(error.detail, code=error.code, problem=error.problem)
        code = "input.conflict" if self.status == "succeeded" else f"client.{self.status}"
        raise JobFailed(f"{self.id} is {self.status} and has {len(found)} results.", code=code)

    # -- what can be done with it --------------------------------------------------------------

    async def cancel(self) -> AsyncJob:
        """Stop what is unfinished of it; results that exist stay."""
        self._take(await self._transport.post(f"{self._path}/cancel", again=True))
        return self

    async def retry(self) -> AsyncJob:
        """Run what has failed of it again. Raises `ServiceError` if it goes on, or nothing has."""
        self._take(await self._transport.post(f"{self._path}/retry"))
        self._etag = None
        return self

    async def delete(self) -> None:
        """Remove it from the service, with its files; what is unfinished is canceled."""
        await self._transport.ask("DELETE", self._path, again=True)
