"""What requests say: the documents that clients send. `making.py` makes jobs of them."""

from __future__ import annotations

import re
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
    model_validator,
)

from app.api.destinations import MAX_URL_CHARACTERS, HeaderText, StoreInput, WebhookInput
from app.api.digests import digests_in
from app.api.names import plain_name
from app.model.jobs import NewItem
from app.model.marks import Marks
from app.ops.base import MAX_BYTES

MAX_STEPS = 10
MAX_ID_CHARACTERS = 100


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


class Labels(Marks):
    """What a client may say of a job, whatever its work is."""

    webhook: WebhookInput | None = Field(default=None, description="Who is told of its events.")
    store: StoreInput | None = Field(
        default=None, description="Where the result of a job that has one is put too."
    )

    def marks(self) -> Marks:
        """Give those that only hang on it."""
        return Marks.model_construct(**{name: getattr(self, name) for name in Marks.model_fields})


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
