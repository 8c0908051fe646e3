"""What an operation is: a name, a parameter model, where it runs, and a function over files."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema

from app.errors import Refusal

Runs = Literal["process", "thread", "async"]
"""Where an operation's work belongs: CPU work in the shared process pool, a blocking library in
a bounded thread, waiting on the event loop."""


MAX_BYTES = 1 << 40
"""Upper bound of every number of bytes: more than anything is."""
MAX_RATIO = 1_000_000_000_000
MAX_ELEMENTS = 1_000
"""Of a parameter that is a list and does not say how long it may be."""


class Params(BaseModel):
    """Base of every operation's parameters: frozen, unknown fields refused.

    The text below a field is what clients are told of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Give the descriptions each on one line, wherever the source breaks them."""
        schema = handler(core_schema)
        for described in handler.resolve_ref_schema(schema).get("properties", {}).values():
            if said := described.get("description"):
                described["description"] = " ".join(said.split())
        return schema

    @field_validator("*", mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        """Look at a list's length first: of a million elements each would be validated, and told.

        As long as its field says, or `MAX_ELEMENTS`.
        """
        if isinstance(value, list | tuple | dict):
            limits = [
                most
                for said in cls.model_fields[str(info.field_name)].metadata
                if (most := getattr(said, "max_length", None)) is not None
            ]
            if len(value) > (limit := min(limits, default=MAX_ELEMENTS)):
                raise ValueError(f"takes {limit} elements at most, not {len(value)}")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Hold numbers of operations from elsewhere to what records and JSON can have."""
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError("must fit into 64 bits")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("must be finite")
        return value


@dataclass(frozen=True, slots=True)
class Limits:
    """What one item may use, whatever it asks for."""

    time_s: float = 30.0
    """Wall-clock seconds, from the moment the work starts in the worker."""
    max_pixels: int = 50_000_000
    """Pixels times frames of a picture, in and out."""
    max_output_bytes: int = 1 << 30
    """Bytes that one item may produce."""
    max_files: int = 10_000
    """Files that one item may produce."""
    min_free_bytes: int = 0
    """Free space that the disk keeps whatever is produced."""


_Class = TypeVar("_Class", bound=type)


def pickled_by_fields(cls: _Class) -> _Class:
    """Have a dataclass with slots pickle as a call with its fields: by far quicker."""
    slotted: Any = cls
    fields = attrgetter(*slotted.__slots__)
    slotted.__reduce__ = lambda self: (cls, fields(self))
    return cls


NOWHERE = Path()
"""The path of what is a value and no file."""

Content = Path | bytes
"""Where bytes are, or they themselves."""


def opened(content: Content) -> BinaryIO:
    """Open for reading what is in a file or in memory; the caller closes it."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def whole(content: Content) -> bytes:
    """Give all of it at once."""
    return content if isinstance(content, bytes) else content.read_bytes()


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class Source:
    """One input of a step, a file or a value; only ever read."""

    path: Path
    """`NOWHERE` of a value, which only an operation meets that takes bytes."""
    name: str
    """The name that the client gave it: data for naming the result, never a path."""
    media_type: str
    """By content; of a text, also by what it is called (`text_types.py`)."""
    size_bytes: int
    data: bytes | None = None
    """All of it, where it is a value."""

    @classmethod
    def of(cls, data: bytes, name: str, media_type: str) -> Self:
        """Make one of a value."""
        return cls(NOWHERE, name, media_type, len(data), data)

    @property
    def content(self) -> Content:
        """The value, or where the file is."""
        return self.path if self.data is None else self.data

    def open(self) -> BinaryIO:
        """Open it for reading; the caller closes it."""
        return opened(self.content)


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a step, a file or a value."""

    path: Path
    """Inside the folder that the step was given; `NOWHERE` of a value."""
    name: str
    """The file name that a client sees. `/` separates folders: data, never a path of ours."""
    media_type: str
    sha256: str | None = None
    """Hexadecimal, if it was computed while writing; else the content is read once more."""
    data: bytes | None = None
    """All of it, where it is a value."""

    @property
    def content(self) -> Content:
        """The value, or where the file is."""
        return self.path if self.data is None else self.data

    @property
    def size_bytes(self) -> int:
        """Of the value, or of the file as it is now."""
        return self.path.stat().st_size if self.data is None else len(self.data)


@dataclass(frozen=True, slots=True)
class Result:
    """What a step made, found out and left out."""

    outputs: tuple[Output, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """What the step found out or decided, JSON only: dimensions, ratio, method."""
    refused: tuple[Refusal, ...] = ()
    """Parts that failed while the others went on. If nothing went on, raise instead."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A file that a step needs besides its inputs, as its parameters name it: one of both."""

    file_id: str | None = None
    """A stored file."""
    url: str | None = None

    @property
    def key(self) -> str:
        """What it is called in `Work.asides`."""
        return self.file_id or self.url or ""


def untold(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def one_core() -> int:
    """Give 1: who asks has a core, and nobody knows of another."""
    return 1


@dataclass(frozen=True, slots=True)
class Work:
    """What a step gets to work with."""

    sources: tuple[Source, ...]
    """One file; several only for an operation that joins."""
    folder: Path
    """Empty, private to this step, on the data disk; removed by the caller whatever happens. For
    an operation that takes bytes it is there once it has called `place`."""
    limits: Limits
    tell: Callable[[int, int], None] = untold
    """Call it now and then with how much is done, and of how much: bytes, rows or frames. Costs
    next to nothing."""
    cores: Callable[[], int] = one_core
    """How many threads may compute right now, at least 1: the worker's own core and those of the
    workers that are idle. Ask again as work goes on: others come and go."""

    asides: Mapping[str, Source] = field(default_factory=dict)
    """By `Aside.key`, the further files that the step's parameters name."""

    @property
    def source(self) -> Source:
        """The input, for an operation that does not join."""
        return self.sources[0]

    def pieces(self) -> Iterator[bytes]:
        """Read the input whole, a MiB at a time, and tell how much of it is done."""
        done_bytes = 0
        with self.source.open() as file:
            while piece := file.read(1 << 20):
                yield piece
                done_bytes += len(piece)
                self.tell(done_bytes, self.source.size_bytes)

    def place(self) -> Path:
        """Give `folder`, and make it if it is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder


Weight = Callable[[int, Mapping[str, Any]], float]
"""Estimates the CPU milliseconds for an input of so many bytes, and a step's parameters as JSON."""


def by_size(least_ms: float, mib_ms: float) -> Weight:
    """Weigh an operation by its input's size alone: so many ms, and so many more for a MiB."""
    return lambda size_bytes, _params: least_ms + mib_ms * size_bytes / (1 << 20)


_UNMEASURED = by_size(50, 100)
"""Long work, which runs by itself: nobody has said what it takes."""


Run = Callable[[Work, Any], Result]
"""Does the work. Raises `OffloadError` where it can name the reason; anything else is reported
as `internal.operation`. May leave rubbish in `folder` when it fails."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What clients may ask for by name: as a step of a job, and at a door of its own."""

    name: str
    summary: str
    """One sentence, shown in OpenAPI and in `GET /v1/operations`."""
    params: type[Params]
    runs: Runs
    """Where it is done. What waits only, as a fetch does, is the event loop's, and no operation."""
    accepts: tuple[str, ...]
    """Media types, by content, that it takes; `*/*` for all. For people: the operation itself
    decides by reading."""
    _: KW_ONLY
    joins: bool = False
    """Whether it makes one thing of many: it then gets all inputs at once, and as a step of a job
    it waits for all the job's items."""
    door: str | None = None
    """Path below /v1 of its one-shot door, if not its name."""
    by_accept: Callable[[str], dict[str, Any]] | None = None
    """Gives the parameters that a request's `Accept` header stands for, at the operation's own
    door and where they are not said; raises nothing."""
    asides: Callable[[Any], Sequence[Aside]] | None = None
    """Gives the further files that its parameters name. They are there when it runs."""
    example: dict[str, Any] = field(default_factory=dict)
    """Parameters for the documentation's example request."""

    def asides_of(self, params: Mapping[str, Any]) -> Sequence[Aside]:
        """Give the further files that the parameters of a job's step name."""
        return self.asides(self.params.model_validate(params)) if self.asides else ()


@dataclass(frozen=True, slots=True)
class Operation(Offered):
    """One thing the service can do to a file."""

    runs: Literal["process", "thread"]
    run: Run
    _: KW_ONLY
    takes_bytes: bool = False
    """Whether it takes sources and asides that are values, and makes its folder by `Work.place`
    if it needs one. For the others a value is made a file first."""
    warm_up: Callable[[], None] | None = None
    """Loads what the first item should not have to wait for, once in each worker. What it raises
    is logged, and the worker lives: the operation will say the same when it is used."""
    weight_ms: Weight = _UNMEASURED
    """Within a factor of three is enough: small items are packed by it, large ones go alone."""
