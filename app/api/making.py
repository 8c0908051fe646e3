"""How a job is made of what a request says: steps validated, items placed, the whole digested."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from app.api.batch import fetch_params, pace_of
from app.api.destinations import placed, webhook_of
from app.api.inputs import Labels, StepInput
from app.api.nearest import hint, shown
from app.api.problems import Findings
from app.api.sentences import Judged
from app.errors import InvalidParameter, MissingInput, TooManyItems
from app.model.blobs import NamedBlob
from app.model.jobs import NewItem, NewJob, Step
from app.ops.base import Offered, Operation
from app.ops.fetch import FetchParams
from app.runtime import Runtime

MAX_METADATA_BYTES = 16 << 10


def make_step(
    operations: Mapping[str, Offered],
    name: str,
    params: Mapping[str, Any],
    where: tuple[str | int, ...] = (),
    also: Collection[str] = (),
) -> Step:
    """Validate a step's parameters with the operation's own model; defaults become explicit.

    Args:
        operations: all there are.
        name: of one of them.
        params: of the step.
        where: goes before each location.
        also: names that would have been known beside the parameters.

    Raises:
        InvalidParameter: there is no such operation, or its parameters are not valid.
    """
    operation = operations.get(name)
    if operation is None:
        message = f"There is no operation `{shown(name)}`{hint(name, operations)}"
        raise InvalidParameter(message, errors=[{"loc": [*where, "op"], "msg": message}])
    try:
        checked = operation.params.model_validate(params)
    except ValidationError as error:
        findings = Findings()
        findings.add(error, Judged(operation.params, params, also), where)
        raise findings.error() from None
    return Step(name, checked.model_dump(mode="json"))


def make_steps(operations: Mapping[str, Offered], given: Sequence[StepInput]) -> list[Step]:
    """Validate the steps of a general job. Raises `InvalidParameter`."""
    for index, step in enumerate(given):
        if isinstance((step.model_extra or {}).get("params"), dict):
            said = "its members stand beside `op`"  # it is so in a job's own view
            error = {"loc": ["steps", index, "params"], "msg": said}
            raise InvalidParameter(f"`steps.{index}.params`: {said}.", errors=[error])
    return [
        make_step(operations, step.op, step.model_extra or {}, ("steps", index))
        for index, step in enumerate(given)
    ]


def new_job(
    runtime: Runtime,
    client: str,
    steps: Sequence[Step],
    items: Sequence[NewItem],
    labels: Labels,
    idempotency_key: str | None,
) -> NewJob:
    """Put a job together.

    Raises:
        MissingInput: there is nothing to work on, or nothing to do with it.
        TooManyItems: more items than a job may have.
        InvalidParameter: `fetch` is not the first step, there are two steps that join, the
            labels are too large, or `webhook` or `store` cannot be used so.
        FetchError: the guard refuses the URL of one of these.
    """
    limit = runtime.settings.jobs.max_items
    if not items:
        raise MissingInput("Give at least one input: a file, a stored file's id, or a URL.")
    if len(items) > limit:
        raise TooManyItems(
            f"{len(items)} items; one job may have {limit}.", max_items=limit, items=len(items)
        )
    urls = any(item.url is not None for item in items)
    files = any(item.url is None for item in items)
    new, fetch = draft(runtime, client, steps, labels, idempotency_key, urls=urls, files=files)
    items, store = placed(runtime, client, labels.store, items, joins=new.join_at is not None)
    return replace(
        new,
        items=tuple(items),
        store=store,
        pace=pace_of(fetch, (item.url for item in items), runtime.settings.fetch),
        fingerprint=fingerprint(new.steps, items, labels) if idempotency_key else "",
    )


def draft(
    runtime: Runtime,
    client: str,
    steps: Sequence[Step],
    labels: Labels,
    idempotency_key: str | None,
    *,
    urls: bool,
    files: bool,
) -> tuple[NewJob, FetchParams | None]:
    """Put a job together but for its items and what depends on them; and how URLs are fetched.

    `urls` and `files` say which inputs there are. Raises as `new_job` does.
    """
    planned, join_at = _plan(runtime.operations, steps, urls=urls, files=files)
    if len(json.dumps(labels.metadata)) > MAX_METADATA_BYTES:
        raise InvalidParameter(f"`metadata` is larger than {MAX_METADATA_BYTES} bytes of JSON.")
    fetch = fetch_params(planned)
    new = NewJob(
        client=client,
        steps=tuple(planned),
        items=(),
        retention_s=runtime.settings.jobs.retention_s,
        join_at=join_at,
        marks=labels.marks(),
        idempotency_key=idempotency_key,
        stops=fetch is not None and fetch.on_error == "fail",
        dedupe=fetch is not None and fetch.dedupe,
        webhook=webhook_of(runtime, labels.webhook),
        weigh=_weighing(runtime.operations, planned[:join_at]),
        asides=_asides_of(runtime, client, planned),
    )
    return new, fetch


def _weighing(operations: Mapping[str, Offered], steps: Sequence[Step]) -> Callable[[int], float]:
    asked = [(operations[step.op], step.params) for step in steps]
    worked = [(one, params) for one, params in asked if isinstance(one, Operation)]

    def weigh(size_bytes: int) -> float:
        return sum(operation.weight_ms(size_bytes, params) for operation, params in worked)

    return weigh


def _asides_of(runtime: Runtime, client: str, steps: Sequence[Step]) -> tuple[str, ...]:
    """Give the ids of the further files that steps name, and have the guard look at the URLs.

    Raises:
        FetchError: it refuses one.
    """
    file_ids: dict[str, None] = {}
    for step in steps:
        for aside in runtime.operations[step.op].asides_of(step.params):
            if aside.url is not None:
                runtime.fetcher.check(aside.url, client)
            else:
                file_ids[aside.key] = None
    return tuple(file_ids)


def _plan(
    operations: Mapping[str, Offered], steps: Sequence[Step], *, urls: bool, files: bool
) -> tuple[list[Step], int | None]:
    """Give the steps that a job's items pass through, and the position of the one that joins."""
    if any(step.op == "fetch" for step in steps[1:]):
        raise InvalidParameter("`fetch` can only be the first step.")
    planned = list(steps)
    if urls and not (planned and planned[0].op == "fetch"):
        planned.insert(0, make_step(operations, "fetch", {}))
    if files and not [s for s in planned if s.op != "fetch"]:
        raise MissingInput("Give at least one step: there is nothing to do with the files.")
    return planned, _join_at(operations, planned)


def _join_at(operations: Mapping[str, Offered], steps: Sequence[Step]) -> int | None:
    joining = [at for at, step in enumerate(steps) if operations[step.op].joins]
    if len(joining) > 1:
        names = " and ".join(f"`{steps[at].op}`" for at in joining[:2])
        raise InvalidParameter(f"A job can join its items once; {names} both do.")
    return joining[0] if joining else None


def fingerprint(steps: Sequence[Step], items: Sequence[NewItem], labels: Labels) -> str:
    """Digest what makes a request what it is, contents of uploads included.

    Of one JSON array, written item by item: in one go, megabytes of it would keep every other
    thread waiting.
    """
    digest = hashlib.sha256()

    def say(before: str, said: Any) -> None:
        digest.update((before + json.dumps(said, sort_keys=True)).encode())

    say("[", [[step.op, step.params] for step in steps])
    for n, item in enumerate(items):
        say(", " if n else ", [", _said(item))
    stores = [[n, *i.store.said] for n, i in enumerate(items) if i.store]
    for n, told in enumerate(labels_said(labels, stores)):
        say(", " if n else "], ", told)
    digest.update(b"]")
    return digest.hexdigest()


def _said(item: NewItem) -> list[Any]:
    return [
        [item.upload.blob.digest, item.upload.name] if item.upload else None,
        item.file_id,
        item.url,
        dict(item.headers or {}),
        item.name,
        item.sha256,
        item.max_bytes,
    ]


def labels_said(labels: Labels, stores: Sequence[Any] = ()) -> list[Any]:
    """Give what a digest takes in of the labels; `stores` says where the items' results are put.

    What came later is left out where nothing is said of it: such a request has the digest that it
    had before there were webhooks.
    """
    told = [
        labels.webhook.said() if labels.webhook else None,
        labels.store.said() if labels.store else None,
        list(stores),
    ]
    return [[*vars(labels.marks()).values()], *([told] if any(told) else [])]


def upload_items(uploads: Sequence[NamedBlob]) -> list[NewItem]:
    """Give uploaded files as items, in the order of their parts."""
    return [NewItem(upload=upload) for upload in uploads]
