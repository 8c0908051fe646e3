"""uvicorn's httptools protocol, with bounds on what a client sends and on how long it takes.

Everything here comes before authentication. What breaks a bound is answered with a problem
document where an answer is still possible, and the connection ends either way.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools

from app.errors import (
    IncompleteBody,
    LateHead,
    MalformedRequest,
    MethodNotAllowed,
    OffloadError,
    TooManyConnections,
)
from app.wire.ending import EndingProtocol, Stage, Wire
from app.wire.flow import Flow
from app.wire.gathering import Gathering
from app.wire.head import Head
from app.wire.pace import Pace
from app.wire.upgrade import head_without_upgrade

SLICE_BYTES = 4 << 10
CHUNKS_BYTES = 16 << 10
"""What the parser gets at once of heads, and of bodies in chunks; one of known length it gets as it
comes. So much more than a bound can be taken in before it is noticed."""


class BoundedProtocol(EndingProtocol):
    """One connection."""

    def __init__(self, wire: Wire, *args: Any, **kwargs: Any) -> None:
        """Begin before the first byte."""
        super().__init__(wire, *args, **kwargs)
        self._head = Head(wire.limits)
        self._body_left = 0
        """Of a body of known length."""
        self._body_pieces = self._body_bytes = 0
        self._upgrading = False
        self._began_at = 0.0
        self._pace = Pace(wire.stall_timeout_s, wire.limits.body_min_bytes_s)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in, or refuse it."""
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
        self.flow = Flow(transport, self._new_window)
        self._began_at = self.loop.time()
        if self._wire.crowd.enter(self):
            self._timer = self.loop.call_later(self._wire.limits.head_timeout_s, self._on_time)
        else:
            self._refuse(TooManyConnections("All connections are taken.", limit="max_connections"))

    def data_received(self, data: bytes) -> None:
        """Take in bytes, as far as the bounds allow."""
        self._unset_keepalive_if_required()
        if self._stage is Stage.OVER:
            self._leave_unread(data)
        elif self._rest:
            self._rest += data
            self.flow.pause_reading()
        else:
            if self._stage is Stage.BETWEEN:
                self._begin_head()
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        view, at = memoryview(data), 0
        while at < len(view) and self._stage is not Stage.OVER:
            if self.pipeline:
                # One request ahead is enough: the others would be in memory, each with a task's
                # worth of objects.
                self._rest = bytes(view[at:])
                self.flow.pause_reading()
                break
            size_bytes = CHUNKS_BYTES if self._stage is Stage.BODY else SLICE_BYTES
            at += self._parse(view[at : at + max(size_bytes, self._body_left)])
        if self._stage is Stage.BODY:
            self._pace.heard_at = self.loop.time()
        if self._stage in (Stage.HEAD, Stage.BODY):
            self._watch()

    def _parse(self, piece: memoryview) -> int:
        """Feed the parser; gives how much of the piece it has taken."""
        self._head.fed(len(piece))
        taken = len(piece)
        try:
            self.parser.feed_data(piece)
            if self._body_pieces:
                self._settle_body()
            self._head.judge()
        except httptools.HttpParserUpgrade as pause:
            taken = pause.args[0]
            self._go_on_without_upgrade()
        except httptools.HttpParserError as error:
            raised = error.__context__  # by one of the methods below, which the parser calls
            known = raised if isinstance(raised, OffloadError) else None
            self._refuse(known or MalformedRequest("What arrived is not valid HTTP/1.1."))
        except OffloadError as error:
            self._refuse(error)
        return taken

    def _begin_head(self) -> None:
        self._stage = Stage.HEAD
        self._began_at = self.loop.time()
        self._head.begin()
        self.url = b""

    # -- what the parser tells ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        super().on_url(url)
        self._head.url(len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is only counted, it comes too late to mean anything."""
        self._head.header(name, value)
        if self._stage is Stage.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request begin."""
        if self.parser.get_method() == b"CONNECT":
            raise MethodNotAllowed("CONNECT is not possible here.")
        if self._upgrade_asked():
            self._upgrading = True
            return
        self._head.complete()
        self._stage = Stage.BODY
        sizes = [value for name, value in self.headers if name == b"content-length"]
        self._body_left = int(sizes[0]) if sizes else 0
        self._new_window()
        super().on_headers_complete()
        self._wire.crowd.busy(self)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body: as small as its sender likes, so this does next to nothing."""
        self._body_pieces += 1
        self._body_bytes += len(body)
        if not self.cycle.response_complete:
            self.cycle.body += body

    def _settle_body(self) -> None:
        """See to all the pieces that the parser gave in one go."""
        pieces, size_bytes = self._body_pieces, self._body_bytes
        self._body_pieces = self._body_bytes = 0
        self._body_left = max(0, self._body_left - size_bytes)
        self._pace.arrived_bytes += size_bytes
        if self._stage is Stage.BODY:
            super().on_body(b"")  # tells the application, and stops reading if there is much
            self._head.body(pieces, size_bytes)

    def on_message_complete(self) -> None:
        """End the message; the next one's first byte begins a head."""
        if self._upgrading:
            return
        self._stage = Stage.BETWEEN
        self._body_left = 0
        self._head.begin()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits behind an answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._refusal is not None:
            if not self.pipeline:
                self._say(self._refusal)
        elif self._stage is Stage.BODY and self.cycle.response_complete:
            self._linger()  # answered without being read: there is no next request behind it
        elif self._rest:
            rest, self._rest = self._rest, b""
            self._feed(rest)
        elif not self.pipeline and self.cycle.response_complete:
            self._wire.crowd.idle(self)

    # -- upgrades, which nobody gets ---------------------------------------------------------

    def _upgrade_asked(self) -> bool:
        # The parser's flag for the message before stays set until it has told of this one's end.
        return self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)

    def _go_on_without_upgrade(self) -> None:
        """Parse the head again without the wish: the parser takes what follows for foreign."""
        self._upgrading = False
        version = self.parser.get_http_version().encode()
        begins = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)
        head = head_without_upgrade(begins, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(memoryview(head))

    # -- time --------------------------------------------------------------------------------

    def _new_window(self) -> None:
        self._pace.begin(self.loop.time())

    def _due_at(self) -> float:
        if self._stage is Stage.HEAD:
            return self._began_at + self._wire.limits.head_timeout_s
        return self._pace.due_at

    def _watch(self) -> None:
        due_at = self._due_at()
        if self._timer is not None:
            if self._timer.when() <= due_at:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(due_at, self._on_time)

    def _on_time(self) -> None:
        """Judge a head or a body that is under way. The timer outlives many short requests."""
        self._timer = None
        if self._stage is Stage.BODY:
            self._judge_body()
        elif self._stage is Stage.HEAD or self.cycle is None:
            self._judge_head()
        if self._stage in (Stage.HEAD, Stage.BODY):
            self._watch()

    def _judge_head(self) -> None:
        limit_s = self._wire.limits.head_timeout_s
        if self.loop.time() < self._began_at + limit_s:
            return
        if self._answering():
            self._began_at = self.loop.time()  # it holds nothing that the answer does not hold
        elif self._stage is Stage.HEAD and self.url:
            late = f"The request's head did not arrive within {limit_s:g} s."
            self._refuse(LateHead(late, limit="head_timeout_s"))
        else:
            self._wire.bites.note("head_timeout_s", peer=self._peer(), silent=True)
            self.transport.close()

    def _judge_body(self) -> None:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._new_window()  # it is we who do not read, or have not asked for it yet
            return
        try:
            self._pace.judge(self.loop.time())
        except IncompleteBody as error:
            self._refuse(error)
