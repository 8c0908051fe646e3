"""Which processes may use one data folder at once, and which must not."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.errors import StorageError
from app.nodes.folder import DATABASE, hold
from app.stores.schema import newest
from app.stores.sqlite import SqliteDatabase

REFUSED = r"Another service runs on OFFLOAD_DATA_DIR .*; give this one its own\."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One with a database as this program makes it."""

    async def make() -> None:
        database = SqliteDatabase(tmp_path / DATABASE)
        await database.open()
        await database.close()

    asyncio.run(make())
    return tmp_path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.nodes.folder.PATIENCE_S", 0.0)


def make_older(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        db.execute("PRAGMA user_version = 7")


@contextmanager
def in_use(folder: Path, *roles: str) -> Iterator[None]:
    with hold(folder, roles) as held:
        held.share()
        yield


@pytest.mark.parametrize("first", [["api"], ["work"]])
def test_each_role_is_one_processs(folder: Path, first: list[str], impatient: None) -> None:
    other = "work" if first == ["api"] else "api"
    with in_use(folder, *first):
        for roles in (first, ["api", "work"]):
            with pytest.raises(StorageError, match=REFUSED), hold(folder, roles):
                pass
        with (
            in_use(folder, other),
            pytest.raises(StorageError, match=REFUSED),
            hold(folder, [other]),
        ):
            pass
        # Who was refused, and who went, has left nothing locked.
        with in_use(folder, other):
            pass
    with in_use(folder, "api", "work"):
        pass


def test_nobody_brings_a_folder_up_to_date_under_one_that_runs(
    folder: Path, impatient: None
) -> None:
    with in_use(folder, "api"):
        make_older(folder)
        with pytest.raises(StorageError, match=REFUSED), hold(folder, ["work"]):
            pass
    with hold(folder, ["work"]):
        pass


def test_nobody_gets_in_while_another_brings_it_up_to_date(folder: Path, impatient: None) -> None:
    make_older(folder)
    with hold(folder, ["api"]) as held:
        with pytest.raises(StorageError, match=REFUSED), hold(folder, ["work"]):
            pass
        with closing(sqlite3.connect(folder / DATABASE)) as db:
            db.execute(f"PRAGMA user_version = {newest()}")
        with pytest.raises(StorageError, match=REFUSED), hold(folder, ["work"]):
            pass
        held.share()
        with in_use(folder, "work"):
            pass


@pytest.mark.parametrize("there", [True, False])
def test_who_starts_meanwhile_waits_until_the_other_has_brought_it_up_to_date(
    folder: Path, there: bool
) -> None:
    started, entered = threading.Event(), threading.Event()

    def second() -> None:
        started.set()
        with in_use(folder, "work"):
            entered.set()

    waiting = threading.Thread(target=second)
    with hold(folder, ["api"]) as held:
        waiting.start()
        assert started.wait(10)
        assert not entered.wait(0.2)
        if there:
            held.share()
            assert entered.wait(10)
    # Or the other one has failed, and it is this one's turn.
    assert entered.wait(10)
    waiting.join()


def test_a_service_from_before_there_were_roles_lets_nobody_in(
    folder: Path, impatient: None
) -> None:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match=REFUSED), hold(folder, ["api"]):
            pass
    with (
        in_use(folder, "api"),
        (folder / "lock").open("w") as lock,
        pytest.raises(BlockingIOError),  # it finds the folder taken itself
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
