"""What the PostgreSQL store promises beyond the contract: what happens when it loses the server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.errors import NotFound, Outdated, StorageError
from app.model.jobs import NewItem
from app.records import backlog
from app.stores import postgres_link, postgres_schema
from app.stores.base import Tx
from app.stores.postgres import PostgresDatabase
from app.stores.postgres_schema import newest
from tests.contracts.postgres_backend import PostgresBackend
from tests.contracts.records import Store
from tests.contracts.test_job_store import items_of, job_now, new_job, submitted
from tests.contracts.test_streams import url
from tests.postgres import Server

pytestmark = pytest.mark.anyio

PORT = 5432


@pytest.fixture
async def records(postgres: Server) -> AsyncIterator[PostgresBackend]:
    made = PostgresBackend(postgres)
    yield made
    await made.close()


@pytest.fixture
async def store(records: PostgresBackend) -> Store:
    return await records.open()


class Line:
    """A line to the server that is cut once, in a commit: before the server has it, or after."""

    def __init__(self, server: Path, listener: socket.socket) -> None:
        self._server, self._listener = server, listener
        self.cut: str | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            back = threading.Thread(target=_pass, args=(server, client), daemon=True)
            back_begun = False
            while data := client.recv(1 << 16):
                if b"COMMIT" in data and self.cut == "before":
                    self.cut, self.cuts = None, self.cuts + 1
                    return
                if b"COMMIT" in data and self.cut == "after":
                    self.cut, self.cuts = None, self.cuts + 1
                    _shut(client)
                    server.sendall(data)
                    back.join(10)  # it has read the answer, and could not pass it on
                    return
                server.sendall(data)
                if not back_begun:
                    back.start()
                    back_begun = True
            _shut(server)


def _pass(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        return


def _shut(one: socket.socket) -> None:
    one.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(server: Server) -> Iterator[tuple[Line, Callable[[str], str]]]:
    """Give a line to a server, and what gives URLs of databases along it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        line = Line(server.folder / f".s.PGSQL.{PORT}", listener)
        yield line, lambda name: f"postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"
        listener.shutdown(socket.SHUT_RDWR)


def counted(tx: Tx, client: str) -> int:
    """Add one to a client's backlog, and tell; gives how often this was begun."""
    tx.tell("counted", client)
    backlog.count(tx, {client: 1})
    return 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_line_lost_in_a_commit_neither_loses_nor_doubles_what_was_written(
    records: PostgresBackend, when: str
) -> None:
    with line_to(records.server) as (line, url_of):
        database = PostgresDatabase(url_of(records.database))
        told: list[Any] = []
        database.listen(lambda news: told.extend(news["counted"]))
        await database.open()
        await database.write(counted, "before")
        begun: list[int] = []

        def rule(tx: Tx) -> int:
            begun.append(1)
            return counted(tx, "shop")

        line.cut = when
        assert await database.write(rule) == 1
        await database.close()
    assert line.cuts == 1
    assert len(begun) == (2 if when == "before" else 1)
    assert told == ["before", "shop"]
    assert records.select("SELECT unfinished FROM clients WHERE client = 'shop'") == [(1,)]


async def test_connections_that_are_killed_again_and_again_harm_nothing(
    records: PostgresBackend, store: Store
) -> None:
    async def killing() -> None:
        for _ in range(60):  # one in fifty is in a commit, and not known to be lost yet
            await asyncio.to_thread(records.server.disconnect, records.database)

    killer = asyncio.create_task(killing())
    made = 0
    while not killer.done() or not made:
        await store.db.write(counted, "many")
        assert await job_now(store, await submitted(store))
        made += 1
    await killer
    assert records.select("SELECT unfinished FROM clients WHERE client = 'many'") == [(made,)]
    assert records.select("SELECT count(*) FROM jobs") == [(made,)]


async def test_a_server_that_restarts_is_waited_for(records: PostgresBackend, store: Store) -> None:
    job = await submitted(store)
    records.server.stop("immediate")
    reading = asyncio.create_task(job_now(store, job))
    writing = asyncio.create_task(submitted(store))
    await asyncio.to_thread(records.server.start)
    assert await reading == job
    assert (await job_now(store, await writing)).counts.queued == 1


async def test_a_server_that_stays_away_is_told_and_nothing_is_written(
    records: PostgresBackend, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "PATIENCE_S", 0.1)
    records.server.stop("immediate")
    try:
        for call in (submitted(store), store.list_jobs("shop")):
            with pytest.raises(StorageError):
                await call
    finally:
        records.server.start()
    assert await store.list_jobs("shop") == ([], None)


async def test_a_rule_that_fails_is_undone_and_the_next_one_is_not(store: Store) -> None:
    with pytest.raises(NotFound):
        await submitted(store, NewItem(file_id="file_unknown"))
    job = await submitted(store)
    assert (await store.list_jobs("shop"))[0] == [job]


async def test_a_key_that_two_use_at_once_makes_one_job(
    records: PostgresBackend, store: Store
) -> None:
    other = await records.open()
    for n in range(10):
        new = new_job(idempotency_key=str(n), fingerprint="f")
        made = await asyncio.gather(*(node.submit(new) for node in (store, other) * 2))
        assert len({one.job.id for one in made}) == 1
        assert sum(one.created for one in made) == 1


async def test_twins_are_found_within_a_part_and_in_those_before(store: Store) -> None:
    async with store.receiving("shop", dedupe=True) as incoming:
        await incoming.add([url(1), url(2), url(1)])
        await incoming.add([url(2), url(3), url(3)])
        made = await incoming.submit(new_job(dedupe=True, pace=9))
    assert len(await items_of(store, made.job)) == 6
    [claims] = [await store.claim("io", 9)]
    assert [claim.index for claim in claims] == [0, 1, 4]


async def test_who_is_newer_or_another_program_is_told_from_what_can_be_used(
    records: PostgresBackend,
) -> None:
    database = PostgresDatabase(records.url)
    records.server.execute("CREATE TABLE jobs (mine int)", records.database)
    with pytest.raises(StorageError, match="tables of another program"):
        await database.open()
    await database.close()
    records.server.execute("DROP TABLE jobs", records.database)
    await (await records.open()).close()
    records.opened.clear()
    records.server.execute(f"UPDATE offload_schema SET version = {newest() + 1}", records.database)
    database = PostgresDatabase(records.url)
    with pytest.raises(StorageError, match="written by a newer program"):
        await database.open()
    await database.close()


async def test_who_is_older_than_the_schema_writes_nothing_more(
    records: PostgresBackend, store: Store
) -> None:
    job = await submitted(store)
    records.server.execute(f"UPDATE offload_schema SET version = {newest() + 1}", records.database)
    with pytest.raises(Outdated) as refused:
        await submitted(store)
    assert refused.value.log_detail.startswith(f"the database has schema {newest() + 1}")
    assert (await store.list_jobs("shop"))[0] == [job]


async def test_who_is_older_than_the_schema_still_reads(
    records: PostgresBackend, store: Store
) -> None:
    job = await submitted(store)
    for _ in range(30):  # until each of the readers has it prepared
        await job_now(store, job)
    records.server.execute("ALTER TABLE jobs ADD COLUMN of_the_next TEXT", records.database)
    assert await job_now(store, job) == job


async def test_who_migrates_waits_for_those_who_write(
    records: PostgresBackend, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tmp_path / "nothing.sql"
    nothing.write_text("SELECT 1")
    records.server.execute(f"UPDATE offload_schema SET version = {newest() - 1}", records.database)
    monkeypatch.setattr(postgres_schema, "migrations", lambda _: {newest(): nothing})
    monkeypatch.setattr(postgres_link, "newest", lambda: newest() - 1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        begun.set()
        assert go_on.wait(20)

    writing = asyncio.create_task(store.db.write(slow))
    await asyncio.to_thread(begun.wait, 20)
    other = PostgresDatabase(records.url)
    migrating = asyncio.create_task(other.open())
    waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    while not await asyncio.to_thread(records.server.execute, waits, records.database):
        assert not migrating.done()
    go_on.set()
    await writing
    await migrating
    await other.close()
