"""What became of one input, wherever it was worked on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from offload.cli.given import Given, Unit

Told = Callable[[int], None]


class Result(Protocol):
    """A file that came of it."""

    @property
    def name(self) -> str:
        """As the operation calls it; data, never a path."""

    @property
    def size_bytes(self) -> int:
        """Of the content."""

    @property
    def sha256(self) -> str | None:
        """Of the content, in hex."""

    async def save(self, path: Path, *, overwrite: bool, told: Told) -> Path:
        """Have it whole under its final name, or not at all. Raises `OSError`, `OffloadError`."""

    def iter_bytes(self) -> AsyncGenerator[bytes, None]:
        """Give its content piece by piece. Raises as `save` does."""


@dataclass(slots=True)
class Outcome:
    """What became of one input."""

    given: Given
    results: Sequence[Result] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    refused: Sequence[Mapping[str, Any]] = ()
    code: str = ""
    """Of the failure; empty if there was none."""
    detail: str = ""
    job_id: str | None = None
    saved: list[Path] = field(default_factory=list)
    """Where the results are."""

    @property
    def failed(self) -> bool:
        """Whether it has no result, and should."""
        return bool(self.code)

    def fail(self, code: str, detail: str) -> None:
        """Note why, once: what failed first is the reason."""
        if not self.code:
            self.code, self.detail = code, detail

    def document(self) -> dict[str, Any]:
        """Give it as `--json` prints it."""
        results = [
            {
                "path": str(self.saved[n]) if n < len(self.saved) else None,
                "name": one.name,
                "size_bytes": one.size_bytes,
                "sha256": one.sha256,
            }
            for n, one in enumerate(self.results)
        ]
        error = {"code": self.code, "detail": self.detail} if self.failed else None
        return {
            "input": self.given.shown,
            "status": "failed" if self.failed else "succeeded",
            "results": results,
            "facts": dict(self.facts),
            "refused": [dict(one) for one in self.refused],
            "error": error,
            "job": self.job_id,
        }


class Watch(Protocol):
    """Is told how far one unit of work is."""

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """Something else begins: sending, waiting, working, receiving."""

    def add(self, count: int) -> None:
        """So many bytes more; fewer, if negative."""

    def set(self, done: int, total: int) -> None:
        """So much is done, and of so much, in units of the step's own."""


class Engine(Protocol):
    """Where work is done."""

    def working(self, unit: Unit, watch: Watch) -> AbstractAsyncContextManager[list[Outcome]]:
        """Have inputs worked on, as one job; the results are there until the context is left.

        Failures are outcomes. On cancellation nothing goes on behind one's back.
        """
