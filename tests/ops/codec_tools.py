"""Tools that are not ours, to undo what our codecs made and to make what they shall undo."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import brotli
import lz4.frame

from app.ops.base import Output

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_COMMANDS = {
    "gzip": ("gzip", "-dc"),
    "zstd": ("zstd", "-dqc"),
    "xz": ("xz", "-dc"),
    "bz2": ("bzip2", "-dc"),
    "lz4": ("lz4", "-dqc"),
}


def as_file(output: Output, folder: Path) -> Output:
    """Give a result as a file, if it is a value: tools read files."""
    if output.data is None:
        return output
    path = folder / "value"
    path.write_bytes(output.data)
    return replace(output, path=path, data=None)


def restored(path: Path, codec: str) -> bytes:
    """Undo the coding with the format's usual tool; where there is none, with a library."""
    content = path.read_bytes()
    command = _COMMANDS.get(codec)
    if command and shutil.which(command[0]):
        done = subprocess.run(command, input=content, check=True, capture_output=True)
        assert not done.stderr
        return done.stdout
    return by_library(content, codec)


def by_library(content: bytes, codec: str) -> bytes:
    """Undo the coding with a library that is not the one that ours decodes with, if there is."""
    if codec in ("zlib", "deflate-raw", "gzip"):
        bits = {"gzip": 31, "zlib": zlib.MAX_WBITS, "deflate-raw": -zlib.MAX_WBITS}[codec]
        decoder = zlib.decompressobj(bits)
        plain = decoder.decompress(content) + decoder.flush()
        assert decoder.eof
        assert not decoder.unused_data
        return plain
    return {
        "zstd": zstd.decompress,
        "br": brotli.decompress,
        "xz": lzma.decompress,
        "bz2": bz2.decompress,
        "lz4": lz4.frame.decompress,
    }[codec](content)


def _raw(plain: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(plain) + compressor.flush()


MADE_ELSEWHERE = {
    "gzip": lambda data: gzip.compress(data, mtime=0),  # it names tests, in each process alike
    "zlib": zlib.compress,
    "deflate-raw": _raw,
    "zstd": lambda plain: zstd.compress(
        plain, options={zstd.CompressionParameter.checksum_flag: 1}
    ),
    "br": lambda plain: brotli.compress(plain, quality=5),
    "xz": lambda plain: lzma.compress(plain, preset=1),
    "bz2": bz2.compress,
    "lz4": lambda plain: lz4.frame.compress(plain, content_checksum=True),
}


@cache
def _lines() -> bytes:
    chance = random.Random(5)
    lines = (
        f'{{"id": {chance.getrandbits(40)}, "path": "{chance.choice(("/a", "/b"))}", "ok": true}}'
        for _ in range(40_000)
    )
    return "\n".join(lines).encode()


@cache
def text(size_bytes: int) -> bytes:
    """Make lines of JSON, the same each time."""
    part = _lines()
    parts = [part]
    made_bytes = len(part)
    while made_bytes < size_bytes:
        # Repeats itself, as logs do, but further apart than deflate can see.
        parts.append(b"%d\n" % len(parts) + part)
        made_bytes += len(parts[-1])
    return b"".join(parts)[:size_bytes]


@cache
def contents() -> dict[str, bytes]:
    """Give a content of each kind that codecs treat differently."""
    return {
        "empty": b"",
        "one_byte": b"x",
        "random": random.Random(5).randbytes(200_000),
        "zeros": bytes(3_000_000),
        "text": text(200_000),
        "compressed": gzip.compress(text(300_000), mtime=0),
    }
