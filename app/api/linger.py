"""Lets a client read why its upload was refused.

A server that answers before the body is read and then closes makes the kernel send a reset, and
the reset can overtake the answer. Like nginx's lingering close, this sends the whole answer,
and then takes in what the client is still sending, within bounds, before the connection ends.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 5.0
LINGER_BYTES = 64 << 20


class LingeringClose:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; linger if its body was left unread."""
        unread = scope["type"] == "http" and _has_body(scope)
        if not unread:
            await self._app(scope, receive, send)
            return

        async def receiving() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not (last and unread):
                await send(message)
                return
            await send({**message, "more_body": True})
            await _drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, receiving, sending)


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    if headers.get(b"expect", b"").lower() == b"100-continue":
        return False  # the client waits for our word, and sends nothing before it
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


async def _drain(receive: Receive) -> None:
    drained_bytes = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while drained_bytes < LINGER_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                drained_bytes += len(message.get("body", b""))
    except TimeoutError:
        return
