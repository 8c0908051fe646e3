"""How a connection ends: refused, cut, dropped, or left until its client has read the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.errors import OffloadError, Stopping
from app.logs import REQUEST_ID_HEADER, new_request_id
from app.wire.answer import answer_bytes
from app.wire.bites import Bites
from app.wire.crowd import Crowd
from app.wire.settings import HttpSettings

log = structlog.get_logger(__name__)

LINGER_S = 5.0
LINGER_BYTES = 64 << 20
"""What a refused client may still send, unread: a connection closed under it becomes a reset,
which overtakes the answer."""


@dataclass(slots=True)
class Wire:
    """What all connections share."""

    limits: HttpSettings
    stall_timeout_s: float
    """Seconds without a byte of a body; and over which its rate is measured."""
    crowd: Crowd
    bites: Bites = field(default_factory=Bites)


class Stage(Enum):
    """Where in the client's messages a connection is; answers have their own pace."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"
    OVER = "over"
    """Nothing that arrives is read any more."""


async def _ending_quietly(app: ASGI3Application, scope: Any, receive: Any, send: Any) -> None:
    """Run the application; a request that is cancelled has been cut, and is no bug of ours."""
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        log.warning("request_cut", path=scope["path"])


class EndingProtocol(HttpToolsProtocol):
    """One connection, as far as its end is concerned."""

    def __init__(self, wire: Wire, *args: Any, **kwargs: Any) -> None:
        """Begin before the first byte."""
        super().__init__(*args, **kwargs)
        self._wire = wire
        self._stage = Stage.BETWEEN
        self._rest = b""
        """What arrived behind a request that waits for its turn."""
        self._refusal: OffloadError | None = None
        """What is to be answered once the answers before it are sent."""
        self._request_id = ""
        """Of what is refused here: the log and the answer have the same."""
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_timer: asyncio.TimerHandle | None = None
        self._lingered_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stage, self._rest = Stage.OVER, b""
        self._wire.crowd.leave(self)
        for timer in (self._timer, self._unsent_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._unsent_timer = None
        super().connection_lost(exc)

    def drop(self) -> None:
        """End the connection at once, to make room for another."""
        self._wire.bites.note("max_connections", peer=self._peer(), dropped=True)
        self._abort()

    def cut(self) -> None:
        """End the connection because the service ends; what has no answer yet gets 503."""
        if self._stage is Stage.OVER or self.pipeline or not self._answering():
            self._abort()
        else:
            self._stage = Stage.OVER
            self._answer_instead(Stopping("The service is being stopped; send it again."))

    def shutdown(self) -> None:
        """Close now, or behind the answers that are under way."""
        if self._stage is Stage.OVER:
            self._abort()
        else:
            super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        super()._start_asgi_task(cycle, partial(_ending_quietly, app))

    def pause_writing(self) -> None:
        """Give the client time to take what is sent to it."""
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
            self._unsent_timer = None

    def _expect_taking(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()

        def judge() -> None:
            if self.transport.get_write_buffer_size() < unsent_bytes:
                self._expect_taking()
                return
            self._wire.bites.note("send_timeout_s", peer=self._peer())
            self._abort()

        self._unsent_timer = self.loop.call_later(self._wire.limits.send_timeout_s, judge)

    def _leave_unread(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        if self._lingered_bytes > LINGER_BYTES:
            self._abort()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: OffloadError) -> None:
        """Answer with a problem, behind the answers under way, and read nothing more."""
        limit = error.extra.pop("limit", error.code)
        self._request_id = new_request_id()
        told = {"peer": self._peer(), "request_id": self._request_id}
        self._wire.bites.note(limit, code=error.code, **told)
        in_body, self._stage = self._stage is Stage.BODY, Stage.OVER
        self._rest = b""
        if self._answering() and (self.pipeline or not in_body):
            self.pipeline.clear()
            self._refusal = error
        else:
            self._answer_instead(error)

    def _answer_instead(self, error: OffloadError) -> None:
        """Answer the request that is read in place of the application, if that has not begun to."""
        if self._answering():
            if self.cycle.response_started:
                self._abort()
                return
            self.cycle.disconnected = True  # what the application still says is not sent
            self.cycle.message_event.set()
        self._say(error)

    def _say(self, error: OffloadError) -> None:
        request_id = (REQUEST_ID_HEADER, (self._request_id or new_request_id()).encode())
        headers = [*self.server_state.default_headers, request_id]
        self.transport.write(answer_bytes(error, headers))
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more comes, and give the client time to read what came."""
        self._stage = Stage.OVER
        self._wire.crowd.linger(self)
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_S, self._abort)
        self.transport.write_eof()
        self.flow.resume_reading()

    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def _abort(self) -> None:
        self._stage = Stage.OVER
        self.transport.abort()
