"""Files of the service: read, saved, deleted. Written by `make client`. Do not edit."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Generator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from offload._sync.transport import Patience, Transport
from offload._sync.waiting import call
from offload.errors import DigestMismatch, OffloadError
from offload.records import FileData
from offload.saving import Saving, target_of

if TYPE_CHECKING:
    from offload.documents import FileDocument

PRECONDITION = HTTPStatus.PRECONDITION_FAILED


class File(FileData):
    """A stored file: an input, a result, or one that was stored by itself."""

    __slots__ = ("_transport",)

    def __init__(self, document: FileDocument, transport: Transport) -> None:
        """Keep what is known of it, and who has it."""
        super().__init__(document)
        self._transport = transport

    def iter_bytes(self) -> Generator[bytes, None, None]:
        """Give the content piece by piece.

        A lost connection is taken up again where it broke. Behind the last piece the whole is
        held against the digest that the service has sent.

        Raises:
            OffloadError: it is gone, or cannot be had.
            DigestMismatch: it is not what the service says that it is.
        """
        patience, so_far = Patience(self._transport), _SoFar(self.sha256)
        while True:
            try:
                opened = self._transport.stream(self._content_path, so_far.headers())
                with opened as (response, own):
                    so_far.begin(response, own)
                    for piece in response.iter_raw():
                        if kept := so_far.take(piece):
                            patience.forget()
                            yield kept
                so_far.check(self.name)
            except (httpx.TransportError, OffloadError) as error:
                if error_is_final(error):
                    raise
                patience.wait(error, again=True)
            else:
                return

    @property
    def _content_path(self) -> str:
        return f"/v1/files/{self.id}/content"

    def read(self) -> bytes:
        """Give the whole content. Raises as `iter_bytes` does."""
        with closing(self.iter_bytes()) as pieces:
            return b"".join([piece for piece in pieces])

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = True,
        told: Callable[[int], None] | None = None,
    ) -> Path:
        """Save the content: whole under its final name, or not at all.

        Args:
            path: of a file, or of a folder that is there; in that it has its own name.
            overwrite: whether a file of that name may be replaced.
            told: called with how many bytes more have arrived.

        Returns:
            Where it is.

        Raises:
            OSError: it cannot be written there; FileExistsError without `overwrite`.
            OffloadError: as `iter_bytes` raises it.
        """
        saving = call(lambda: Saving(target_of(path, self.name), overwrite=overwrite))
        try:
            with closing(self.iter_bytes()) as pieces:
                for piece in pieces:
                    call(saving.write, piece)
                    if told is not None:
                        told(len(piece))
            call(saving.finish)
        finally:
            # At once and not in a thread: whoever is cancelled awaits nothing more.
            saving.drop()
        return saving.target

    def refresh(self) -> None:
        """Look at it again: when it expires, whether it is there. Raises `NotFound`."""
        self.document = self._transport.get(f"/v1/files/{self.id}")

    def delete(self) -> None:
        """Remove it from the service; jobs that were given it keep what they need."""
        self._transport.ask("DELETE", f"/v1/files/{self.id}", again=True)


def error_is_final(error: Exception) -> bool:
    """Tell whether another try would bring nothing else."""
    return isinstance(error, DigestMismatch)


class _SoFar:
    """How much of a content is there, over all connections that it took."""

    def __init__(self, sha256: str | None) -> None:
        self._sha256 = sha256
        self._hash = hashlib.sha256()
        self._got_bytes = 0
        self._skip_bytes = 0
        self._etag: str | None = None

    def headers(self) -> dict[str, str]:
        """Ask for what is missing, and of the same version."""
        asked = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if self._got_bytes:
            asked["Range"] = f"bytes={self._got_bytes}-"
            if self._etag:
                asked["If-Match"] = self._etag
        return asked

    def begin(self, response: httpx.Response, own: httpx.Headers) -> None:
        """Take note of what an answer says of the content, and where it begins."""
        self._etag = self._etag or own.get("etag")
        self._sha256 = _sha256_in(own.get("repr-digest", "")) or self._sha256
        start = 0
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            found = re.match(r"bytes (\d{1,18})-", response.headers.get("content-range", ""))
            start = int(found[1]) if found else -1
        if not 0 <= start <= self._got_bytes:
            raise DigestMismatch("The service sent another range than was asked for.")
        # Who does not know ranges sends all of it again.
        self._skip_bytes = self._got_bytes - start

    def take(self, piece: bytes) -> bytes:
        """Give what is new of a piece."""
        kept = piece[self._skip_bytes :]
        self._skip_bytes -= len(piece) - len(kept)
        self._got_bytes += len(kept)
        self._hash.update(kept)
        return kept

    def check(self, name: str) -> None:
        """Hold all that came against its digest."""
        if self._sha256 is not None and self._hash.hexdigest() != self._sha256:
            raise DigestMismatch(
                f"{name} did not arrive as the service has it: its sha256 differs."
            )


def _sha256_in(header: str) -> str | None:
    """Read a Repr-Digest (RFC 9530); None without a sha-256."""
    found = re.search(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):", header)
    try:
        return base64.b64decode(found[1]).hex() if found else None
    except binascii.Error:
        return None
