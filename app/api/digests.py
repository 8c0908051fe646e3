"""Digests that come with a body, checked while it arrives: RFC 9530, and Content-MD5 (RFC 1864)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import http_sf

from app.errors import DigestMismatch, MalformedBody

ALGORITHMS: dict[str, Callable[[], Any]] = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
    # Of no use against an attacker, and good enough against a broken cable.
    "sha": partial(hashlib.sha1, usedforsecurity=False),
    "md5": partial(hashlib.md5, usedforsecurity=False),
}
"""Those of the registry of RFC 9530 that are checked. The others are ignored, as it allows."""

FIELDS = ("content-digest", "repr-digest", "content-md5")
HASHED_AT_ONCE_BYTES = 256 << 10
"""In a thread: a millisecond of SHA-256 where the processor has no instructions for it."""


@dataclass(frozen=True, slots=True)
class Announced:
    """One digest that a body must have."""

    field: str
    """The header that said so, as it is written."""
    algorithm: str
    """One of `ALGORITHMS`."""
    digest: bytes


def digests_in(value: str, wanted: Collection[str] = ALGORITHMS) -> dict[str, bytes]:
    """Read a digest field of RFC 9530: a dictionary of byte sequences (RFC 9651).

    Returns:
        The digests by their algorithm, those of the `wanted` ones of `ALGORITHMS`.

    Raises:
        ValueError: it is no such field, or a digest has not its algorithm's length.
    """
    try:
        members: Any = http_sf.parse(value.encode("ascii"), tltype="dictionary")
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        raise ValueError("it is no dictionary of byte sequences: `sha-256=:` base64 `:`") from None
    known = {name: member[0] for name, member in members.items() if name in wanted}
    for name, digest in known.items():
        if not isinstance(digest, bytes) or len(digest) != ALGORITHMS[name]().digest_size:
            raise ValueError(f"`{name}` takes a digest of {ALGORITHMS[name]().digest_size} bytes")
    return known


def announced(headers: Iterable[tuple[str, str]]) -> list[Announced]:
    """Give every digest that a message, or a part of one, must have by its headers.

    What is sent has no content coding and is no range, so that its representation is its content,
    and `Repr-Digest` says what `Content-Digest` does.

    Args:
        headers: names in lower case with their values, a line each.

    Raises:
        MalformedBody: one of the fields cannot be read. RFC 9651 leaves the choice between that
            and ignoring it; who sends one counts on its being checked.
    """
    lines = [(name, value) for name, value in headers if name in FIELDS]
    found: list[Announced] = []
    for field in FIELDS:
        written = field.title().replace("Md5", "MD5")
        values = [value for name, value in lines if name == field]
        if not values:
            continue
        # Several lines are one field (RFC 9110).
        value = ", ".join(values)
        try:
            said = {"md5": _md5_in(value)} if field == "content-md5" else digests_in(value)
        except ValueError as error:
            raise MalformedBody(f"The header `{written}` cannot be read: {error}.") from None
        found += [Announced(written, algorithm, digest) for algorithm, digest in said.items()]
    return found


def _md5_in(value: str) -> bytes:
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.md5(usedforsecurity=False).digest_size:
        raise ValueError("it takes 16 bytes in base64")
    return digest


def checked(chunks: AsyncIterator[bytes], expected: Sequence[Announced]) -> AsyncIterator[bytes]:
    """Give `chunks` through, and raise `DigestMismatch` behind the last if they are others.

    Whoever keeps them must therefore keep nothing before the end.
    """
    return _checked(chunks, expected) if expected else chunks


async def _checked(
    chunks: AsyncIterator[bytes], expected: Sequence[Announced]
) -> AsyncIterator[bytes]:
    hashes = {one.algorithm: ALGORITHMS[one.algorithm]() for one in expected}
    size_bytes = waiting_bytes = 0
    waiting: list[bytes] = []
    hashing: asyncio.Future[None] | None = None

    def take(pieces: list[bytes]) -> None:
        for piece in pieces:
            for found in hashes.values():
                found.update(piece)

    async for chunk in chunks:
        size_bytes += len(chunk)
        waiting_bytes += len(chunk)
        waiting.append(chunk)
        if waiting_bytes >= HASHED_AT_ONCE_BYTES:
            if hashing is not None:
                await hashing
            hashing = asyncio.get_running_loop().run_in_executor(None, take, waiting)
            waiting, waiting_bytes = [], 0
        yield chunk
    if hashing is not None:
        await hashing
    take(waiting)
    for one in expected:
        if (digest := hashes[one.algorithm].digest()) != one.digest:
            raise DigestMismatch(
                f"`{one.field}` announces {_written(one.algorithm, one.digest)}; the {size_bytes} "
                f"bytes that arrived have {_written(one.algorithm, digest)}.",
                field=one.field,
                received=_written(one.algorithm, digest),
            )


def _written(algorithm: str, digest: bytes) -> str:
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"
