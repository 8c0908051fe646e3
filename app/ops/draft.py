"""A result while it is written: hashed, and held in memory as long as it is small."""

from __future__ import annotations

import hashlib
import io
from typing import BinaryIO, Self

from app.ops.base import NOWHERE, Output, Work

HELD_BYTES = 1 << 20
"""Larger results are files. As much as is read and written at a time anyway."""


class Draft:
    """Takes a result's bytes. Use it as a context manager: left by an exception, it is no more."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._path = NOWHERE
        # What is more than may be produced goes to a file, which ends where the limit does.
        self._held_bytes = min(HELD_BYTES, work.limits.max_output_bytes)
        self._file: BinaryIO = io.BytesIO()
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""
        self._sha256.update(data)
        self.size_bytes += len(data)
        if self._path is NOWHERE and self.size_bytes > self._held_bytes:
            self._spill()
        self._file.write(data)
        return len(data)

    def _spill(self) -> None:
        held = self._file
        self._path = self._work.place() / "result"
        self._file = self._path.open("xb")
        assert isinstance(held, io.BytesIO)  # noqa: S101 - the caller has looked
        self._file.write(held.getvalue())

    def output(self, name: str, media_type: str) -> Output:
        """Give what was written, under the name that a client sees; nothing can be added then."""
        data = self._file.getvalue() if isinstance(self._file, io.BytesIO) else None
        self._file.close()
        return Output(self._path, name, media_type, self._sha256.hexdigest(), data)

    def discard(self) -> None:
        """Throw it away, and the file if there is one."""
        self._file.close()
        if self._path is not NOWHERE:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """On an exception, discard it."""
        if kind is not None:
            self.discard()
