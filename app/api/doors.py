"""The one-shot doors: one path for each operation, each making a job of one step.

Nothing here knows an operation by name: paths, documentation and validation come from the
registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app.api import openapi
from app.api.answer import KeyHeader, TagQuery, WishesDep, submitted
from app.api.deps import ClientDep, RuntimeDep
from app.api.destinations import StoreQuery, WebhookQuery
from app.api.documents import aside, parse
from app.api.ingest import JSON, MULTIPART, NameQuery, Received, body_kind, receive
from app.api.inputs import DoorInput, Labels, make_step, new_job, upload_items
from app.api.stream import NDJSON, submit_stream
from app.errors import InvalidParameter
from app.model import NewItem, NewJob
from app.ops.base import Operation
from app.ops.jsontext import MAX_CHARACTERS
from app.runtime import Runtime

LABELS = ("tag", "webhook", "store")
"""Labels that may stand in a form or in the query, too."""
CONTROLS = {"wait", "redirect", "download", "filename", *LABELS}
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
        webhook: WebhookQuery = None,
        store: StoreQuery = None,
    ) -> Response:
        runtime.jobs.check_backlog()
        outside = parse_labels({"tag": tag, "webhook": webhook, "store": store})
        if operation.runs == "async" and body_kind(request) == NDJSON:
            steps = [make_step(runtime.operations, operation.name, _asked(request))]
            streamed = await submit_stream(request, runtime, client, steps, outside, key)
            return await submitted(runtime, streamed.job, how)
        options = _asked(request)
        if body_kind(request) not in (JSON, MULTIPART):
            # A raw body brings no parameters: what is wrong with them shows before it is taken in.
            make_step(runtime.operations, operation.name, options)
        received = await receive(request, runtime, raw_name=filename)

        def understood() -> NewJob:
            items, labels = _read(runtime, received, options, outside)
            steps = [make_step(runtime.operations, operation.name, options)]
            return new_job(runtime, client, steps, items, labels, key)

        made = await runtime.jobs.submit(await aside(runtime, received.text_bytes, understood))
        return await submitted(runtime, made.job, how)

    async def submit_named(
        request: Request,
        runtime: RuntimeDep,
        client: ClientDep,
        how: WishesDep,
        filename: Annotated[str, Path(description="Names the body, as `curl -T` does.")],
        key: KeyHeader = None,
        tag: TagQuery = None,
        webhook: WebhookQuery = None,
        store: StoreQuery = None,
    ) -> Response:
        return await submit(request, runtime, client, how, key, filename, tag, webhook, store)

    described = openapi.door(operation)
    path, name = door_path(operation), operation.name
    router.post(path, operation_id=name, **described)(submit)
    if operation.runs != "async":
        router.put(path, operation_id=f"{name}_raw", **described)(submit)
        router.put(path + "/{filename}", operation_id=f"{name}_named", **described)(submit_named)
    return router


def _read(
    runtime: Runtime, received: Received, options: dict[str, Any], outside: Labels
) -> tuple[list[NewItem], Labels]:
    """Give the inputs and the labels that a body has; its parameters go to `options`."""
    if received.document is not None:
        said = parse(DoorInput, received.document, max_items=runtime.settings.jobs.max_items)
        for name, value in (said.model_extra or {}).items():
            _add(options, name, value)
        return said.items(), _once(outside, said)
    fields = dict(received.fields)
    labels = parse_labels({name: fields.pop(name, None) for name in LABELS})
    for name, value in fields.items():
        _add(options, name, value)
    return upload_items(received.uploads), _once(outside, labels)


def _asked(request: Request) -> dict[str, Any]:
    """Give the operation's parameters that stand in the query."""
    options: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name not in CONTROLS:
            _add(options, name, value)
    return options


def parse_labels(given: Mapping[str, str | None]) -> Labels:
    """Check labels that came outside a document."""
    said = {name: value for name, value in given.items() if value is not None}
    return parse(Labels, json.dumps(said)) if said else Labels()


def _once(outside: Labels, said: Labels) -> Labels:
    """Give what a body said, with what the query said."""
    found = {name: v for name in LABELS if (v := getattr(outside, name)) is not None}
    for name in found:
        if getattr(said, name) is not None:
            raise InvalidParameter(f"`{name}` is given twice.")
    return said.model_copy(update=found)


def _add(options: dict[str, Any], name: str, value: Any) -> None:
    if name in options:
        raise InvalidParameter(f"`{name}` is given twice.")
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise InvalidParameter(f"`{name}` is longer than {MAX_CHARACTERS} characters.")
    options[name] = value
