"""Writing a tar: pax (IEEE 1003.1) where a name or size needs it, plain ustar elsewhere.

Not GNU's format: it leaves the code page of a name open, and Windows' own tar then guesses.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from app.ops.codecs.blocks import Cutter, Sink

_CHUNK_BYTES = 1 << 20
_RECORD_BYTES = tarfile.RECORDSIZE


def header_bytes(name: str, size_bytes: int, modified_s: int) -> bytes:
    """Make a member's header: an ordinary file of mode 644 that belongs to root."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mtime = modified_s
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def tar_bytes(headers: Iterable[bytes], sizes: Iterable[int]) -> int:
    """Tell how large a tar of such members is, end mark and filling included."""
    content = sum(map(len, headers)) + sum(size + -size % tarfile.BLOCKSIZE for size in sizes)
    whole = content + 2 * tarfile.BLOCKSIZE
    return whole + -whole % _RECORD_BYTES


def write_tar(
    sink: Sink, members: Iterable[tuple[bytes, Path, int]], wrote: Callable[[int], None]
) -> None:
    """Write a whole tar.

    Args:
        sink: where to.
        members: header, file and its size in bytes.
        wrote: called with how many bytes of the input are through.

    Raises:
        OSError: a file ends before its size; or reading or writing failed.
    """
    # In portions of 1 MiB: a thousand small files would be two thousand writes.
    cutter = Cutter(_CHUNK_BYTES)
    done_bytes = 0
    for part in _parts(members, wrote):
        done_bytes += len(part)
        for portion in cutter.add(part):
            sink.write(portion)
    end_bytes = 2 * tarfile.BLOCKSIZE
    end_bytes += -(done_bytes + end_bytes) % _RECORD_BYTES
    sink.write(cutter.rest() + bytes(end_bytes))


def _parts(
    members: Iterable[tuple[bytes, Path, int]], wrote: Callable[[int], None]
) -> Iterator[bytes]:
    for header, path, size_bytes in members:
        yield header
        left = size_bytes
        with path.open("rb") as reader:
            while left and (chunk := reader.read(min(left, _CHUNK_BYTES))):
                yield chunk
                left -= len(chunk)
                wrote(len(chunk))
        if left:
            raise OSError(f"{path} ends {left} bytes before its end.")
        yield bytes(-size_bytes % tarfile.BLOCKSIZE)
