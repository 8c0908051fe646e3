"""The service's documents as objects: what they say, without what can be done with them.

`document` has all of it as it came; what a newer service adds is there, what an older one leaves
out is None or empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from offload.errors import NotOffload, ServiceError, from_problem

if TYPE_CHECKING:
    from offload.documents import (  # noqa: F401 - named in quotes below
        CountsDocument,
        DeliveryDocument,
        FileDocument,
        ItemDocument,
        JobDocument,
        RefusalDocument,
    )

T = TypeVar("T", bound=Mapping[str, Any])
TERMINAL = frozenset({"succeeded", "partial", "failed", "canceled", "expired"})


def read_json(text: str | bytes) -> Any:
    """Read JSON. Raises `ValueError` if it is none, or nested deeper than can be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("It is nested too deep.") from error


def listed(document: Any, name: str) -> list[Any]:
    """Give the list of that name in an answer. Raises `NotOffload` where there is none."""
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise NotOffload(f"The answer is no document of an Offload service: it has no {name}.")
    return found


class Record(Generic[T]):
    """A document, read as far as it is asked for."""

    __slots__ = ("document",)

    def __init__(self, document: T) -> None:
        """Keep it. Raises `NotOffload` if it is no object with an id."""
        self.document = document

    def _get(self, name: str) -> Any:
        return cast("Mapping[str, Any]", self.document).get(name)

    def _moment(self, name: str) -> datetime | None:
        text = self._get(name)
        return datetime.fromisoformat(text) if isinstance(text, str) else None

    def _error(self) -> ServiceError | None:
        problem = self._get("error")
        return from_problem(problem) if isinstance(problem, Mapping) else None


class Identified(Record[T]):
    """A document with an id."""

    __slots__ = ()

    def __init__(self, document: T) -> None:
        """Keep it. Raises `NotOffload` if it is none with an id."""
        if not isinstance(document, Mapping) or not isinstance(document.get("id"), str):
            raise NotOffload("The answer is no document of an Offload service: it has no id.")
        super().__init__(document)

    @property
    def id(self) -> str:
        """Its name in every request."""
        return str(self._get("id"))

    def __repr__(self) -> str:
        """Tell which it is."""
        return f"<{type(self).__name__} {self.id} {self._get('status') or self._get('name')}>"


class FileData(Identified["FileDocument"]):
    """A stored file: an input, a result, or one that was stored by itself."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """As its client or the operation called it; may have folders. Data, never a path."""
        return str(self._get("name") or self.id)

    @property
    def media_type(self) -> str:
        """By content."""
        return str(self._get("media_type") or "application/octet-stream")

    @property
    def size_bytes(self) -> int:
        """Of the content."""
        return int(self._get("size_bytes") or 0)

    @property
    def sha256(self) -> str | None:
        """Of the content, in lower-case hex; None of a file that came in with its job."""
        return cast("str | None", self._get("sha256"))

    @property
    def expires_at(self) -> datetime | None:
        """When the service removes it."""
        return self._moment("expires_at")


class ItemData(Record["ItemDocument"]):
    """One input of a job and what became of it."""

    __slots__ = ()

    @property
    def index(self) -> int:
        """Its place among the inputs, from 0."""
        return int(self._get("index") or 0)

    @property
    def status(self) -> str:
        """One of queued, running, succeeded, failed and canceled."""
        return str(self._get("status"))

    @property
    def name(self) -> str:
        """Of the input."""
        return str(self._get("name") or "")

    @property
    def url(self) -> str | None:
        """Where it came from, if it is one."""
        return cast("str | None", self._get("url"))

    @property
    def joins(self) -> bool:
        """Whether it is the one that takes the results of all others."""
        return bool(self._get("joins"))

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What each step found out, by its operation."""
        return self._get("facts") or {}

    @property
    def refused(self) -> list[RefusalDocument]:
        """Parts of it that failed while the others went on: `name`, `code`, `detail`."""
        return self._get("refused") or []

    @property
    def progress(self) -> tuple[int, int] | None:
        """How much of its current step is done, and of how much; None while nobody knows."""
        told = self._get("progress")
        return (int(told["done"]), int(told["total"])) if isinstance(told, Mapping) else None

    @property
    def error(self) -> ServiceError | None:
        """Why it failed, as an exception that can be raised."""
        return self._error()


class JobData(Identified["JobDocument"]):
    """What was submitted, and where it stood when it was last looked at."""

    __slots__ = ()

    @property
    def status(self) -> str:
        """One of queued, running, succeeded, partial, failed, canceled and expired."""
        return str(self._get("status"))

    @property
    def done(self) -> bool:
        """Whether it is over."""
        told = self._get("done")
        return told if isinstance(told, bool) else self.status in TERMINAL

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return float(self._get("progress") or 0)

    @property
    def counts(self) -> CountsDocument:
        """How many items stand where."""
        return cast("CountsDocument", self._get("counts") or {})

    @property
    def tag(self) -> str | None:
        """What its client hung on it."""
        return cast("str | None", self._get("tag"))

    @property
    def metadata(self) -> dict[str, Any]:
        """What its client hung on it."""
        return self._get("metadata") or {}

    @property
    def created_at(self) -> datetime | None:
        """When it was submitted."""
        return self._moment("created_at")

    @property
    def finished_at(self) -> datetime | None:
        """When it was over; None before."""
        return self._moment("finished_at")

    @property
    def expires_at(self) -> datetime | None:
        """When its files are removed."""
        return self._moment("expires_at")


class Delivery(Identified["DeliveryDocument"]):
    """One event on its way to one endpoint."""

    __slots__ = ()

    @property
    def event(self) -> str:
        """Such as job.succeeded."""
        return str(self._get("event"))

    @property
    def status(self) -> str:
        """One of pending, sending, delivered and dead."""
        return str(self._get("status"))

    @property
    def job_id(self) -> str | None:
        """The job that it is of; None of a test."""
        return cast("str | None", self._get("job_id"))

    @property
    def created_at(self) -> datetime | None:
        """When what it tells of happened."""
        return self._moment("created_at")

    @property
    def error(self) -> ServiceError | None:
        """Why it is dead."""
        return self._error()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job's stream."""

    kind: str
    """`item`: one is over; `job`: the counts as they are, and in the last one the end."""
    document: Mapping[str, Any]
    """Of the item or of the job."""
    id: str | None
    """Of the last item told: a stream that begins behind it tells nothing twice."""
