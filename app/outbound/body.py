"""The body of a fetch on its way in: decoded, counted, capped, judged, and proved to be whole."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
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
from app.outbound.client import Wire
from app.outbound.coding import Decoding, decoding_of
from app.outbound.headers import media_type
from app.outbound.resume import content_range

Resume = Callable[[httpx.Response, FetchError, int], Awaitable[httpx.Response]]
"""Given the first response, and what cut the body off after how many bytes on the wire, gives the
response that goes on from there; raises the error again where there is none."""


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
        self.claimed = media_type(response.headers)
        """As the origin says."""
        self._wanted = wanted
        self._resume = resume
        self._ended = ended
        self._parts = [response]
        self._wire_bytes = 0
        self._decoding: Decoding | None = None
        self._digest = hashlib.sha256() if wanted.sha256 else None
        self._failure: FetchError | None = None
        self._complete = False
        wanted.check_claimed(self.claimed)
        if response.status_code == httpx.codes.NO_CONTENT:
            return
        self._decoding = decoding_of(response.headers.get("content-encoding", ""))
        self._check_declared(response.headers.get("content-length", ""))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content; raises `FetchError` where it is not whole or not what is wanted."""
        head: list[bytes] | None = [] if self._wanted.accept_types else None
        try:
            while raw := await self._received():
                for part in self._slices(raw):
                    for piece in self._decoded(part):
                        self._take(piece)
                        if head is None:
                            yield piece
                            continue
                        head.append(piece)
                        if self.size_bytes >= HEAD_BYTES:
                            yield self._checked(head)
                            head = None
                    if self._decoding is not None:
                        # What is done with a piece need not wait for anything, so wait here.
                        await asyncio.sleep(0)
            self._end()
            if head is not None:
                yield self._checked(head)
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

    async def _received(self) -> bytes:
        """Give what has come off the wire, from as many responses as it takes; nothing at the end.

        What is coded is counted here as well: a stream of empty gzip members decodes to nothing
        for ever.
        """
        while True:
            wire = self._parts[-1].stream
            assert isinstance(wire, Wire)  # noqa: S101 - as the client gives it
            try:
                raw = await wire.read()
            except FetchError as error:
                self._parts.append(await self._resume(self._parts[0], error, self._wire_bytes))
                continue
            self._wire_bytes += len(raw)
            if self._decoding is not None:
                self._check_size(self._wire_bytes, self._max_wire_bytes)
            return raw

    def _slices(self, raw: bytes) -> Iterable[bytes]:
        if self._decoding is None:
            return (raw,)
        step = self._SLICE_BYTES
        return (raw[start : start + step] for start in range(0, len(raw), step))

    def _decoded(self, part: bytes) -> Iterable[bytes]:
        return (part,) if self._decoding is None else self._decoding.feed(part)

    def _take(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        self._check_size(self.size_bytes, self._wanted.max_bytes)
        if self._digest is not None:
            self._digest.update(piece)

    def _end(self) -> None:
        """Make sure that the end is one."""
        whole = content_range(self._parts[-1]) if len(self._parts) > 1 else None
        if whole is not None and whole.total != self._wire_bytes:
            raise FetchTruncated("The response ended before its declared end.")
        if self._decoding is not None:
            self._decoding.finish()
        if self._digest is not None and self._digest.hexdigest() != self._wanted.sha256:
            raise FetchDigestMismatch(
                "The content arrived whole, and its sha256 is not the one that was given.",
                sha256=self._digest.hexdigest(),
            )

    def _checked(self, head: list[bytes]) -> bytes:
        joined = b"".join(head)
        self._wanted.check_content(joined, self.claimed)
        return joined

    @property
    def _max_wire_bytes(self) -> int:
        limit = self._wanted.max_bytes
        return limit + limit // 8 + self._CODED_SLACK_BYTES

    def _check_declared(self, length: str) -> None:
        if re.fullmatch("[0-9]{1,18}", length):
            limit = self._wanted.max_bytes if self._decoding is None else self._max_wire_bytes
            self._check_size(int(length), limit)

    def _check_size(self, size_bytes: int, limit_bytes: int) -> None:
        if size_bytes > limit_bytes:
            most = self._wanted.max_bytes
            raise FetchTooLarge(f"The response is larger than {most} bytes.", max_bytes=most)
