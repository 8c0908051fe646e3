"""The client: what can be asked of a service. Written by `make client`. Do not edit."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from offload._operations import Operations
from offload._sync.files import File
from offload._sync.jobs import Job
from offload._sync.transport import Transport
from offload._sync.waiting import call
from offload.documents import LimitsDocument, OperationDocument, Step
from offload.errors import OffloadError
from offload.inputs import Input, Reading, Source, Stored, Upload, Url, understood
from offload.multipart import Form, Sent, unsent
from offload.records import Delivery, listed
from offload.retrying import Retry
from offload.submission import (
    Labels,
    OtherLabels,
    checked_key,
    checked_server,
    job_document,
    parted,
    submission,
)

if TYPE_CHECKING:
    from typing import Unpack

FORM_BYTES = 16 << 20
FORM_FILES = 100
"""Several files go together up to so much; beyond, each is stored by itself first."""


class Client(Operations):
    """A service, and how to ask it; a context manager.

    Has a method for each operation (`compress`, `image`, ...), `run` for several steps, and the
    service's `jobs`, `files` and `deliveries`. May be used by many threads at once.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30,
        http: httpx.Client | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            server: its address; OFFLOAD_SERVER, or this machine's port 8000, if not given.
            key: the API key; OFFLOAD_KEY if not given.
            retry: how patient to be; six more tries over some 30 s if not given.
            timeout_s: how long the service may be silent, beyond what it is asked to wait.
            http: connections to use, which stay the caller's to close.

        Raises:
            ValueError: the address is none, or the key cannot be sent.
        """
        environment = os.environ
        server = server or environment.get("OFFLOAD_SERVER") or "http://127.0.0.1:8000"
        key = key if key is not None else environment.get("OFFLOAD_KEY") or None
        self._transport = Transport(
            checked_server(server),
            checked_key(key),
            retry=retry or Retry(),
            timeout_s=timeout_s,
            http=http,
        )
        self.jobs = Jobs(self._transport)
        self.files = Files(self._transport)
        self.deliveries = Deliveries(self._transport)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def run(
        self,
        *inputs: Input,
        steps: Sequence[Step | Mapping[str, Any]] = (),
        told: Sent = unsent,
        **labels: Unpack[Labels],
    ) -> Job:
        """Submit a job of any inputs and steps: `{"op": "image", "width": 800}`.

        It is submitted once, however often that has to be tried: each call has an idempotency key.

        Args:
            inputs: files by path, bytes or stream, URLs, stored files.
            steps: what each passes through. URLs are fetched first.
            told: called with how many bytes of files have been sent since the last time.
            labels: what else there is to say of it, see `Labels`.

        Returns:
            The job, which is on the service's disk and will be done.

        Raises:
            OffloadError: it was refused, or there is no service.
            OSError: a file cannot be read.
            TypeError: an input is none.
        """
        given = [understood(one) for one in inputs]
        key = labels.get("idempotency_key") or f"offload-{secrets.token_hex(16)}"
        with ExitStack() as stack:
            if (form := _one_form(given, stack)) is not None:
                document = job_document([], steps, labels)
                return self._submit(document, form(document), labels, key, told)
        stored: list[File] = []
        try:
            items: list[Url | Stored] = []
            for one in given:
                if isinstance(one, Upload):
                    file = self.files.upload(one, paths=labels.get("paths"), told=told)
                    stored.append(file)
                    items.append(Stored(file.id))
                else:
                    items.append(one)
            document = job_document(items, steps, labels)
            return self._submit(document, None, labels, key, unsent)
        finally:
            # The job keeps what it needs of them; what was stored for nothing goes as well.
            for file in stored:
                with suppress(OffloadError):
                    file.delete()

    def _submit(
        self, document: str, form: Form | None, labels: Labels, key: str, told: Sent
    ) -> Job:
        asked = submission(document, form, labels, key)
        made = self._transport.post("/v1/jobs", again=True, told=told, **asked)
        return Job(made, self._transport)

    def _run(
        self,
        name: str,
        inputs: Sequence[Any],
        options: Mapping[str, Any],
        labels: OtherLabels,
    ) -> Job:
        said, marks = parted(options, labels)
        return self.run(*inputs, steps=[{"op": name, **said}], **marks)

    def operations(self) -> list[OperationDocument]:
        """Give every operation of the service, with the JSON Schema of its parameters."""
        return listed(self._transport.get("/v1/operations"), "operations")

    def limits(self) -> LimitsDocument:
        """Give what the service was set up to take."""
        found: LimitsDocument = self._transport.get("/v1/limits")
        return found

    def version(self) -> str:
        """Give the service's version. Raises `NotOffload` if it is none."""
        return str((self._transport.root())["version"])


def _one_form(
    given: Sequence[Upload | Url | Stored], stack: ExitStack
) -> Callable[[str], Form] | None:
    """Give what makes a form of all inputs, if all are files that go in one request.

    They are open until `stack` is left.
    """
    uploads = [one for one in given if isinstance(one, Upload)]
    if not uploads or len(uploads) != len(given) or len(uploads) > FORM_FILES:
        return None
    readings: list[Reading] = []
    for one in uploads:
        readings.append(call(Reading, one))
        stack.callback(readings[-1].close)
    sizes = [reading.size_bytes for reading in readings]
    known = [size for size in sizes if size is not None]
    if len(sizes) > 1 and (len(known) < len(sizes) or sum(known) > FORM_BYTES):
        return None
    return lambda document: Form(("job", document), readings)


class Jobs:
    """The jobs of a service that belong to this key."""

    def __init__(self, transport: Transport) -> None:
        """Know who has them."""
        self._transport = transport

    def get(self, job_id: str) -> Job:
        """Give a job. Raises `NotFound`."""
        return Job(self._transport.get(f"/v1/jobs/{_id(job_id)}"), self._transport)

    def list(
        self, *, status: str | None = None, tag: str | None = None
    ) -> Generator[Job, None, None]:
        """Give jobs, newest first, page by page.

        Args:
            status: only queued, running, succeeded, partial, failed, canceled or expired ones.
            tag: only those with this tag.
        """
        asked = {"status": status, "tag": tag, "limit": 100}
        for one in _pages(self._transport, "/v1/jobs", "jobs", asked):
            yield Job(one, self._transport)


class Files:
    """Files that are stored by themselves, to be the inputs of any number of jobs."""

    def __init__(self, transport: Transport) -> None:
        """Know who has them."""
        self._transport = transport

    def upload(
        self,
        source: Source | Upload,
        *,
        name: str | None = None,
        paths: str | None = None,
        told: Sent = unsent,
    ) -> File:
        """Store a file, streamed.

        Args:
            source: its path, content, or a binary stream.
            name: what it is called, if not as its path.
            paths: `keep` for the folders in its name.
            told: called with how many bytes have been sent since the last time.

        Raises:
            OffloadError: it was refused, or there is no service.
            OSError: it cannot be read.
        """
        upload = source if isinstance(source, Upload) else Upload(source, name)
        reading = call(Reading, upload)
        try:
            # Sent twice it is stored twice, and one of them expires unused.
            asked: dict[str, Any] = {"params": {"paths": paths}, "form": Form(None, [reading])}
            made = self._transport.post("/v1/files", again=True, told=told, **asked)
        finally:
            reading.close()
        return File(made, self._transport)

    def get(self, file_id: str) -> File:
        """Give a file, which may as well be the input or result of a job. Raises `NotFound`."""
        return File(self._transport.get(f"/v1/files/{_id(file_id)}"), self._transport)

    def list(self) -> Generator[File, None, None]:
        """Give files that were stored by themselves, newest first, page by page."""
        for one in _pages(self._transport, "/v1/files", "files", {"limit": 100}):
            yield File(one, self._transport)

    def delete(self, file_id: str) -> None:
        """Remove a file; jobs that were given it keep what they need."""
        self._transport.ask("DELETE", f"/v1/files/{_id(file_id)}", again=True)


class Deliveries:
    """Events on their way to the endpoints of this key's jobs."""

    def __init__(self, transport: Transport) -> None:
        """Know who has them."""
        self._transport = transport

    def get(self, delivery_id: str) -> Delivery:
        """Give a delivery, with its attempts. Raises `NotFound`."""
        path = f"/v1/webhooks/deliveries/{_id(delivery_id)}"
        return Delivery(self._transport.get(path))

    def list(
        self, *, job: str | None = None, status: str | None = None
    ) -> Generator[Delivery, None, None]:
        """Give deliveries, newest first, page by page.

        Args:
            job: only those of this job.
            status: only pending, sending, delivered or dead ones.
        """
        asked = {"job": job, "status": status, "limit": 100}
        path = "/v1/webhooks/deliveries"
        for one in _pages(self._transport, path, "deliveries", asked):
            yield Delivery(one)

    def replay(self, delivery_id: str) -> Delivery:
        """Send an event again now, under the same id, whatever became of it."""
        path = f"/v1/webhooks/deliveries/{_id(delivery_id)}/replay"
        return Delivery(self._transport.post(path))


def _id(given: str) -> str:
    """Hold an id to what can stand in a path."""
    if not given.isascii() or not given.replace("_", "").isalnum():
        raise ValueError(f"{given[:100]!r} is no id.")
    return given


def _pages(
    transport: Transport, path: str, name: str, asked: Mapping[str, Any]
) -> Generator[Any, None, None]:
    cursor = None
    while True:
        page = transport.get(path, {**asked, "cursor": cursor})
        for one in listed(page, name):
            yield one
        cursor = page.get("next_cursor")
        if not cursor:
            return
