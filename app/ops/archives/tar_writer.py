"""Writing a tar: pax (IEEE 1003.1) where a name or size needs it, plain ustar elsewhere.

Not GNU's format: it leaves the code page of a name open, and Windows' own tar then guesses.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

from app.ops.codecs.blocks import Sink

_CHUNK_BYTES = 1 << 20
_RECORD_BYTES = tarfile.RECORDSIZE


class _Gathered:
    """Passes bytes on in portions of 1 MiB: a thousand small files are two thousand writes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        held = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        for at in range(0, len(held), _CHUNK_BYTES):
            self._sink.write(held[at : at + _CHUNK_BYTES])


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
    out = _Gathered(sink)
    done_bytes = 0
    for header, path, size_bytes in members:
        out.write(header)
        left = size_bytes
        with path.open("rb") as reader:
            while left and (chunk := reader.read(min(left, _CHUNK_BYTES))):
                out.write(chunk)
                left -= len(chunk)
                wrote(len(chunk))
        if left:
            raise OSError(f"{path} ends {left} bytes before its end.")
        out.write(bytes(-size_bytes % tarfile.BLOCKSIZE))
        done_bytes += len(header) + size_bytes + -size_bytes % tarfile.BLOCKSIZE
    done_bytes += 2 * tarfile.BLOCKSIZE
    out.write(bytes(2 * tarfile.BLOCKSIZE + -done_bytes % _RECORD_BYTES))
    out.flush()
