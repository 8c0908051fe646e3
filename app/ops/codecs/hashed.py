"""A file that is hashed while it is written, so that nobody has to read it again."""

from __future__ import annotations

import hashlib
from typing import BinaryIO


class HashedFile:
    """Passes what is written on to a file, the caller's to close, and knows its sha256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""
        self._sha256.update(data)
        self._file.write(data)
        return len(data)

    @property
    def sha256(self) -> str:
        """Of all that was written so far, hexadecimal."""
        return self._sha256.hexdigest()
