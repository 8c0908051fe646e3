"""Where a client wants to be told of a job, and where its results are put besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from app.errors import EndpointMissing, FetchError, InvalidParameter, RemoteUnknown
from app.model.deliveries import EVENTS, PutTarget, Webhook
from app.model.jobs import NewItem
from app.ops import object_keys
from app.ops.jsontext import value_of
from app.outbound.headers import MAX_VALUE_CHARS, checked
from app.outbound.webhooks import Event, secret_key
from app.runtime import Runtime

MAX_URL_CHARACTERS = 8 << 10


HeaderText = Annotated[str, Field(max_length=MAX_VALUE_CHARS)]


class WebhookInput(BaseModel):
    """Who is told of a job's events; in a form or a query, the URL alone will do."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1, max_length=MAX_URL_CHARACTERS, examples=["https://example.com/hooks/offload"]
    )
    events: list[Event] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="Some of " + ", ".join(EVENTS) + ". Default: as the operator configured, or "
        "the first five.",
    )
    secret: SecretStr | None = Field(
        default=None,
        max_length=200,
        description="`whsec_` and the base64 of 24 to 64 random bytes; signs what is sent. "
        "Default: the operator's. Never shown again.",
    )

    _short = model_validator(mode="before")(lambda given: _or_url(given, "url"))

    @field_validator("secret")
    @classmethod
    def _usable(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            secret_key(secret.get_secret_value())
        return secret

    def said(self) -> list[Any]:
        """Give all that it says, for a digest."""
        secret = self.secret.get_secret_value() if self.secret else None
        return [self.url, self.events, secret]


class BucketInput(BaseModel):
    """Where results are put in a bucket that the operator named."""

    model_config = ConfigDict(extra="forbid")

    remote: str = Field(
        min_length=1, max_length=64, description="The operator's name for it.", examples=["media"]
    )
    key: Annotated[str, AfterValidator(object_keys.checked)] = Field(
        default=object_keys.DEFAULT,
        min_length=1,
        max_length=object_keys.MAX_CHARACTERS,
        description=f"Name of each object below the remote's prefix. {object_keys.MEANING}",
        examples=["thumbnails/{job}/{index}-{name}"],
    )


class StoreInput(BaseModel):
    """Where results are put: `put_url` or `s3`; in a form or a query, a URL alone will do."""

    model_config = ConfigDict(extra="forbid")

    put_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="Takes one result with PUT: a presigned URL, as a rule.",
        examples=["https://bucket.example.com/small.jpg?signature=…"],
    )
    s3: BucketInput | None = Field(
        default=None,
        description="Takes every result: a bucket that the operator named, of S3 or another kind.",
    )
    headers: dict[str, HeaderText] = Field(
        default={},
        max_length=50,
        description="Sent too: those that were signed, or that the store asks for. A Content-Type "
        "here replaces the result's own.",
    )

    _short = model_validator(mode="before")(lambda given: _or_url(given, "put_url"))

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.put_url is None) == (self.s3 is None):
            raise ValueError("must have `put_url` or `s3`, and not both")
        if self.s3 is not None and self.headers:
            raise ValueError("must have no `headers` beside `s3`")
        return self

    def target(self) -> PutTarget:
        """Give it as the records have it, but for where its remote is: see `settled`."""
        if self.s3 is not None:
            return PutTarget(self.s3.key, remote=self.s3.remote)
        return PutTarget(self.put_url or "", self.headers)

    def said(self) -> dict[str, Any]:
        """Give all that it says, for a digest."""
        if self.s3 is not None:
            return {"s3": self.s3.model_dump()}
        return {"put_url": self.put_url, "headers": self.headers}


def _or_url(given: Any, name: str) -> Any:
    """Read what may stand in a form field or a query: JSON, or just a URL."""
    if not isinstance(given, str):
        return given
    if not given.lstrip().startswith("{"):
        return {name: given}
    return value_of(given)


def webhook_of(runtime: Runtime, given: WebhookInput | None) -> Webhook | None:
    """Give a job's own webhook, or the one that the operator configured for all.

    Raises:
        InvalidParameter: nothing signs what would be sent.
        FetchError: the guard refuses the URL.
    """
    settings = runtime.settings.webhooks
    if given is None:
        return Webhook(None, frozenset(settings.events)) if settings.url else None
    _check(runtime, "webhook.url", given.url)
    if given.secret is None:
        _check_signed(runtime)
    return Webhook(
        url=given.url,
        events=frozenset(given.events or settings.events),
        secret=given.secret.get_secret_value() if given.secret else None,
    )


def _check_signed(runtime: Runtime) -> None:
    if not runtime.settings.webhooks.secrets:
        raise InvalidParameter("`webhook.secret`: give one; this service has none to sign with.")
    if runtime.keys.clients > 1:
        # Signed with the operator's secret, what one client has sent to another's endpoint would
        # be taken for genuine there.
        raise InvalidParameter(
            "`webhook.secret`: give one; where there are several clients, each signs for itself."
        )


def endpoint_to_test(runtime: Runtime, given: WebhookInput | None) -> Webhook:
    """Give what a test event goes to. Raises `EndpointMissing` besides `webhook_of`'s."""
    webhook = webhook_of(runtime, given)
    if webhook is None:
        raise EndpointMissing("No endpoint is configured (OFFLOAD_WEBHOOKS_URL), and none given.")
    return webhook


def placed(
    runtime: Runtime,
    client: str,
    store: StoreInput | None,
    items: Sequence[NewItem],
    *,
    joins: bool,
) -> tuple[list[NewItem], PutTarget | None]:
    """Give the items with the job's own `store`, and the one of the item that joins them.

    A bucket takes the results of all items that name no place of their own.

    Raises:
        InvalidParameter: a job's `store` where it has more than one result, two of them for one
            item, one for an item that is joined, or one key for several items.
        FetchError: the guard refuses a URL, or no remote of this client has that name.
    """
    found = [_settled_item(runtime, client, item, joins=joins) for item in items]
    if store is None:
        return found, None
    target = settled(runtime, client, store.target())
    if joins:
        return found, target
    if target.remote is not None:
        _check_apart(store, several=len(items) > 1)
        return [item if item.store else replace(item, store=target) for item in found], None
    if len(items) > 1:
        raise InvalidParameter(
            f"`store`: one URL takes one result, and there are {len(items)} items; give each "
            "item its own `store`, or join them in an `archive` step."
        )
    if items[0].store is not None:
        raise InvalidParameter("`store` is given twice: for the job and for its only item.")
    return [replace(items[0], store=target)], None


def placed_in_stream(
    runtime: Runtime, client: str, store: StoreInput | None, *, joins: bool
) -> tuple[PutTarget | None, PutTarget | None]:
    """Give where the results of a job go that comes line by line: of each line, and joined.

    Raises as `placed` does.
    """
    if store is None:
        return None, None
    target = settled(runtime, client, store.target())
    if joins:
        return None, target
    if target.remote is None:
        raise InvalidParameter(
            "`store`: one URL takes one result, and each line has its own; give each line its own "
            "`store`, or join them in an `archive` step."
        )
    _check_apart(store, several=True)
    return target, None


def _check_apart(store: StoreInput, *, several: bool) -> None:
    if several and store.s3 and not object_keys.tells_items_apart(store.s3.key):
        raise InvalidParameter(
            "`store.s3.key`: all items would have one key; give it `{index}` or `{name}`."
        )


def _settled_item(runtime: Runtime, client: str, item: NewItem, *, joins: bool) -> NewItem:
    if item.store is None:
        return item
    return replace(item, store=settled(runtime, client, item.store, joins=joins))


def settled(runtime: Runtime, client: str, target: PutTarget, *, joins: bool = False) -> PutTarget:
    """Give a place with the URL of its remote, and refuse early what could never be put anywhere.

    An item's results are put nowhere where a job `joins` them. Raises as `placed` does.
    """
    if joins:
        raise InvalidParameter(
            "`store` of an item: this job joins its items; give the job the `store`."
        )
    if target.remote is None:
        _check(runtime, "store.put_url", target.url)
        checked(target.headers, "store")
        return target
    try:
        remote = runtime.fetcher.remotes.named(target.remote, client)
    except RemoteUnknown as error:
        raise RemoteUnknown(f"`store.s3.remote`: {error.detail}") from None
    return replace(target, url=f"{remote.settings.url}/{target.url}")


def _check(runtime: Runtime, name: str, url: str) -> None:
    try:
        runtime.fetcher.guard.check_url(url)
    except FetchError as error:
        said = f"`{name}`: {error.detail}"
        raise type(error)(said, log_detail=error.log_detail, **error.extra) from error
