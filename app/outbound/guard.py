"""The address guard: which schemes, ports and addresses this service may talk to.

Strangers choose the URLs, and the service stands where its operator's private network is in reach
(ASVS 1.3.6). A name is resolved once, every answer is judged, and the connection goes to a judged
address, so that DNS cannot change its mind in between.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.errors import FetchForbidden, FetchNameError, FetchUrlInvalid
from app.ops import spellings
from app.outbound.addresses import NAT64, Address, Network, denied, literal, unmapped

Port = Annotated[int, Field(ge=1, le=65535)]

SCHEMES = {"http": 80, "https": 443}
"""The schemes that are spoken, each with its default port."""

MOST_REMEMBERED = 1024
"""Hosts and ports whose early verdict is remembered."""

MAX_URL_CHARS = 8192
"""Longest URL, in characters; as long as one line of a URL list may be."""

REFUSED = "The address guard does not allow this address."
"""All that a client learns: which rule refused, and what a name resolves to, is the log's."""


class GuardSettings(BaseModel):
    """What the operator opens or closes beyond the tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    allow_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks that may be reached although they are not public, on any port, "
        'e.g. "10.20.0.0/16". To reach IPv4 through NAT64, add 64:ff9b::/96: the IPv4 address '
        "inside is then judged like any other.",
    )
    ports: frozenset[Port] = Field(
        default=frozenset({80, 443, 8080, 8443}),
        description="Ports that may be reached on public addresses.",
    )

    _split = field_validator("allow_networks", "ports", mode="before")(spellings.listed)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be tried; what its host resolves to is judged when it is dialled."""

    url: httpx.URL
    """In canonical form: ASCII only, no user info, no fragment, no default port."""
    scheme: str
    host: str
    """Lower case, IDNA-encoded; an address without brackets."""
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what credentials are bound to (RFC 6454)."""
        return self.scheme, self.host, self.port


LOOKUP_THREADS = 32

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Gives every address of a host name in numeric form; raises `socket.gaierror` for none."""


class SystemLookup:
    """The system's resolver, in threads of its own.

    getaddrinfo blocks for as long as the name's servers like. In the event loop's own few threads
    a handful of hostile names would hold up every other use of those, file writes among them.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="offload-dns")

    async def __call__(self, host: str) -> Sequence[str]:
        """Resolve `host` to all its addresses."""
        query = functools.partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        rows = await asyncio.get_running_loop().run_in_executor(self._threads, query)
        return [str(row[4][0]) for row in rows]

    def close(self) -> None:
        """Take no more names; does not wait for those under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


# What may stand between two dots once a name is ASCII and lower case: RFC 1123, and the underscore,
# which is in use.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# A host whose last label looks like this is an IPv4 address to getaddrinfo and to browsers (WHATWG
# URL, "ends in a number"), in one of a dozen spellings: 2130706433, 0x7f.1, 0177.0.0.1, 127.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]|\s")


class Guard:
    """Judges URLs before they are tried, and addresses when they are dialled."""

    def __init__(self, settings: GuardSettings, lookup: Lookup) -> None:
        self._settings = settings
        self._lookup = lookup
        # The URLs of a batch name few hosts as a rule, and the verdict depends on nothing else.
        self._early = functools.lru_cache(MOST_REMEMBERED)(self._judged_early)

    def wider(self, networks: Sequence[Network]) -> Guard:
        """Give a guard that lets pass what this one does, and `networks`."""
        allowed = (*self._settings.allow_networks, *networks)
        settings = GuardSettings(allow_networks=allowed, ports=self._settings.ports)
        return Guard(settings, self._lookup)

    def judge(self, address: Address, port: int) -> str | None:
        """Say why `address` may not be dialled on `port`, or None where it may."""
        if self._opened_by(address):
            if isinstance(address, IPv6Address) and address in NAT64:
                return self.judge(IPv4Address(int(address) & 0xFFFFFFFF), port)
            return None
        if why := denied(address):
            return why
        if port not in self._settings.ports:
            return "the port is not among the allowed ones"
        return None

    def _opened_by(self, address: Address) -> Network | None:
        both = (address, unmapped(address))
        networks = self._settings.allow_networks
        return next((net for net in networks if any(one in net for one in both)), None)

    def check_url(self, url: str) -> Target:
        """Judge what can be judged of a URL without resolving its host.

        Raises:
            FetchUrlInvalid: not an absolute URL with a host, or it carries user info, white space,
                control characters, a backslash, or an IPv4 address in an unusual spelling.
            FetchForbidden: another scheme than http and https, a port that is never allowed, or
                the host is an address that is refused.
        """
        if len(url) > MAX_URL_CHARS:
            raise FetchUrlInvalid(f"The URL is longer than {MAX_URL_CHARS} characters.")
        if _UNPRINTABLE.search(url):
            # Parsers disagree about these, and an attack needs no more than that.
            raise FetchUrlInvalid(
                "The URL contains white space, a control character or a backslash; "
                "they have to be percent-encoded."
            )
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as exc:
            raise FetchUrlInvalid(
                "The URL cannot be parsed.", log_detail=type(exc).__name__
            ) from exc
        return self.check(parsed)

    def check(self, url: httpx.URL) -> Target:
        """Judge a URL that is parsed already; raises as `check_url` does."""
        if not url.scheme:
            raise FetchUrlInvalid("The URL is not absolute; it has to start with http or https.")
        if url.scheme not in SCHEMES:
            raise FetchForbidden("Only http and https URLs are fetched.")
        if url.userinfo:
            raise FetchUrlInvalid(
                "The URL contains a user name or password; send an Authorization header instead."
            )
        port = SCHEMES[url.scheme] if url.port is None else url.port
        host = self._early(url.raw_host, port)
        # Copying parses anew, which is worth avoiding for the many that have no fragment.
        plain = url.copy_with(fragment=None) if url.fragment else url
        return Target(plain, url.scheme, host, port)

    def _judged_early(self, raw_host: bytes, port: int) -> str:
        """Give the host in its canonical spelling, unless it is refused."""
        host = host_of(raw_host)
        self._check_early(host, port)
        return host

    def _check_early(self, host: str, port: int) -> None:
        """Refuse before any name is resolved what would be refused after it as well."""
        if not 1 <= port <= 65535:
            raise FetchUrlInvalid("The URL's port is not between 1 and 65535.")
        if (address := literal(host)) is not None:
            if why := self.judge(address, port):
                raise forbidden(host, port, why)
        elif port not in self._settings.ports and not self._settings.allow_networks:
            raise FetchForbidden(
                "The address guard does not allow this port.", log_detail=f"{host} port {port}"
            )

    async def explain(self, target: Target) -> dict[str, tuple[bool, str]]:
        """Resolve a target's host and say of each address whether it would be dialled, and why.

        Raises:
            FetchNameError: it does not resolve; `temporary` says whether it may soon.
        """
        addresses = await self._answers(target.host)
        return {str(address): self._verdict(address, target.port) for address in addresses}

    def _verdict(self, address: Address, port: int) -> tuple[bool, str]:
        if why := self.judge(address, port):
            return False, why
        network = self._opened_by(address)
        opened = f"in {network}, which OFFLOAD_FETCH_ALLOW_NETWORKS opens"
        return True, opened if network else "public"

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Resolve `host` once and judge every answer.

        Returns:
            At least one address, in the resolver's order, without doubles.

        Raises:
            FetchNameError: it does not resolve; `temporary` says whether it may soon.
            FetchForbidden: at least one answer is refused. A name that mixes public and private
                addresses is an attack or a mistake, never a reason to pick the good ones.
        """
        addresses = await self._answers(host)
        for address in addresses:
            if why := self.judge(address, port):
                raise forbidden(f"{host} ({address})", port, why)
        return addresses

    async def _answers(self, host: str) -> list[Address]:
        """Resolve `host` once; an address is its own answer. Raises `FetchNameError`."""
        if (address := literal(host)) is not None:
            return [address]
        try:
            answers = await self._lookup(host)
        except socket.gaierror as exc:
            raise FetchNameError(
                "The host name does not resolve.",
                log_detail=f"{host}: {exc}",
                temporary=exc.errno == socket.EAI_AGAIN,
            ) from exc
        except (OSError, UnicodeError) as exc:
            raise FetchNameError(
                "The host name does not resolve.", log_detail=f"{host}: {exc!r}", temporary=False
            ) from exc
        if not answers:
            raise FetchNameError("The host name does not resolve.", temporary=False)
        return [ip_address(answer) for answer in dict.fromkeys(answers)]


def forbidden(host: str, port: int, why: str) -> FetchForbidden:
    """Make the refusal that is vague to the client and exact in the log."""
    return FetchForbidden(REFUSED, log_detail=f"{host} port {port}: {why}")


def host_of(raw_host: bytes) -> str:
    """Give a URL's host in its one canonical spelling, an address without brackets.

    httpx has applied IDNA 2008, which refuses Unicode digits, and turned ideographic full stops
    into dots: what comes out is looked at again here.

    Raises:
        FetchUrlInvalid: it is no host name, or an address in an unusual spelling.
    """
    host = raw_host.decode("ascii")
    if ":" in host:
        if literal(host) is None:
            raise FetchUrlInvalid("The URL's host is not a valid IPv6 address.")
        return host
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise FetchUrlInvalid("The URL has no valid host name.")
    if _NUMBER.fullmatch(labels[-1]) and literal(host) is None:
        raise FetchUrlInvalid(
            "The URL's host is not a valid IPv4 address; it takes four decimal numbers."
        )
    return host
