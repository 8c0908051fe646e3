"""Sees a request as the client sent it, where a proxy stands between.

The path below which the service is shown comes from the configuration, or from a trusted proxy's
`X-Forwarded-Prefix`; whether the proxy leaves it in the requests' paths or takes it off makes no
difference. Nothing of `X-Forwarded-*` is believed from anybody else: it would put a stranger's
address into the log, and his words into links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.links import set_root_path
from app.outbound.addresses import Network
from app.settings import ROOT_PATH

HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


class Forwarded:
    """Pure ASGI middleware, to stand around everything that looks at a request."""

    def __init__(self, app: ASGIApp, root_path: str, trusted: Iterable[Network]) -> None:
        """Wrap `app`; `root_path` is empty or begins with a slash and does not end with one."""
        self._app = app
        self._root_path = root_path
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            root_path = self._root_path
            if self._trusted and self._trusts(_peer(scope)):
                root_path = self._believe(scope) or root_path
            if root_path:
                _place(scope, root_path)
                set_root_path(root_path)
        await self._app(scope, receive, send)

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _believe(self, scope: Scope) -> str:
        """Take over what a trusted proxy says; gives the prefix, empty if it tells none."""
        said = _said(scope)
        client = self._client(said.get(b"x-forwarded-for", []))
        if client is not None:
            scope["client"] = (str(client), 0)
        scheme = _last(said, b"x-forwarded-proto").lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        host = _last(said, b"x-forwarded-host")
        if HOST.fullmatch(host):
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            scope["headers"] = [(b"host", host.encode()), *others]
        prefix = _last(said, b"x-forwarded-prefix").rstrip("/")
        return prefix if re.fullmatch(ROOT_PATH, prefix) else ""

    def _client(self, hops: list[str]) -> IPv4Address | IPv6Address | None:
        """Give the last address that no trusted proxy has; what is before it anybody may write."""
        client = None
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client


def _place(scope: Scope, root_path: str) -> None:
    """Put the request below its root, as ASGI has it: `path` has `root_path` in front."""
    path = scope["path"]
    if path == root_path:
        path = root_path + "/"
    elif not path.startswith(root_path + "/"):
        path = root_path + path
        scope["raw_path"] = root_path.encode() + scope["raw_path"]
    scope["path"], scope["root_path"] = path, root_path


def _said(scope: Scope) -> dict[bytes, list[str]]:
    """Give the `X-Forwarded-*` headers, each as the list that it is; one may come in many lines."""
    said: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        if name.startswith(b"x-forwarded-"):
            parts = [part.strip() for part in value.decode("latin-1").split(",")]
            said.setdefault(name, []).extend(parts)
    return said


def _last(said: dict[bytes, list[str]], name: bytes) -> str:
    """Give what the nearest proxy said."""
    return said[name][-1] if name in said else ""


def _peer(scope: Scope) -> IPv4Address | IPv6Address | None:
    return _address(scope["client"][0]) if scope.get("client") else None


def _address(hop: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with or without a port; None if it is none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
