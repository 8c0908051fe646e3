"""The one-shot doors: one path for each operation, each making a job of one step.

Nothing here knows an operation by name: paths, documentation and validation come from the
registry.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app.api import openapi
from app.api.answer import KeyHeader, TagQuery, WishesDep, submitted
from app.api.deps import ClientDep, RuntimeDep
from app.api.ingest import JSON, MULTIPART, NameQuery, body_kind, receive
from app.api.inputs import DoorInput, Labels, make_step, new_job, parse, upload_items
from app.api.stream import NDJSON, submit_stream
from app.errors import InvalidParameter
from app.model import NewItem
from app.ops.base import Operation
from app.runtime import Runtime

CONTROLS = {"wait", "redirect", "download", "tag", "filename"}
"""Query parameters that are not the operation's own."""


def door_path(operation: Operation) -> str:
    """Give the path of an operation's door."""
    return f"/v1/{operation.door or operation.name}"


def door(operation: Operation) -> APIRouter:
    """Make the routes of an operation's door."""
    router = APIRouter(tags=["operations"])

    async def submit(
        request: Request,
        runtime: RuntimeDep,
        client: ClientDep,
        how: WishesDep,
        key: KeyHeader = None,
        filename: NameQuery = None,
        tag: TagQuery = None,
    ) -> Response:
        runtime.jobs.check_backlog()
        if operation.runs == "async" and body_kind(request) == NDJSON:
            steps = [make_step(runtime.operations, operation.name, _asked(request))]
            labels = parse_labels(tag)
            streamed = await submit_stream(request, runtime, client, steps, labels, key)
            return await submitted(runtime, streamed.job, how)
        items, options, labels = await _read(request, runtime, operation, filename, tag)
        steps = [make_step(runtime.operations, operation.name, options)]
        new = new_job(runtime, client, steps, items, labels, key)
        made = await runtime.jobs.submit(new)
        return await submitted(runtime, made.job, how)

    async def submit_named(
        request: Request,
        runtime: RuntimeDep,
        client: ClientDep,
        how: WishesDep,
        filename: Annotated[str, Path(description="Names the body, as `curl -T` does.")],
        key: KeyHeader = None,
        tag: TagQuery = None,
    ) -> Response:
        return await submit(request, runtime, client, how, key, filename, tag)

    described = openapi.door(operation)
    path, name = door_path(operation), operation.name
    router.post(path, operation_id=name, **described)(submit)
    if operation.runs != "async":
        router.put(path, operation_id=f"{name}_raw", **described)(submit)
        router.put(path + "/{filename}", operation_id=f"{name}_named", **described)(submit_named)
    return router


async def _read(
    request: Request,
    runtime: Runtime,
    operation: Operation,
    filename: str | None,
    tag: str | None,
) -> tuple[list[NewItem], dict[str, Any], Labels]:
    """Read the inputs, the operation's parameters and the labels, wherever they stand."""
    options = _asked(request)
    if body_kind(request) not in (JSON, MULTIPART):
        # A raw body brings no parameters: what is wrong with them shows before it is taken in.
        make_step(runtime.operations, operation.name, options)
    received = await receive(request, runtime, raw_name=filename)
    if received.document is not None:
        said = parse(DoorInput, received.document)
        for name, value in (said.model_extra or {}).items():
            _add(options, name, value)
        labels = said.model_copy(update={"tag": _one_tag(tag, said.tag)})
        return said.items(), options, labels
    fields = dict(received.fields)
    tag = _one_tag(tag, fields.pop("tag", None))
    for name, value in fields.items():
        _add(options, name, value)
    return upload_items(received.uploads), options, parse_labels(tag)


def _asked(request: Request) -> dict[str, Any]:
    """Give the operation's parameters that stand in the query."""
    options: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name not in CONTROLS:
            _add(options, name, value)
    return options


def parse_labels(tag: str | None) -> Labels:
    """Check a tag that came outside a document."""
    return parse(Labels, Labels.model_construct(tag=tag, metadata={}).model_dump_json())


def _one_tag(in_query: str | None, in_body: str | None) -> str | None:
    if in_query is not None and in_body is not None:
        raise InvalidParameter("`tag` is given twice.")
    return in_body if in_query is None else in_query


def _add(options: dict[str, Any], name: str, value: Any) -> None:
    if name in options:
        raise InvalidParameter(f"`{name}` is given twice.")
    options[name] = value
