"""The one-shot doors: one path for each operation, each making a job of one step.

Nothing here knows an operation by name: paths, documentation and validation come from the
registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Request, Response

from app.api import openapi
from app.api.answer import KeyHeader, WishesDep, submitted
from app.api.deps import ClientDep, RuntimeDep
from app.api.documents import aside, parse
from app.api.ingest import JSON, MULTIPART, Received, body_kind, receive
from app.api.inputs import DoorInput, Labels
from app.api.labels import LABELS, QueryLabels, labels_together, parse_labels
from app.api.making import make_step, new_job, upload_items
from app.api.names import PATHS, NameQuery, PathsQuery
from app.api.options import DOCUMENT, FORM, QUERY, filled, lists, texts, together
from app.api.routes import Router
from app.api.slips import check_fields, no_files
from app.api.stream import LINES, submit_stream
from app.errors import InvalidParameter
from app.model.jobs import NewItem, NewJob
from app.ops.base import Offered
from app.runtime import Runtime


def door_path(operation: Offered) -> str:
    """Give the path of an operation's door."""
    return f"/v1/{operation.door or operation.name}"


def door(operation: Offered) -> Router:
    """Make the routes of an operation's door."""
    options = operation.params.model_fields
    router = Router(
        tags=["operations"], more_query={*options, *LABELS}, lists=lists(operation.params)
    )

    async def submit(
        request: Request,
        runtime: RuntimeDep,
        client: ClientDep,
        how: WishesDep,
        outside: QueryLabels,
        key: KeyHeader = None,
        filename: NameQuery = None,
        paths: PathsQuery = None,
    ) -> Response:
        await runtime.submissions.check_room()
        if operation.runs == "async" and body_kind(request) in LINES:
            steps = [make_step(runtime.operations, operation.name, _asked(request, operation))]
            streamed = await submit_stream(request, runtime, client, steps, outside, key)
            return await submitted(runtime, streamed, how)
        if operation.runs == "async" and body_kind(request) != JSON:
            raise no_files(door_path(operation), body_kind(request))
        asked = _asked(request, operation)
        if body_kind(request) not in (JSON, MULTIPART):
            # A raw body brings no parameters: what is wrong with them shows before it is taken in.
            make_step(runtime.operations, operation.name, asked)
        async with runtime.unrecorded() as stored:
            received = await receive(
                request,
                runtime,
                stored,
                raw_name=filename,
                paths=paths,
                form_names={*options, *LABELS, PATHS},
            )

            def understood() -> NewJob:
                items, labels, options = _read(runtime, operation, received, asked, outside)
                options = {**_accepted(request, operation), **options}
                beside = LABELS if received.document is None else DoorInput.model_fields
                steps = [make_step(runtime.operations, operation.name, options, also=beside)]
                return new_job(runtime, client, steps, items, labels, key)

            made = await runtime.submissions.submit(
                await aside(runtime, received.text_bytes, understood)
            )
            if made.created:
                stored.recorded(upload.blob for upload in received.uploads)
        return await submitted(runtime, made, how)

    async def submit_named(
        request: Request,
        runtime: RuntimeDep,
        client: ClientDep,
        how: WishesDep,
        outside: QueryLabels,
        filename: Annotated[str, Path(description="Names the body, as `curl -T` does.")],
        key: KeyHeader = None,
        paths: PathsQuery = None,
    ) -> Response:
        return await submit(request, runtime, client, how, outside, key, filename, paths)

    described = openapi.door(operation)
    path, name = door_path(operation), operation.name
    router.post(path, operation_id=name, **described)(submit)
    if operation.runs != "async":
        # The same as POST, for those who must PUT; and whoever names the file in the path need not
        # know which method curl takes for that. Told once.
        router.put(path, include_in_schema=False, **described)(submit)
        named = openapi.raw_door(operation)
        router.put(path + "/{filename:path}", operation_id=f"{name}_named", **named)(submit_named)
        router.post(path + "/{filename:path}", include_in_schema=False, **named)(submit_named)
    return router


def _read(
    runtime: Runtime,
    operation: Offered,
    received: Received,
    asked: Mapping[str, Any],
    outside: Labels,
) -> tuple[list[NewItem], Labels, dict[str, Any]]:
    """Give the inputs, the labels and the options of a request that has `asked` in its query."""
    if received.document is not None:
        said = parse(DoorInput, received.document, max_items=runtime.settings.jobs.max_items)
        options = together(operation, asked, said.model_extra or {}, DOCUMENT)
        if "metadata" in options and "metadata" not in operation.params.model_fields:
            raise InvalidParameter("`metadata` takes an object.")
        return said.items(), labels_together(outside, said, DOCUMENT), options
    known = {*operation.params.model_fields, *LABELS}
    check_fields(received.fields, known, files=len(received.uploads))
    fields = texts(filled(received.fields, known), FORM, many=lists(operation.params))
    labels = parse_labels(fields)
    inside = {name: value for name, value in fields.items() if name not in LABELS}
    options = together(operation, asked, inside, FORM)
    return upload_items(received.uploads), labels_together(outside, labels, FORM), options


def _accepted(request: Request, operation: Offered) -> dict[str, Any]:
    """Give the parameters that the `Accept` headers stand for."""
    if operation.by_accept is None:
        return {}
    return operation.by_accept(", ".join(request.headers.getlist("accept")))


def _asked(request: Request, operation: Offered) -> dict[str, Any]:
    """Give the operation's parameters that stand in the query."""
    names = operation.params.model_fields
    said = ((name, value) for name, value in request.query_params.multi_items() if name in names)
    return dict(texts(said, QUERY, many=lists(operation.params)))
