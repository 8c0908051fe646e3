"""Files: store one by itself, look at it, download it whole or in ranges, delete it."""

from __future__ import annotations

import asyncio
import base64
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.conditional import etag_matches
from app.api.deps import ClientDep, OwnFileDep, RuntimeDep
from app.api.ingest import NameQuery, receive
from app.api.problems import documented
from app.api.schemas import FileView, file_view
from app.errors import (
    Conflict,
    MissingInput,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooManyItems,
    UnsupportedBody,
)
from app.model import File

CHUNK_BYTES = 1 << 20
"""4.6 times faster than Starlette's 64 KiB."""
SMALL_BYTES = 64 << 10
"""Read whole: one turn in a thread, where a file response takes four."""

router = APIRouter(prefix="/v1/files", tags=["files"])


async def _store(
    request: Request,
    runtime: RuntimeDep,
    client: ClientDep,
    response: Response,
    filename: str | None = None,
) -> FileView:
    received = await receive(request, runtime, raw_name=filename)
    if received.document is not None:
        raise UnsupportedBody("Send the file as multipart, or raw with another Content-Type.")
    if not received.uploads:
        raise MissingInput("The form has no file.")
    if len(received.uploads) > 1:
        raise TooManyItems("Store one file a request.")
    retention_s = runtime.settings.jobs.retention_s
    file = await runtime.jobs.add_file(client, received.uploads[0], retention_s)
    response.headers["Location"] = f"/v1/files/{file.id}"
    return file_view(file)


_STORED = documented(400, 401, 408, 413, 415, 422, 503, 507)
_RAW = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_CONTENT: dict[str, Any] = {
    "response_class": FileResponse,
    "responses": {
        200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The asked range, or ranges."},
        304: {"description": "Not changed."},
        **documented(401, 404, 412, 416),
    },
}


@router.post(
    "",
    summary="Store a file for later jobs",
    operation_id="store_file",
    status_code=201,
    responses=_STORED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"file": {"type": "string", "format": "binary"}},
                        "required": ["file"],
                    }
                },
                **_RAW,
            },
        }
    },
)
async def store(
    request: Request,
    runtime: RuntimeDep,
    client: ClientDep,
    response: Response,
    filename: NameQuery = None,
) -> FileView:
    """Store one file; its id serves as an input of any number of jobs until it expires."""
    return await _store(request, runtime, client, response, filename)


@router.put(
    "/{filename}",
    summary="Store a file under a name, as `curl -T` does",
    operation_id="store_named_file",
    status_code=201,
    responses=_STORED,
    openapi_extra={"requestBody": {"required": True, "content": _RAW}},
)
async def store_named(
    request: Request,
    runtime: RuntimeDep,
    client: ClientDep,
    response: Response,
    filename: Annotated[str, Path()],
) -> FileView:
    """Store the body as one file."""
    return await _store(request, runtime, client, response, filename)


@router.get(
    "/{file_id}", summary="Look at a file", operation_id="get_file", responses=documented(401, 404)
)
async def get(file: OwnFileDep) -> FileView:
    """Give what is known of a file."""
    return file_view(file)


@router.delete(
    "/{file_id}",
    summary="Delete a stored file",
    operation_id="delete_file",
    status_code=204,
    responses=documented(401, 404, 409),
)
async def delete(file: OwnFileDep, runtime: RuntimeDep) -> None:
    """Delete a file that was stored by itself; jobs that were given it keep what they need."""
    if file.job_id is not None:
        raise Conflict(f"This file belongs to {file.job_id}; delete the job.")
    await runtime.jobs.delete_file(file.id)


@router.head(
    "/{file_id}/content", summary="Ask about a download", operation_id="head_content", **_CONTENT
)
@router.get("/{file_id}/content", summary="Download a file", operation_id="get_content", **_CONTENT)
async def content(
    file: OwnFileDep,
    runtime: RuntimeDep,
    if_none_match: Annotated[str | None, Header()] = None,
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the bytes, always as a download: nothing here is shown in this service's own origin."""
    etag = f'"{file.blob.key}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(file.name),
        # Stored bytes are strangers' bytes: no sniffing, no scripts, even if opened directly.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Last-Modified": file.created_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }
    if if_match is not None and not etag_matches(if_match, etag):
        raise PreconditionFailed("The file is not the one that If-Match names.")
    if etag_matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    digest = base64.b64encode(bytes.fromhex(file.blob.key)).decode()
    headers["Repr-Digest"] = f"sha-256=:{digest}:"
    await _keep(runtime, file)
    local = runtime.blobs.local(file.blob.key)
    return _Download(local, headers=headers, media_type=file.blob.media_type)


async def _keep(runtime: RuntimeDep, file: File) -> None:
    """Renew the retention of what is being read, at most a few times a day."""
    retention_s = runtime.settings.jobs.retention_s
    if file.expires_at is None:
        return
    left = file.expires_at - datetime.now(UTC)
    if left < timedelta(seconds=0.9 * retention_s):
        await runtime.jobs.extend(file, retention_s)


def disposition(name: str) -> str:
    """Give a Content-Disposition that saves under `name` and can hold nothing else (RFC 6266)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


class _Unsatisfiable(Exception):
    pass


class _Ignored(Exception):
    pass


class _Download(Response):
    """A stored file as a response: Starlette's, with our chunk size and our errors."""

    def __init__(
        self, local: AbstractAsyncContextManager[FilePath], headers: dict[str, str], media_type: str
    ) -> None:
        super().__init__(headers=headers, media_type=media_type)
        self._local = local
        self._own_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def judged(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise _Unsatisfiable
                if message["status"] == HTTPStatus.BAD_REQUEST:
                    raise _Ignored
            await send(message)

        # Held until the last byte is sent: elsewhere than on a disk, the path may be a copy.
        async with self._local as path:
            size_bytes = path.stat().st_size
            if size_bytes <= SMALL_BYTES and "range" not in Headers(scope=scope):
                small = await asyncio.to_thread(path.read_bytes)
                response = Response(small, headers=self._own_headers, media_type=self.media_type)
                await response(scope, receive, send)
                return
            response = _InChunks(path, headers=self._own_headers, media_type=self.media_type)
            try:
                await response(scope, receive, judged)
            except _Unsatisfiable:
                refused = RangeNotSatisfiable(
                    f"The file has {size_bytes} bytes.", size_bytes=size_bytes
                )
                refused.headers = {"Content-Range": f"bytes */{size_bytes}"}
                raise refused from None
            except _Ignored:
                # RFC 9110 section 14.2: a Range that is not understood is as good as none.
                rest = [(name, value) for name, value in scope["headers"] if name != b"range"]
                await response({**scope, "headers": rest}, receive, send)


class _InChunks(FileResponse):
    chunk_size = CHUNK_BYTES
