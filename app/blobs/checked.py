"""A file as a stream that is held against what is known of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from app.blobs.upload import BUFFER_BYTES, Tally
from app.errors import BodyTooLarge
from app.model.blobs import BLAKE3_PREFIX, Blob


class BytesDiffer(Exception):
    """A file does not hold the bytes that it is to hold."""


async def checked(
    path: Path, blob: Blob, run: Callable[..., Awaitable[Any]]
) -> AsyncIterator[bytes]:
    """Give a file's bytes; `run` has a function run in a thread.

    Raises:
        BytesDiffer: they are not what `blob` says. So whoever stores them does not come to its end.
    """
    tally = Tally(blob.size_bytes, sha256=not blob.digest.startswith(BLAKE3_PREFIX))
    file = await run(path.open, "rb")
    try:
        while piece := await run(_read, file, tally):
            yield piece
    except BodyTooLarge as error:
        raise BytesDiffer(blob.key) from error
    finally:
        file.close()
    size_bytes, _, digest = tally.told()
    if (size_bytes, digest) != (blob.size_bytes, blob.digest):
        raise BytesDiffer(blob.key)


def _read(file: IO[bytes], tally: Tally) -> bytes:
    piece = file.read(BUFFER_BYTES)
    tally.take(len(piece))
    tally.add(piece)
    return piece
