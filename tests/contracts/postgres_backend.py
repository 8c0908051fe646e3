"""Records in a database of a real PostgreSQL server, for the contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.records import rows
from app.stores.base import READY, News
from app.stores.postgres import PostgresDatabase
from tests.contracts.backends import Clock
from tests.contracts.records import Store
from tests.postgres import Server

ROOM_BYTES = 100_000
# The server's own words for a full disk, said by the server in the statement that writes: no disk
# can be filled here without root. A sequence, since what is undone does not give its room back.
FULL = f"""
    CREATE SEQUENCE room MINVALUE 0 START 0;
    SELECT setval('room', 0);
    CREATE FUNCTION take_room() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE used bigint := length(new::text) + (SELECT last_value FROM room);
    BEGIN
        IF used > {ROOM_BYTES} THEN
            RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100';
        END IF;
        PERFORM setval('room', used);
        RETURN new;
    END $$;
    CREATE TRIGGER full_jobs BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION take_room();
    CREATE TRIGGER full_deliveries BEFORE INSERT ON deliveries
    FOR EACH ROW EXECUTE FUNCTION take_room();
"""
ROOM_AGAIN = "DROP FUNCTION take_room CASCADE; DROP SEQUENCE room"


class PostgresBackend:
    def __init__(self, server: Server) -> None:
        self.clock = Clock()
        self.wakes = 0
        self.on_queued: Callable[[], None] = lambda: None
        self.server = server
        self.database = server.new_database()
        self.opened: list[Store] = []

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    async def open(self, *, max_unfinished_items: int = 100_000) -> Store:
        db = PostgresDatabase(self.url, clock=lambda: rows.to_ms(self.clock()))
        store = Store(db, max_unfinished_items)
        await store.open()
        db.listen(self._hear)
        self.opened.append(store)
        return store

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()

    def select(self, query: str) -> list[tuple[Any, ...]]:
        return self.server.execute(query, self.database)

    async def crash(self) -> None:
        # Who was at it goes on with what nobody looks at any more.
        before = self.database
        self.server.execute(f"ALTER DATABASE {before} ALLOW_CONNECTIONS false")
        self.server.disconnect(before)
        self.database = self.server.new_database(before)
        self.server.execute(f"ALTER DATABASE {before} ALLOW_CONNECTIONS true")

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        self.server.execute(FULL, self.database)
        try:
            yield
        finally:
            self.server.execute(ROOM_AGAIN, self.database)

    def _hear(self, news: News) -> None:
        if READY in news:
            self.wakes += 1
            self.on_queued()
