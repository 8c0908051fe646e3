"""A bucket's client: how it is made of the settings, and what its errors mean here."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from html import unescape
from typing import Any, TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from app import metrics
from app.blobs.base import StorageSettings, missing
from app.errors import StorageError

T = TypeVar("T")
Bucket = S3Store | GCSStore | AzureStore

OUT_OF_REACH = "The object store could not be used."
MOST_TRIES = 10_000
"""More than there is time for."""
BACKOFF_S = 2.0
"""The longest pause between two tries: so soon a bucket that is back is noticed."""
KEY = ("access_key_id", "secret_access_key")
NAME = "name"
"""An object that every bucket in use has: its name for itself."""
_S3_ERROR = re.compile(r"<Code>(?P<code>\w+)</Code>.*?<Message>(?P<message>[^<]*)", re.DOTALL)


def store_of(storage: StorageSettings) -> Bucket:
    """Give the client of the bucket that the settings name.

    Raises:
        ValueError: they name no store that is known, or have options that it does not.
    """
    options: Any = dict(storage.options)
    if storage.url.startswith("s3"):
        options.setdefault("checksum_algorithm", "sha256")
    try:
        made = from_url(
            storage.url,
            config=options or None,
            client_options={
                "allow_http": True,  # where the operator wrote it
                "connect_timeout": timedelta(seconds=5),
                "read_timeout": timedelta(seconds=20),
                "timeout": timedelta(seconds=120),
            },
            retry_config={
                "retry_timeout": timedelta(seconds=storage.retry_s),
                # Ten, as its own default has it, are used up within seconds where nobody answers.
                "max_retries": MOST_TRIES if storage.retry_s else 0,
                "backoff": {"max_backoff": timedelta(seconds=BACKOFF_S)},
            },
        )
    except BaseError as error:
        message = f"OFFLOAD_STORAGE_URL or OFFLOAD_STORAGE_OPTIONS: {_first(error)}"
        raise ValueError(message) from error
    if not isinstance(made, Bucket):
        raise ValueError("OFFLOAD_STORAGE_URL: write s3://…, gs://… or az://…")  # noqa: TRY004
    return made


def keys_of(store: Bucket) -> dict[str, str]:
    """Give the secret key of S3 that the options or the environment have, by the key's id.

    It need not be what signs: that may be the machine's role, whose keys pass.
    """
    config: Mapping[str, Any] = store.config if isinstance(store, S3Store) else {}
    key_id, secret = (config.get(name) or os.environ.get(f"AWS_{name}".upper()) for name in KEY)
    return {key_id: secret} if key_id and secret else {}


@contextmanager
def translated() -> Iterator[None]:
    """Raise the store's errors as ours."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        metrics.blob_failed(StorageError.code)
        raise StorageError(OUT_OF_REACH, log_detail=_first(error)) from error


def _first(error: Exception) -> str:
    """Give what a store's client says in one line, without the part for its developers.

    Of a document of S3 its code and message: beside them some servers send what was signed.
    """
    said = str(error).split("\n\nDebug source", 1)[0]
    if told := _S3_ERROR.search(said):
        said = f"{said[: said.find('<')]}{told['code']}, {unescape(told['message'])}"
    return " ".join(said.split())


async def told(call: Awaitable[T]) -> T:
    """Await a call of the client; its errors are raised as ours."""
    with translated():
        return await call


async def found(remote: Bucket, call: Awaitable[T]) -> T:
    """Await a call that is about an object, as `told` does.

    Raises `BlobMissing` where there is no such object, and the bucket is there: with one that has
    vanished, or is named wrongly by now, nothing is known to be lost.
    """
    with translated():
        try:
            return await call
        except (NotFoundError, FileNotFoundError) as error:
            lost = error
        with suppress(NotFoundError, FileNotFoundError):
            await obstore.head_async(remote, NAME)
            raise missing(_first(lost)) from lost
    raise StorageError(OUT_OF_REACH, log_detail=f"It is not there any more: {_first(lost)}")
