"""Files: store one by itself, look at it, download it whole or in ranges, delete it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Path, Query, Request, Response
from starlette.responses import FileResponse

from app.api import components, openapi
from app.api.deps import ClientDep, OwnFileDep, RuntimeDep
from app.api.download import download
from app.api.ingest import receive
from app.api.links import link
from app.api.names import NameQuery, PathsQuery
from app.api.nearest import shown
from app.api.problems import documented
from app.api.routes import Router, json_of
from app.api.schemas import FilePage, FileView, file_view
from app.api.sentences import UNKNOWN
from app.api.slips import check_fields
from app.errors import (
    Conflict,
    InvalidParameter,
    MissingInput,
    TooManyItems,
    UnsupportedBody,
)
from app.records import files, reading

router = Router(prefix="/v1/files", tags=["files"])

ContentRedirectQuery = Annotated[
    bool,
    Query(
        description="`false`: the bytes come from here, also where downloads are redirected to a "
        "bucket (`OFFLOAD_STORAGE_REDIRECT`). For scripts of browsers, which may ask nobody else."
    ),
]


async def _store(
    request: Request,
    runtime: RuntimeDep,
    client: ClientDep,
    filename: str | None,
    paths: PathsQuery,
) -> Response:
    async with runtime.unrecorded() as stored:
        received = await receive(
            request, runtime, stored, raw_name=filename, paths=paths, sha256=True
        )
        if received.document is not None:
            raise UnsupportedBody("Send the file as multipart, or raw with another Content-Type.")
        check_fields(received.fields, (), files=len(received.uploads))
        if received.fields:
            name, _ = received.fields[0]
            raise InvalidParameter(f"`{shown(name)}` {UNKNOWN}: this form has one file.")
        if not received.uploads:
            raise MissingInput("The form has no file.")
        if len(received.uploads) > 1:
            raise TooManyItems("Store one file a request.")
        retention_s = runtime.settings.jobs.retention_s
        file = await runtime.database.note(files.add, client, received.uploads[0], retention_s)
        stored.recorded([file.blob])
    return json_of(file_view(file), 201, {"Location": link(f"/v1/files/{file.id}")})


_STORED = documented(400, 401, 408, 413, 415, 422, 503, 507)
_CONTENT: dict[str, Any] = {
    "response_class": FileResponse,
    "responses": {
        200: {"description": "The bytes; Content-Type is the file's own.", "content": openapi.RAW},
        206: {"description": "The asked range, or ranges.", "content": openapi.RAW},
        304: {"description": "Not changed."},
        **documented(401, 404, 412, 416),
    },
}


@router.post(
    "",
    summary="Store a file for later jobs",
    operation_id="store_file",
    status_code=201,
    response_model=FileView,
    responses=_STORED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                openapi.FORM: {
                    "schema": {
                        "type": "object",
                        "properties": {"file": components.BINARY},
                        "required": ["file"],
                    }
                },
                **openapi.RAW,
            },
        }
    },
)
@router.put("", include_in_schema=False)
async def store(
    request: Request,
    runtime: RuntimeDep,
    client: ClientDep,
    filename: NameQuery = None,
    paths: PathsQuery = None,
) -> Response:
    """Store one file; its id serves as an input of any number of jobs until it expires."""
    return await _store(request, runtime, client, filename, paths)


@router.get(
    "",
    summary="List stored files, newest first",
    operation_id="list_files",
    responses=documented(401, 422),
)
async def list_files(
    runtime: RuntimeDep,
    client: ClientDep,
    cursor: Annotated[
        str | None, Query(max_length=100, description="`next_cursor` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> FilePage:
    """Give a page of this client's files that were stored by themselves, not those of jobs."""
    found, next_cursor = await runtime.database.read(
        reading.list_files, client, cursor=cursor, limit=limit
    )
    return FilePage(files=[file_view(file) for file in found], next_cursor=next_cursor)


@router.put(
    "/{filename:path}",
    summary="Store a file under a name, as `curl -T` does",
    operation_id="store_named_file",
    status_code=201,
    response_model=FileView,
    responses=_STORED,
    openapi_extra={"requestBody": {"required": True, "content": openapi.RAW}},
)
@router.post("/{filename:path}", include_in_schema=False)
async def store_named(
    request: Request,
    runtime: RuntimeDep,
    client: ClientDep,
    filename: Annotated[str, Path()],
    paths: PathsQuery = None,
) -> Response:
    """Store the body as one file."""
    return await _store(request, runtime, client, filename, paths)


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
    await runtime.database.note(files.delete, file.id)


@router.get("/{file_id}/content", summary="Download a file", operation_id="get_content", **_CONTENT)
async def content(
    file: OwnFileDep,
    runtime: RuntimeDep,
    redirect: ContentRedirectQuery = True,
    if_none_match: Annotated[str | None, Header()] = None,
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the bytes; with the headers of RFC 9110 for ranges and conditions, and a digest."""
    return await download(
        runtime, file, if_match=if_match, if_none_match=if_none_match, redirect=redirect
    )
