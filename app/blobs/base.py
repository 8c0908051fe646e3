"""What a blob store promises, whichever disk or service is behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, Field

from app.errors import BlobMissing
from app.model.blobs import Blob

PIECE_BYTES = 4 << 20
"""Of bytes that are not on this machine, to be asked for at once."""


class BlobSettings(BaseModel):
    """OFFLOAD_BLOBS_*: when bytes are refused, and when unused ones go."""

    min_free_bytes: int = Field(
        1 << 30,
        ge=0,
        le=1 << 62,
        description="Free disk space that stays free: uploads that would go below it are refused "
        "with 507, and items whose results would fail with `storage.full`.",
    )
    grace_s: float = Field(
        3600,
        ge=60,
        le=315_360_000,
        description="Seconds that bytes stay that never had a record, as a crash leaves them. What "
        "is deleted or expires is off the disk within a minute.",
    )


class StorageSettings(BaseModel):
    """OFFLOAD_STORAGE_*: where large bodies are kept, if not in the data folder."""

    url: str = Field(
        "",
        max_length=2_000,
        description="Bucket for stored bytes, with a path in it: `s3://bucket/path`, `gs://…` or "
        "`az://container/path`. Empty: the data folder.",
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="What the bucket's client is to know, as JSON, e.g. "
        '`{"endpoint": "https://s3.example.com", "region": "eu-1"}`. Keys are better given by '
        "AWS_ACCESS_KEY_ID and its like, or by the machine's own role.",
    )
    cache_bytes: int = Field(
        10 << 30,
        ge=0,
        le=1 << 50,
        description="Bytes of stored files that a node keeps on its disk after they were needed.",
    )
    retry_s: float = Field(
        60,
        ge=0,
        le=240,
        description="Seconds for which a request to the bucket is tried again before it fails.",
    )
    redirect: bool = Field(
        default=False,
        description="Whether downloads are redirected to the bucket, by a link that is signed.",
    )
    redirect_s: int = Field(60, ge=1, le=604_800, description="Seconds that such a link holds.")


def missing(detail: str) -> BlobMissing:
    """Give what is raised for bytes that are gone; `detail` is for the operator."""
    return BlobMissing("The stored bytes of this file are gone.", log_detail=detail)


class Ranges(Protocol):
    """Bytes that are read where they are, from any place."""

    async def check(self) -> None:
        """Raise as `BlobStore.local` does, before anything is read."""

    async def read(self, size_bytes: int) -> bytes:
        """Give the next so many, fewer only at the end. Raises as `BlobStore.local` does."""

    async def seek(self, at: int) -> None:
        """Go on at a place."""

    async def aclose(self) -> None:
        """End."""


class BlobStore(Protocol):
    """Immutable bytes, each time they are stored under a key of their own.

    Which of them are in use the records know, not the store: whoever stores bytes sees to it that
    records name them, or else to `Unrecorded`. What a crash leaves goes after a grace time.
    Several processes may have one store open.
    """

    async def put(
        self, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """Store a stream: counted, hashed and typed in one pass, never whole in memory.

        Without `sha256` the digest is the bytes' BLAKE3: on processors that have no instructions
        for SHA-256, computing that takes longer than everything else about storing a file.

        When it returns, the bytes are on disk under their final name, or nowhere: what `chunks`
        raises, and cancellation, leave no trace.

        Raises:
            BodyTooLarge: more than `max_bytes`; raised at the first byte too many.
            StorageFull: the free-space floor is reached.
            StorageError: the disk failed.
        """

    async def save(
        self, path: Path, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """Write a stream to a new file in a scratch folder, as `put` does, but do not store it.

        Gives what `adopt` would store it as.
        """

    async def adopt(self, path: Path, blob: Blob) -> None:
        """Take over a finished file of the store's own scratch folder, without a copy.

        `blob` says what it holds and, with a new key, where it goes; the file is gone from `path`
        afterwards.

        Raises `StorageFull` while the free-space floor is not kept.
        """

    async def take(self, path: Path, blob: Blob) -> None:
        """Store a copy of a file under `blob`'s own key, if its bytes are what `blob` says.

        Raises `BytesDiffer` if they are not, and otherwise as `put` does; then nothing is stored.
        """

    async def has(self, blob: Blob) -> bool:
        """Tell whether bytes of this size are stored under this key."""

    async def link(self, blob: Blob) -> Blob:
        """Store the same bytes once more, under a key of their own, without a copy.

        Raises `BlobMissing` if they are gone; what it gives stays, whatever becomes of the first.
        """

    def local(self, blob: Blob) -> AbstractAsyncContextManager[Path]:
        """Give a path that holds stored bytes, to be read only, while the context is open.

        If the last record goes meanwhile, so may the path; not what was opened.

        Raises:
            BlobMissing: no such bytes.
        """

    def ranges(self, blob: Blob) -> Ranges | None:
        """Give what reads parts of bytes that are not on this machine; None where they are."""

    async def url(self, blob: Blob, disposition: str) -> str | None:
        """Give a link to the bytes that holds for a while, if clients are to be sent there.

        Where the bucket can be told, its answer has this Content-Disposition, and the blob's type.
        """

    def scratch(self) -> AbstractAsyncContextManager[Path]:
        """Give an empty folder from which `adopt` is a rename; removed with all its content."""

    def spare(self) -> Path:
        """Give a place for such a folder, which whoever needs it makes, and `clear` removes."""

    async def clear(self, folders: Iterable[Path]) -> None:
        """Remove those of some folders that were made, with all their content."""

    def unused_since(self, age_s: float) -> AsyncIterator[list[str]]:
        """Give, a batch at a time, the keys that were stored `age_s` ago or earlier."""

    async def delete(self, key: str) -> bool:
        """Remove bytes that no record names; True if they were there and are gone.

        While a backup is made, nothing is removed: the same call does it later.
        """

    async def may_remove(self) -> bool:
        """Tell whether `delete` can remove anything now: no backup is being made."""

    def check_space(self, size_bytes: int = 0) -> None:
        """Raise `StorageFull` if so many bytes would go below the free-space floor."""

    async def check_writable(self) -> None:
        """Raise `StorageError` unless an upload would be taken now."""
