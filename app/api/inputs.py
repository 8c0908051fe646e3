"""What requests say: the documents that clients send, and how they become items and steps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    model_validator,
)

from app.api.batch import batch_terms
from app.api.destinations import HeaderText, StoreInput, WebhookInput, placed, webhook_of
from app.api.digests import digests_in
from app.api.ingest import plain_name
from app.api.nearest import hint, shown
from app.api.problems import Findings
from app.api.sentences import Judged
from app.errors import InvalidParameter, MissingInput, TooManyItems
from app.model import NamedBlob, NewItem, NewJob, Step
from app.ops.base import MAX_BYTES, Operation
from app.runtime import Runtime

MAX_STEPS = 10
MAX_URL_CHARACTERS = 8 << 10
MAX_TAG_CHARACTERS = 100
MAX_ID_CHARACTERS = 100
MAX_METADATA_BYTES = 16 << 10


def sha256_of(text: str) -> str:
    """Read a sha256 in hex, or as a field of RFC 9530 (`sha-256=:…:`), with other digests beside.

    Returns:
        Lower-case hex.

    Raises:
        ValueError: it is neither.
    """
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return text.lower()
    with suppress(ValueError):
        if digest := digests_in(text, ["sha-256"]).get("sha-256"):
            return digest.hex()
    raise ValueError("it takes a sha256: 64 hexadecimal digits, or `sha-256=:` base64 `:`")


Sha256 = Annotated[str, Field(max_length=1000), AfterValidator(sha256_of)]


class UrlInput(BaseModel):
    """One URL to fetch."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1, max_length=MAX_URL_CHARACTERS, examples=["https://example.com/a.jpg"]
    )
    headers: dict[str, HeaderText] | None = Field(
        default=None, max_length=50, description="Sent to the URL's own origin only."
    )
    filename: str | None = Field(
        default=None, min_length=1, max_length=255, description="The name that its content gets."
    )

    digest: Sha256 | None = Field(
        default=None,
        description="sha256 that the content must have: hex, or `sha-256=:base64:` as in the "
        "header Repr-Digest. Another content fails the item.",
    )
    max_bytes: int | None = Field(
        default=None,
        gt=0,
        le=MAX_BYTES,
        description="Largest accepted body of this URL, in bytes. Default and upper bound: the "
        "batch's own.",
    )
    store: StoreInput | None = Field(default=None, description="Where its result is put too.")

    def item(self) -> NewItem:
        """Give it as an item."""
        return NewItem(
            url=self.url,
            headers=self.headers,
            name=plain_name(self.filename) if self.filename else None,
            sha256=self.digest,
            max_bytes=self.max_bytes,
            store=self.store.target() if self.store else None,
        )


class FileInput(BaseModel):
    """One file that is stored already."""

    model_config = ConfigDict(extra="forbid")

    file_id: str = Field(
        max_length=MAX_ID_CHARACTERS, examples=["file_0f0e0d0c0b0a09080706050403020100"]
    )

    store: StoreInput | None = Field(default=None, description="Where its result is put too.")

    def item(self) -> NewItem:
        """Give it as an item."""
        return NewItem(file_id=self.file_id, store=self.store.target() if self.store else None)


def _url_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<object>" if isinstance(value, dict) else None


def _input_kind(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    of_file = any(name.startswith("file") for name in value if name != "filename")
    return "<file>" if of_file and "url" not in value else "<url>"


# Told apart by what they are, so that one of them is validated, and its errors are told.
UrlOrText = Annotated[
    Annotated[str, Field(max_length=MAX_URL_CHARACTERS), Tag("<text>")]
    | Annotated[UrlInput, Tag("<object>")],
    Discriminator(
        _url_kind,
        custom_error_type="url_input",
        custom_error_message="must be a URL as a string, or an object with `url`",
    ),
]
JobItem = Annotated[
    Annotated[UrlInput, Tag("<url>")] | Annotated[FileInput, Tag("<file>")],
    Discriminator(
        _input_kind,
        custom_error_type="job_item",
        custom_error_message="must be an object with `url` or with `file_id`",
    ),
]


class Labels(BaseModel):
    """What a client may hang on a job, whatever its work is."""

    tag: str | None = Field(
        default=None, max_length=MAX_TAG_CHARACTERS, description="For finding it in the list."
    )
    metadata: dict[str, Any] = Field(default={}, description="Given back as it came; 16 KiB.")
    webhook: WebhookInput | None = Field(default=None, description="Who is told of its events.")
    store: StoreInput | None = Field(
        default=None, description="Where the result of a job that has one is put too."
    )


class DoorInput(Labels):
    """A one-shot door's JSON request: inputs, labels, and the operation's parameters beside."""

    model_config = ConfigDict(extra="allow")

    urls: list[UrlOrText] = Field(
        default=[],
        description="Strings, or objects with `url` and its own `headers`, `filename`, `digest`, "
        "`max_bytes`.",
    )
    file_ids: list[Annotated[str, Field(max_length=MAX_ID_CHARACTERS)]] = Field(
        default=[], description="Files that are stored already."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _option_of_that_name(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Take `metadata` that is a word for the operation's option: the job's is an object."""
        if not isinstance(given, dict) or not isinstance(given.get("metadata"), str):
            return handler(given)
        read = handler({name: value for name, value in given.items() if name != "metadata"})
        assert read.model_extra is not None  # noqa: S101 - others are allowed
        read.model_extra["metadata"] = given["metadata"]
        return read

    def items(self) -> list[NewItem]:
        """Give the inputs as items, URLs first."""
        urls = [NewItem(url=u) if isinstance(u, str) else u.item() for u in self.urls]
        return urls + [NewItem(file_id=file_id) for file_id in self.file_ids]


class StepInput(BaseModel):
    """One step: the operation's name, and its parameters beside it."""

    model_config = ConfigDict(extra="allow")

    op: str = Field(max_length=100, examples=["image"])


class StreamedJobInput(Labels):
    """A job whose items are the lines of a body."""

    model_config = ConfigDict(extra="forbid")

    steps: list[StepInput] = Field(
        default=[],
        max_length=MAX_STEPS,
        description="What every item passes through. URLs are fetched first, with or without a "
        "`fetch` step.",
    )


class JobInput(StreamedJobInput):
    """A job as `POST /v1/jobs` takes it."""

    items: list[JobItem] = Field(
        default=[], description="URLs and stored files; uploaded parts come after them."
    )


def make_step(
    operations: Mapping[str, Operation],
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


def make_steps(operations: Mapping[str, Operation], given: Sequence[StepInput]) -> list[Step]:
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
    planned, join_at = plan(runtime.operations, steps, urls=urls, files=files)
    check_metadata(labels)
    items, store = placed(runtime, labels.store, items, joins=join_at is not None)
    return NewJob(
        client=client,
        steps=tuple(planned),
        items=tuple(items),
        retention_s=runtime.settings.jobs.retention_s,
        join_at=join_at,
        tag=labels.tag,
        metadata=labels.metadata,
        idempotency_key=idempotency_key,
        **batch_terms(planned, (item.url for item in items), runtime.settings.fetch),
        fingerprint=fingerprint(planned, items, labels) if idempotency_key else "",
        webhook=webhook_of(runtime, labels.webhook),
        store=store,
    )


def plan(
    operations: Mapping[str, Operation], steps: Sequence[Step], *, urls: bool, files: bool
) -> tuple[list[Step], int | None]:
    """Give the steps that a job's items pass through, and the position of the one that joins them.

    `urls` and `files` say which inputs there are. Raises as `new_job` does.
    """
    if any(step.op == "fetch" for step in steps[1:]):
        raise InvalidParameter("`fetch` can only be the first step.")
    planned = list(steps)
    if urls and not (planned and planned[0].op == "fetch"):
        planned.insert(0, make_step(operations, "fetch", {}))
    if files and not [s for s in planned if s.op != "fetch"]:
        raise MissingInput("Give at least one step: there is nothing to do with the files.")
    return planned, _join_at(operations, planned)


def check_metadata(labels: Labels) -> None:
    """Raise `InvalidParameter` if the labels are too large."""
    if len(json.dumps(labels.metadata)) > MAX_METADATA_BYTES:
        raise InvalidParameter(f"`metadata` is larger than {MAX_METADATA_BYTES} bytes of JSON.")


def _join_at(operations: Mapping[str, Operation], steps: Sequence[Step]) -> int | None:
    joining = [at for at, step in enumerate(steps) if operations[step.op].joins]
    if len(joining) > 1:
        names = " and ".join(f"`{steps[at].op}`" for at in joining[:2])
        raise InvalidParameter(f"A job can join its items once; {names} both do.")
    return joining[0] if joining else None


def fingerprint(steps: Sequence[Step], items: Sequence[NewItem], labels: Labels) -> str:
    """Digest what makes a request what it is, contents of uploads included."""
    said: list[Any] = [
        [[step.op, step.params] for step in steps],
        [
            [
                [item.upload.blob.key, item.upload.name] if item.upload else None,
                item.file_id,
                item.url,
                dict(item.headers or {}),
                item.name,
                item.sha256,
                item.max_bytes,
            ]
            for item in items
        ],
        [labels.tag, labels.metadata],
    ]
    stores = [[n, i.store.url, dict(i.store.headers)] for n, i in enumerate(items) if i.store]
    said += destinations_said(labels, stores)
    digest = hashlib.sha256()
    # Piece by piece: written in one go, megabytes would keep every other thread waiting.
    for piece in json.JSONEncoder(sort_keys=True).iterencode(said):
        digest.update(piece.encode())
    return digest.hexdigest()


def destinations_said(labels: Labels, stores: Sequence[Any] = ()) -> list[Any]:
    """Give what a digest takes in of who is told and where results are put.

    `stores` says it of the items. Empty where nothing is said: such a request has the digest that
    it had before there were webhooks.
    """
    told = [
        labels.webhook.said() if labels.webhook else None,
        labels.store.model_dump() if labels.store else None,
        list(stores),
    ]
    return [told] if any(told) else []


def upload_items(uploads: Sequence[NamedBlob]) -> list[NewItem]:
    """Give uploaded files as items, in the order of their parts."""
    return [NewItem(upload=upload) for upload in uploads]
