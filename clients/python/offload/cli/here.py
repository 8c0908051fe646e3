"""Work done right here, by the operations' own code, where the service's package is installed."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, Protocol

import anyio

from offload.cli.given import Given, Unit
from offload.cli.outcome import Outcome, Told, Watch
from offload.cli.placing import Placing
from offload.cli.settings import Usage
from offload.saving import move_new

GROUP = "offload.local"
PIECE_BYTES = 1 << 20
NO_SERVICE = (
    "No service is named, and the service's own package is not installed, which could do the work "
    "right here. Name one with --server or OFFLOAD_SERVER."
)


class Local(Protocol):
    """What an entry point of the group `offload.local` gives: the service's code, without it."""

    def operations(self) -> list[dict[str, Any]]:
        """Describe the operations as `GET /v1/operations` does."""

    def check(self, op: str, options: Mapping[str, Any]) -> str:
        """Say what is wrong with an operation's options; nothing if they are right."""

    def opened(self, size_bytes: int, files: int) -> AbstractAsyncContextManager[None]:
        """Have worker processes for files of so many bytes together."""

    async def run(
        self,
        op: str,
        options: Mapping[str, Any],
        inputs: Sequence[Mapping[str, str]],
        folder: Path,
        told: Callable[[int, int], None],
    ) -> dict[str, Any]:
        """Do the work on `inputs`, each with a `path` and a `name` or with a `url`.

        Gives the members of an item's document (`results`, `facts`, `refused`, `error`), where each
        result has a `path` inside `folder`, which is there and empty. Raises nothing for work that
        fails.
        """


def found() -> Local:
    """Give the service's package. Raises `Usage` where there is none."""
    for point in entry_points(group=GROUP):
        made: Local = point.load()()
        return made
    raise Usage(NO_SERVICE)


class Made:
    """A result that lies in a folder of ours."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Keep where it is."""
        self._path = Path(document["path"])
        self.name = str(document["name"])
        self.size_bytes = int(document["size_bytes"])
        self.sha256: str | None = document.get("sha256")

    async def save(self, path: Path, *, overwrite: bool, told: Told) -> Path:
        """See `Result.save`: it is on the same file system, and gets its final name."""
        await anyio.to_thread.run_sync(self._move, path, overwrite)
        told(self.size_bytes)
        return path

    def _move(self, path: Path, overwrite: bool) -> None:
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            self._path.replace(path)
        else:
            move_new(self._path, path)

    async def iter_bytes(self) -> AsyncGenerator[bytes, None]:
        """See `Result.iter_bytes`."""
        with self._path.open("rb") as file:
            while piece := await anyio.to_thread.run_sync(file.read, PIECE_BYTES):
                yield piece


class Here:
    """This machine as an `Engine`."""

    def __init__(
        self,
        local: Local,
        operation: Mapping[str, Any],
        options: Mapping[str, Any],
        placing: Placing,
    ) -> None:
        """Know what to do."""
        self._local = local
        self._op = operation["name"]
        self._options = options
        self._placing = placing

    @asynccontextmanager
    async def working(self, unit: Unit, watch: Watch) -> AsyncIterator[list[Outcome]]:
        """See `Engine`. The results are made beside where they go, and only get their names."""
        outcome = Outcome(unit.shown)
        folder: Path | None = None
        try:
            folder = await anyio.to_thread.run_sync(self._folder, unit.shown)
        except OSError as error:
            outcome.fail("client.output", f"{error.filename}: {error.strerror}.")
        try:
            if folder is not None:
                await self._work(outcome, unit.givens, folder, watch)
            yield [outcome]
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, given: Given) -> Path:
        """Make a folder of ours on the file system that the results go to."""
        if self._placing.to_stdout(given):
            return Path(tempfile.mkdtemp(prefix="offload-"))
        near = self._placing.folder_for(given)
        near.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".offload-", dir=near))

    async def _work(
        self, outcome: Outcome, givens: Sequence[Given], folder: Path, watch: Watch
    ) -> None:
        work = folder / "work"
        try:
            work.mkdir()
            inputs = [await self._input(given, folder, n) for n, given in enumerate(givens)]
        except OSError as error:
            outcome.fail("client.input", f"{error.filename}: {error.strerror}.")
            return
        watch.phase("working")
        done = await self._local.run(self._op, self._options, inputs, work, watch.set)
        outcome.results = [Made(one) for one in done["results"]]
        outcome.facts, outcome.refused = done["facts"], done["refused"]
        if problem := done["error"]:
            outcome.fail(problem["code"], problem["detail"])

    async def _input(self, given: Given, folder: Path, place: int) -> dict[str, str]:
        if given.url is not None:
            return {"url": given.url}
        at = await anyio.to_thread.run_sync(_readable, given, folder / f"copy-{place}")
        return {"path": str(at), "name": given.name}


def _readable(given: Given, copy: Path) -> Path:
    """Give a file that can be read more than once: its own, or a copy of what flows by."""
    if given.path is None:
        return _copied(sys.stdin.buffer, copy)
    with given.path.open("rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return given.path.absolute()
        return _copied(file, copy)


def _copied(source: IO[bytes], target: Path) -> Path:
    with target.open("xb") as file:
        shutil.copyfileobj(source, file, PIECE_BYTES)
    return target
