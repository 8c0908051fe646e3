"""The work of one command: all that was given, a few at a time, each saved and told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from offload.cli import here
from offload.cli.given import Given, Unit, expanded, listed_urls
from offload.cli.outcome import Engine, Outcome, Result, Watch
from offload.cli.placing import Placing
from offload.cli.settings import Usage, Where
from offload.cli.showing import Show, complain
from offload.errors import OffloadError

DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
URLS_A_JOB = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """What was typed, understood."""

    operation: Mapping[str, Any]
    words: Sequence[str]
    options: Mapping[str, Any]
    labels: Mapping[str, Any]
    where: Where
    output: str | None = None
    recursive: bool = False
    force: bool = False
    as_json: bool = False
    quiet: bool = False
    parallel: int = 4


@dataclass(slots=True)
class Tally:
    """How many went well."""

    succeeded: int = 0
    failed: int = 0
    canceled: list[str] = field(default_factory=list)
    """Jobs of the service that were canceled because somebody had enough."""

    @property
    def exit_code(self) -> int:
        """See docs/cli.md."""
        if not self.failed:
            return DONE
        return SOME_FAILED if self.succeeded else FAILED


def carry_out(order: Order) -> int:
    """Do all of it; gives the exit code. Raises `Usage`."""
    tally = Tally()
    try:
        # Before there is a loop, which would not hear of Ctrl-C while a list of URLs is awaited.
        givens = expanded(order.words, recursive=order.recursive)
        found = list(listed_urls(givens) if order.operation["runs"] == "async" else givens)
    except KeyboardInterrupt:
        complain("Interrupted.")
        return INTERRUPTED
    return guarded(lambda: _carry_out(order, found, tally), tally.canceled)


def guarded(work: Callable[[], Coroutine[Any, Any, int]], canceled: Sequence[str] = ()) -> int:
    """Run to the end, or until somebody has had enough; gives the exit code."""
    ended_by: list[int] = []

    async def until_told() -> int:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one

        def end() -> None:
            ended_by.append(TERMINATED)
            task.cancel()

        with suppress(NotImplementedError):  # Windows has no such signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await work()

    try:
        return asyncio.run(until_told())
    except (KeyboardInterrupt, asyncio.CancelledError):
        told = f" Canceled: {', '.join(canceled)}." if canceled else ""
        complain(f"Interrupted.{told}")
        return ended_by[0] if ended_by else INTERRUPTED
    except BrokenPipeError:  # who read our output has gone
        _forget_output()
        return FAILED
    except OSError as error:
        _forget_output()
        complain(f"{error.filename or 'standard output'}: {error.strerror}.")
        return FAILED
    except OffloadError as error:
        complain(f"{error.detail} {error.hint}".strip() + f" [{error.code}]")
        return FAILED


async def _carry_out(order: Order, found: Sequence[Given], tally: Tally) -> int:
    units = _units(found, order)
    op, joins = order.operation["name"], order.operation["joins"]
    single = joins or sum(len(unit.givens) for unit in units) == 1
    placing = Placing(order.output, op, single=single, force=order.force)
    show = Show(as_json=order.as_json, quiet=order.quiet)
    for given in found:
        if given.error:
            _count(show, tally, Outcome(given, code="client.input", detail=given.error))
    if not units or (joins and tally.failed):
        return tally.exit_code  # one thing of all is not made of those that are there
    async with _engine(order, placing, found, tally) as engine:
        with show.shown(len(units)):
            left = iter(units)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(order.parallel, len(units))):
                        group.create_task(_some(left, engine, placing, show, tally))
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from None
    return tally.exit_code


def _units(found: Sequence[Given], order: Order) -> list[Unit]:
    """Cut what is given into jobs: one for each, or for as many as belong together."""
    good = [given for given in found if not given.error]
    if order.operation["joins"]:
        return [Unit(Given(" ".join(order.words)), good)] if good else []
    many = order.operation["runs"] == "async" and order.where.server is not None
    size = URLS_A_JOB if many else 1
    return [Unit(good[n], good[n : n + size]) for n in range(0, len(good), size)]


@asynccontextmanager
async def _engine(
    order: Order, placing: Placing, found: Sequence[Given], tally: Tally
) -> AsyncIterator[Engine]:
    if order.where.server is None:
        local = here.found()
        if wrong := local.check(order.operation["name"], order.options):
            raise Usage(wrong)
        size_bytes = sum(given.size_bytes for given in found)
        async with local.opened(size_bytes, len(found)):
            yield here.Here(local, order.operation, order.options, placing)
        return
    from offload._async.client import AsyncClient
    from offload.cli.remote import Remote

    try:
        client = AsyncClient(order.where.server, key=order.where.key)
    except ValueError as error:
        raise Usage(str(error)) from None
    async with client:
        remote = Remote(client, order.operation, order.options, order.labels)
        try:
            yield remote
        finally:
            tally.canceled += remote.canceled


async def _some(
    left: Iterable[Unit], engine: Engine, placing: Placing, show: Show, tally: Tally
) -> None:
    """Take one unit after the other, beside others who do."""
    for unit in left:
        async with AsyncExitStack() as stack:
            watch = stack.enter_context(show.watching(unit.shown))
            outcomes: Sequence[Outcome] = []
            try:
                placing.check(unit.shown)
            except FileExistsError as error:
                outcomes = [Outcome(unit.shown, code="client.exists", detail=_taken(error))]
            else:
                outcomes = await stack.enter_async_context(engine.working(unit, watch))
            for outcome in outcomes:
                await _keep(outcome, placing, watch)
                _count(show, tally, outcome)


def _count(show: Show, tally: Tally, outcome: Outcome) -> None:
    show.tell(outcome)
    tally.failed += outcome.failed
    tally.succeeded += not outcome.failed


async def _keep(outcome: Outcome, placing: Placing, watch: Watch) -> None:
    """Have the results of an input where they belong; what cannot be saved is its failure."""
    if outcome.failed or not outcome.results:
        return
    watch.phase("receiving", sum(one.size_bytes for one in outcome.results))
    try:
        if placing.to_stdout(outcome.given):
            await _print(outcome.results, watch)
            return
        for one, path in zip(
            outcome.results, placing.targets(outcome.given, outcome.results), strict=True
        ):
            await anyio.to_thread.run_sync(_make_folder, path.parent)
            outcome.saved.append(await one.save(path, overwrite=placing.force, told=watch.add))
    except FileExistsError as error:
        outcome.fail("client.exists", _taken(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        where = error.filename2 or error.filename or "standard output"
        if placing.to_stdout(outcome.given):
            _forget_output()
        outcome.fail("client.output", f"{where}: {error.strerror}.")
    except OffloadError as error:
        outcome.fail(error.code, error.detail)


def _forget_output() -> None:
    """Have nothing more go to standard output: Python would try again at its end, and complain."""
    with suppress(OSError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _taken(error: OSError) -> str:
    path = Path(error.filename2 or error.filename)
    if error.strerror and error.strerror.startswith("Another"):
        return f"{path}: another result of this run has that name."
    return f"{path} is there already; --force replaces it."


async def _print(results: Sequence[Result], watch: Watch) -> None:
    if len(results) != 1:
        raise OffloadError(f"There are {len(results)} results; -o takes a folder for them.")
    async with aclosing(results[0].iter_bytes()) as pieces:
        async for piece in pieces:
            await anyio.to_thread.run_sync(sys.stdout.buffer.write, piece)
            watch.add(len(piece))
    await anyio.to_thread.run_sync(sys.stdout.buffer.flush)
