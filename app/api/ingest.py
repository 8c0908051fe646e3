"""Request bodies on their way into the store: streamed, counted, never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.digests import announced, checked
from app.api.multipart import MultipartReader
from app.api.names import NAMELESS, PATHS, Paths, bounded, kept_name, name_in
from app.api.options import paths_of
from app.api.slips import FORM, check_form
from app.blobs import values
from app.blobs.unrecorded import Unrecorded
from app.errors import (
    BodyTooLarge,
    EmptyBody,
    IncompleteBody,
    InvalidParameter,
    TooManyItems,
    UnsupportedBody,
)
from app.model.blobs import SMALL_BYTES, Blob, NamedBlob
from app.ops.text_types import Word, called
from app.runtime import Runtime

MULTIPART_OVERHEAD_BYTES = 1 << 20
"""Boundaries, part headers and fields, on top of what the files may weigh."""
MAX_DOCUMENT_BYTES = 16 << 20
"""A JSON document is read whole: 10,000 URLs of 1.6 kB fit."""
PIECE_BYTES = 64 << 10
MAX_FIELDS = 1_000
MAX_FIELD_BYTES = 1 << 20
MAX_FIELDS_BYTES = 4 << 20
"""All fields of a form together: they are kept in memory."""

VALUES_BYTES = 16 << 20
"""Of one request's small files, so much is kept in memory; the others go to the disk."""

JSON = "application/json"
MULTIPART = "multipart/form-data"

Put = Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, Blob]]
"""Stores a stream."""


@dataclass(slots=True)
class Received:
    """What a body held."""

    uploads: list[NamedBlob] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Name and value of each part that is no file, as they came."""
    document: Sequence[bytes | bytearray] | None = None
    """The text of a JSON body; None for any other."""

    @property
    def text_bytes(self) -> int:
        """How much there is to understand, in bytes (fields: characters)."""
        return sum(map(len, self.document or ())) + sum(len(value) for _, value in self.fields)


def body_kind(request: Request) -> str:
    """Give the request's media type without its parameters; empty if it has none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_coding(request: Request) -> None:
    """Raise `UnsupportedBody` if the body has a Content-Encoding."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("Send the body without Content-Encoding.")


async def receive(
    request: Request,
    runtime: Runtime,
    stored: Unrecorded,
    *,
    raw_name: str | None = None,
    sha256: bool = False,
    paths: Paths | None = None,
    form_names: Collection[str] = (),
) -> Received:
    """Read a body of any of the three kinds: multipart, a JSON document, or one raw file.

    Args:
        request: whose body.
        runtime: says how large it may be, and whether there is room.
        stored: where its files are kept.
        raw_name: of a raw file.
        sha256: whether the files will be told with it.
        paths: what becomes of the folders in the names of files; a form may say it instead.
        form_names: what a form may say beside its files.

    Raises:
        OffloadError: too large, empty, malformed, stalled, or nowhere to keep it.
    """
    kind = body_kind(request)
    check_coding(request)
    limit = runtime.settings.upload.max_bytes
    put = _keeper(runtime, partial(stored.put, sha256=sha256), limit)
    received = Received()
    if kind == JSON:
        received.document = await read_document(request, MAX_DOCUMENT_BYTES)
    elif kind == MULTIPART:
        chunks = file_chunks(request, runtime, limit + MULTIPART_OVERHEAD_BYTES)
        reader = MultipartReader(request.headers["content-type"], chunks)
        await _receive_parts(reader, put, runtime.settings.upload.max_files, paths, received)
    else:
        chunks = file_chunks(request, runtime, limit)
        name = raw_name or name_in(request.headers.get("content-disposition")) or NAMELESS
        name = kept_name(name, paths)
        raw = await _receive_raw(request, chunks, put, name, form_names)
        received.uploads.append(raw)
    return received


async def read_document(request: Request, max_bytes: int) -> list[bytearray]:
    """Read a body up to its own limit; gives it in pieces of some size, however it came."""
    pieces: list[bytearray] = []
    async for chunk in body_chunks(request, max_bytes):
        if pieces and len(pieces[-1]) < PIECE_BYTES:
            pieces[-1] += chunk
        else:
            pieces.append(bytearray(chunk))
    return pieces


def file_chunks(request: Request, runtime: Runtime, max_bytes: int) -> AsyncIterator[bytes]:
    """Give a body that goes to the disk, as `body_chunks` does.

    Raises `StorageFull` if by Content-Length there is no room for it; the store sees to the others.
    """
    declared_bytes = _declared_bytes(request)
    if declared_bytes <= max_bytes:
        runtime.blobs.check_space(declared_bytes)
    return body_chunks(request, max_bytes)


def body_chunks(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Give the body as it arrives, refused by Content-Length at once, else at the byte too many.

    Raises:
        MalformedBody: the request has a header with digests that cannot be read.

    The chunks raise:
        BodyTooLarge: more than `max_bytes`.
        IncompleteBody: the client went away, or was cut off because it was too slow
            (`app/wire`, which has told it so).
        DigestMismatch: behind the last, if the body is not what the request's headers say.
    """
    return checked(_arriving(request, max_bytes), announced(request.headers.items()))


async def _arriving(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    too_large = BodyTooLarge(
        f"The body is larger than the {max_bytes} bytes that this service takes.",
        max_bytes=max_bytes,
    )
    if _declared_bytes(request) > max_bytes:
        raise too_large
    received_bytes = 0
    stream = request.stream()
    while True:
        try:
            chunk = await anext(stream, None)
        except ClientDisconnect:
            raise IncompleteBody("The client went away before the whole body was here.") from None
        if chunk is None:
            return
        received_bytes += len(chunk)
        if received_bytes > max_bytes:
            raise too_large
        if chunk:
            yield chunk


def _declared_bytes(request: Request) -> int:
    """Give the Content-Length, 0 where there is none."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdigit() else 0


async def _receive_raw(
    request: Request,
    chunks: AsyncIterator[bytes],
    put: Put,
    name: str,
    form_names: Collection[str],
) -> NamedBlob:
    first = await anext(chunks, b"")
    if not first and not _announced_body(request):
        raise EmptyBody("The request has no body. Send a file: multipart, or as the body itself.")
    if body_kind(request) == FORM:
        check_form(first, form_names)
    blob = await put(_joined([first] if first else [], chunks))
    return _uploaded(blob, name, request.headers.get("content-type", ""))


def _uploaded(blob: Blob, name: str, claimed: str) -> NamedBlob:
    """Give a stored upload under the name and, if it is text, the type that the client gave it."""
    media_type = called(blob.media_type, Word(name, claimed, own=True))
    return NamedBlob(replace(blob, media_type=media_type), name)


def _announced_body(request: Request) -> bool:
    """Tell whether there is a body, be it of no bytes: an empty file (RFC 9112 section 6.3)."""
    return "content-length" in request.headers or "transfer-encoding" in request.headers


async def _receive_parts(
    reader: MultipartReader, put: Put, max_files: int, paths: Paths | None, received: Received
) -> None:
    blobs: list[Blob] = []
    told: list[tuple[str, str]] = []
    fields_bytes = unused = 0
    async for part in reader.parts():
        content = checked(reader.content(), part.digests)
        if part.filename:
            if len(told) >= max_files:
                raise TooManyItems(f"More than {max_files} files in one request.")
            told.append((bounded(part.filename), part.content_type))
            blobs.append(await put(content))
        elif part.filename is None:
            if len(received.fields) >= MAX_FIELDS:
                raise TooManyItems(f"More than {MAX_FIELDS} form fields.")
            value = await _read_field(content, part.name)
            fields_bytes += len(value)
            if fields_bytes > MAX_FIELDS_BYTES:
                raise BodyTooLarge(
                    f"The form's fields are larger than {MAX_FIELDS_BYTES} bytes together."
                )
            received.fields.append((part.name, _text(value, part.name)))
        else:
            # What a browser sends for a file input that nobody used.
            unused += 1
            if unused > MAX_FIELDS:
                raise TooManyItems(f"More than {MAX_FIELDS} parts with an empty filename.")
    paths = paths_of(paths, received.fields)
    named = [(kept_name(name, paths), claimed) for name, claimed in told]
    received.fields = [field for field in received.fields if field[0] != PATHS]
    received.uploads = [_uploaded(blob, *of) for blob, of in zip(blobs, named, strict=True)]


def _keeper(runtime: Runtime, put: values.Put, max_bytes: int) -> Put:
    """Give what keeps a file: a small one in memory, within bounds, any other by `put`."""
    left_bytes = VALUES_BYTES
    small = values.small_or(put)

    async def keep(content: AsyncIterator[bytes]) -> Blob:
        nonlocal left_bytes
        blob = await (small if left_bytes >= SMALL_BYTES else put)(content, max_bytes)
        if blob.value is not None:
            runtime.blobs.check_space(blob.size_bytes)
            left_bytes -= blob.size_bytes
        return blob

    return keep


async def _joined(
    head: list[bytes], rest: AsyncIterator[bytes] | None = None
) -> AsyncIterator[bytes]:
    for chunk in head:
        yield chunk
    if rest is not None:
        async for chunk in rest:
            yield chunk


async def _read_field(content: AsyncIterator[bytes], name: str) -> bytearray:
    value = bytearray()
    async for chunk in content:
        value += chunk
        if len(value) > MAX_FIELD_BYTES:
            raise BodyTooLarge(f"The field `{name}` is larger than {MAX_FIELD_BYTES} bytes.")
    return value


def _text(value: bytearray, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidParameter(f"The field `{name}` is not UTF-8 text.") from None
