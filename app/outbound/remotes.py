"""Buckets that the operator named, for clients to read from and to have results put into.

What goes there goes through the one guarded client, like everything that leaves the house. All
that is done here is to say who may use which, and to sign a URL for an object, which is computed
on this machine: the credentials never leave it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from app import written
from app.errors import FetchUrlInvalid, RemoteUnknown, RemoteUnready
from app.ops import spellings
from app.ops.object_keys import checked_key
from app.outbound.addresses import Network

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

MAX_REMOTES = 100
HOLDS = timedelta(hours=12)
"""How long a signed URL can be used: longer than anything waits for its host's turn."""
PATIENCE = timedelta(seconds=5)
"""For credentials that the machine's own role has to be asked for."""
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}

_URL = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")


def is_object_url(url: str) -> bool:
    """Tell whether a URL names an object of a bucket, as operators name their remotes."""
    return url.startswith(("s3://", "gs://", "az://"))


def code_in(answer: str) -> str | None:
    """Give the code that a bucket's answer has, such as `AccessDenied`, if it is of that kind."""
    found = _CODE.search(answer)
    return found[1] if found else None


class RemoteSettings(BaseModel):
    """One of OFFLOAD_REMOTES."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(max_length=2000)
    """`s3://bucket/prefix`, `gs://…` or `az://container/prefix`: nothing else of it is reached."""
    options: dict[str, SecretStr] = Field(default={}, max_length=50)
    """What signs: endpoint, region and keys, by the names that OFFLOAD_STORAGE_OPTIONS has."""
    allow_networks: tuple[Network, ...] = Field(default=(), max_length=50)
    """Where its endpoint may be besides OFFLOAD_FETCH_ALLOW_NETWORKS."""
    clients: tuple[Annotated[str, Field(max_length=100)], ...] | None = Field(
        default=None, max_length=1000
    )
    """Who may use it; None for all."""

    _listed = field_validator("allow_networks", "clients", mode="before")(spellings.listed)

    @field_validator("url")
    @classmethod
    def _a_bucket(cls, url: str) -> str:
        found = _URL.fullmatch(url.rstrip("/"))
        if found is None:
            raise ValueError(
                "write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
            )
        if found[3] is not None:
            checked_key(found[3])
        if "{" in url or "}" in url:  # what comes behind it is a template
            raise ValueError("a prefix has no braces")
        return found[0]

    @property
    def place(self) -> tuple[str, str]:
        """Give the bucket's URL, and what the names of all objects begin with."""
        found = _URL.fullmatch(self.url)
        assert found is not None  # noqa: S101 - validated
        return f"{found[1]}://{found[2]}", f"{found[3]}/" if found[3] else ""

    @property
    def endpoint(self) -> str | None:
        """Give the URL of its service, where that is not the cloud's own."""
        named = (value for name, value in self.options.items() if "endpoint" in name.lower())
        return next((value.get_secret_value() for value in named), None)


RemoteTable = Mapping[str, RemoteSettings]
_TABLE = TypeAdapter(dict[str, RemoteSettings])


def remotes_of(given: object) -> RemoteTable:
    """Take names and settings of remotes, or the JSON text of that.

    Raises:
        ValueError: it is not that; the text says why, and has nothing of a secret.
    """
    try:
        document = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None
    if not isinstance(document, dict) or len(document) > MAX_REMOTES:
        raise ValueError(f"this is not a JSON object of at most {MAX_REMOTES} remotes")
    for name in document:
        if not _NAME.fullmatch(str(name)):
            raise ValueError("a remote's name has 1 to 64 letters, digits, - and _")
    try:
        table = _TABLE.validate_python(document)
    except ValidationError as error:
        raise ValueError(_said(error)) from None
    for name, one in table.items():
        _signer(name, one)
    return table


def _said(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    reason = first.get("ctx", {}).get("error", first["msg"])
    # A place names settings and no values, but for the names of options; then what it could be.
    named = [str(part) for part in first["loc"] if _NAME.fullmatch(str(part))]
    return f"{'.'.join(named)}: {reason}"


def read_remotes(path: Path) -> RemoteTable:
    """Read a file with the JSON of OFFLOAD_REMOTES. Raises `ValueError` as `remotes_of` does."""
    return written.read(path, remotes_of)


def _signer(name: str, settings: RemoteSettings) -> S3Store | GCSStore | AzureStore:
    """Give what signs. Raises `ValueError` for options that it does not know."""
    # A third of a second of each start, where nobody needs it.
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    options: Any = {key: value.get_secret_value() for key, value in settings.options.items()}
    try:
        made = from_url(
            settings.place[0],
            config=options or None,
            client_options={"allow_http": True, "timeout": PATIENCE},
            retry_config={"max_retries": 1, "retry_timeout": PATIENCE},
        )
    except BaseError as error:
        said = str(error).split("\n", 1)[0]
        raise ValueError(f"{name}.options: {said}") from None
    return cast("S3Store | GCSStore | AzureStore", made)  # no other scheme has passed


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object of a remote: it may not exist."""

    remote: Remote
    key: str
    """In its bucket, prefix included."""

    @property
    def url(self) -> str:
        """Give its address, which holds no secret."""
        return f"{self.remote.settings.place[0]}/{self.key}"

    @property
    def put_headers(self) -> Mapping[str, str]:
        """Give what has to be sent beside its content."""
        return BLOCK_BLOB if self.url.startswith("az:") else {}

    async def signed(self, method: Literal["GET", "PUT"]) -> str:
        """Give a URL that lets its holder do this with it. Raises `RemoteUnready`."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            return await obstore.sign_async(self.remote.signer, method, self.key, HOLDS)
        except BaseError as error:
            raise RemoteUnready(
                f"The service has no credentials for the remote `{self.remote.name}`.",
                log_detail=str(error).split("\n", 1)[0],
            ) from error


class Remote:
    """A bucket, or what in it is below a prefix."""

    def __init__(self, name: str, settings: RemoteSettings) -> None:
        self.name = name
        self.settings = settings
        self.signer = _signer(name, settings)

    def serves(self, client: str) -> bool:
        """Tell whether a client may use it."""
        return self.settings.clients is None or client in self.settings.clients

    def object(self, name: str) -> RemoteObject:
        """Give one below its prefix. Raises `ValueError` as `checked_key` does."""
        return RemoteObject(self, checked_key(self.settings.place[1] + name))


class Remotes:
    """All that the operator named."""

    def __init__(self, table: RemoteTable) -> None:
        self._named = {name: Remote(name, settings) for name, settings in table.items()}

    @property
    def networks(self) -> set[tuple[Network, ...]]:
        """Give what their endpoints have opened."""
        return {remote.settings.allow_networks for remote in self._named.values()}

    def named(self, name: str, client: str) -> Remote:
        """Give one by its name. Raises `RemoteUnknown`, also where this client may not use it."""
        remote = self._named.get(name)
        if remote is None or not remote.serves(client):
            raise RemoteUnknown("There is no remote of this name for this client.")
        return remote

    def at(self, name: str, url: str, client: str) -> RemoteObject:
        """Give the object at a URL of a remote. Raises as `named`, also for another place."""
        remote = self.named(name, client)
        below = f"{remote.settings.url}/"
        if not url.startswith(below):
            raise RemoteUnknown("The remote of this name is another bucket by now.")
        return remote.object(url.removeprefix(below))

    def find(self, url: str, client: str) -> RemoteObject:
        """Give the object that a URL names, of the remote that covers it most closely.

        The URL is taken as it is: nothing in it is decoded.

        Raises:
            RemoteUnknown: no remote that this client may use covers it.
            FetchUrlInvalid: it has no name that an object may have.
        """
        covers = [
            remote
            for remote in self._named.values()
            if url.startswith(f"{remote.settings.url}/") and remote.serves(client)
        ]
        if not covers:
            raise RemoteUnknown("No remote of this service covers this URL.")
        remote = max(covers, key=lambda one: len(one.settings.url))
        try:
            return remote.object(url.removeprefix(f"{remote.settings.url}/"))
        except ValueError as error:
            raise FetchUrlInvalid(f"The URL names no object: {error}.") from None


NONE = Remotes({})
