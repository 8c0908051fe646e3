"""The body of a fetch on its way in: decoded, counted, capped, judged, and proved to be whole."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from fnmatch import fnmatchcase

import httpx

from app.errors import (
    FetchDigestMismatch,
    FetchError,
    FetchTooLarge,
    FetchTruncated,
    FetchTypeRefused,
    InternalError,
)
from app.ops.media_type import HEAD_BYTES, TEXT, UNKNOWN, sniff
from app.ops.text_types import is_textual
from app.outbound.coding import Decoder, decoder_for
from app.outbound.headers import media_type

Resume = Callable[[FetchError, int], Awaitable[httpx.Response]]
"""Given what cut the body off after how many bytes on the wire, gives the response that goes on
from there; raises the error again where there is none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a body must be."""

    max_bytes: int
    """Most bytes, decoded."""
    accept_types: tuple[str, ...] = ()
    """Media types with `*` for any part; empty for all."""
    sha256: str | None = None
    """Of the decoded bytes, lower-case hex; None for any."""

    def fits(self, size_bytes: int, sha256: str) -> bool:
        """Tell whether whole content of this size and digest is what is wanted."""
        return size_bytes <= self.max_bytes and self.sha256 in (None, sha256)

    def accepts(self, found: str, claimed: str | None) -> bool:
        """Tell whether content is of an accepted type.

        What the origin calls it must be one, unless that says nothing. Text of most kinds has no
        signature: it is taken for what the origin calls it.
        """
        if not self._accepts_claim(claimed):
            return False
        textual = found == TEXT and claimed is not None and is_textual(claimed)
        return self._matches(found) or (textual and self._matches(claimed))

    def check_claimed(self, claimed: str | None) -> None:
        """Refuse by what the origin calls the content, before any of it is read.

        Raises:
            FetchTypeRefused: it is called something that is not accepted.
        """
        if not self._accepts_claim(claimed):
            raise FetchTypeRefused(
                f"The origin calls the content {claimed}, which is not among the accepted types.",
                claimed=claimed,
            )

    def check_content(self, head: bytes, claimed: str | None) -> None:
        """Refuse by what the content begins with.

        Raises:
            FetchTypeRefused: it is nothing that is accepted.
        """
        found = sniff(head)
        if not self.accepts(found, claimed):
            raise FetchTypeRefused(
                f"The content is {found}, which is not among the accepted types.", found=found
            )

    def _accepts_claim(self, claimed: str | None) -> bool:
        return claimed in (None, UNKNOWN) or self._matches(claimed)

    def _matches(self, kind: str | None) -> bool:
        if not self.accept_types:
            return True
        return kind is not None and any(fnmatchcase(kind, glob) for glob in self.accept_types)


class Body:
    """The decoded bytes of one response, and of those that go on where it was cut off."""

    # Small enough that a step between two awaits takes well under a millisecond, whatever is in it.
    _SLICE_BYTES = 16 * 1024
    # What a coding may add to content that does not compress: gzip's members and stored blocks.
    _CODED_SLACK_BYTES = 64 * 1024

    def __init__(
        self,
        response: httpx.Response,
        wanted: Wanted,
        *,
        resume: Resume,
        ended: Callable[[], None],
    ) -> None:
        """Look at the header; `ended` is called when the origin has done its part.

        Raises:
            FetchError: the header alone shows that the content is not wanted or not readable.
        """
        self.size_bytes = 0
        self._wanted = wanted
        self._resume = resume
        self._ended = ended
        self._parts = [response]
        self._claimed = media_type(response.headers)
        self._decoder: Decoder | None = None
        self._failure: FetchError | None = None
        self._complete = False
        wanted.check_claimed(self._claimed)
        if response.status_code == httpx.codes.NO_CONTENT:
            return
        self._decoder = decoder_for(response.headers.get("content-encoding", ""))
        self._check_declared(response.headers.get("content-length", ""))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content; raises `FetchError` where it is not whole or not what is wanted."""
        try:
            async with aclosing(self._judged()) as judged:
                async for chunk in judged:
                    yield chunk
        except FetchError as error:
            self._failure = error
            raise
        self._complete = True
        # The origin is free for the next one while this body goes to disk.
        self._ended()

    def check(self) -> None:
        """Make sure that what was saved is the whole; a `save` that keeps its promise passes."""
        if self._failure is not None:
            raise self._failure
        if not self._complete:
            raise InternalError("The content was not stored to its end.")

    async def aclose(self) -> None:
        """Drop the connections of responses that were not read to their ends."""
        for part in self._parts:
            await part.aclose()

    async def _judged(self) -> AsyncGenerator[bytes, None]:
        """Yield what `_measured` does, its beginning once it is known to be of a wanted type."""
        head: list[bytes] | None = [] if self._wanted.accept_types else None
        async with aclosing(self._measured()) as measured:
            async for chunk in measured:
                if head is None:
                    yield chunk
                    continue
                head.append(chunk)
                if self.size_bytes >= HEAD_BYTES:
                    yield self._checked(head)
                    head = None
        if head is not None:
            yield self._checked(head)

    def _checked(self, head: list[bytes]) -> bytes:
        joined = b"".join(head)
        self._wanted.check_content(joined, self._claimed)
        return joined

    async def _measured(self) -> AsyncGenerator[bytes, None]:
        digest = hashlib.sha256() if self._wanted.sha256 else None
        async with aclosing(self._decoded()) as decoded:
            async for chunk in decoded:
                self.size_bytes += len(chunk)
                self._check_size(self.size_bytes, self._wanted.max_bytes)
                if digest is not None:
                    digest.update(chunk)
                yield chunk
        if digest is not None and digest.hexdigest() != self._wanted.sha256:
            raise digest_mismatch(digest.hexdigest())

    async def _decoded(self) -> AsyncGenerator[bytes, None]:
        decoder = self._decoder
        wire_bytes = 0
        async with aclosing(self._wire()) as wire:
            async for raw in wire:
                if decoder is None:
                    yield raw
                    continue
                wire_bytes += len(raw)
                self._check_size(wire_bytes, self._max_wire_bytes)
                for start in range(0, len(raw), self._SLICE_BYTES):
                    for piece in decoder.feed(raw[start : start + self._SLICE_BYTES]):
                        yield piece
                    # What `save` does with a piece need not wait for anything, so wait here.
                    await asyncio.sleep(0)
        if decoder is not None:
            decoder.finish()

    async def _wire(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the wire, from as many responses as it takes."""
        received = 0
        while True:
            try:
                async for raw in self._parts[-1].aiter_raw():
                    received += len(raw)
                    yield raw
            except FetchError as error:
                self._parts.append(await self._resume(error, received))
            else:
                break
        whole = content_range(self._parts[-1]) if len(self._parts) > 1 else None
        if whole is not None and whole.total != received:
            raise FetchTruncated("The response ended before its declared end.")

    @property
    def _max_wire_bytes(self) -> int:
        # A stream of empty gzip members decodes to nothing for ever.
        limit = self._wanted.max_bytes
        return limit + limit // 8 + self._CODED_SLACK_BYTES

    def _check_declared(self, length: str) -> None:
        if re.fullmatch("[0-9]{1,18}", length):
            limit = self._wanted.max_bytes if self._decoder is None else self._max_wire_bytes
            self._check_size(int(length), limit)

    def _check_size(self, size_bytes: int, limit_bytes: int) -> None:
        if size_bytes > limit_bytes:
            raise too_large(self._wanted.max_bytes)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of how many a part holds (RFC 9110, 14.4)."""

    first: int
    last: int
    total: int


def content_range(response: httpx.Response) -> ContentRange | None:
    """Read the Content-Range of a part; None where there is none that says it all."""
    given = response.headers.get("content-range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", given.strip())
    return ContentRange(*map(int, found.groups())) if found else None


def strong_etag(response: httpx.Response) -> str | None:
    """Give the ETag if it stands for the very bytes (RFC 9110, 8.8.3)."""
    etag = response.headers.get("etag", "")
    return etag if re.fullmatch(r'"[\x21\x23-\x7e]*"', etag) else None


def too_large(max_bytes: int) -> FetchTooLarge:
    """Say that a body is over its limit."""
    return FetchTooLarge(f"The response is larger than {max_bytes} bytes.", max_bytes=max_bytes)


def digest_mismatch(found: str) -> FetchDigestMismatch:
    """Say which digest the content has instead of the expected one."""
    return FetchDigestMismatch(
        "The content arrived whole, and its sha256 is not the one that was given.", sha256=found
    )
