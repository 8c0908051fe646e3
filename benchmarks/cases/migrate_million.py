"""A folder with a million items moves to PostgreSQL and S3; then again, killed every few seconds.

Run once, whatever the rounds. Both servers are real, on the same cores and the same disk. What is
there afterwards is read on both sides, row by row, and must be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from app.blobs.disk import object_path
from app.migrate.source import NODES, TABLES
from app.stores.postgres_tx import adapt
from app.stores.schema import connect, migrate
from benchmarks.bench import Bench, Table, verdict
from tests import postgres, s3

JOBS = 100
LARGE_BYTES = 100_000
LARGE_EACH = 500
"""One item in so many has a result that is a body of its own."""
UNFINISHED = 10
"""One job in so many waits."""
CHUNK = 32
KILL_AFTER = (0.05, 0.3)
"""Of the time that it takes undisturbed."""
MOST_KILLS = 20
FLAT_MB = 150
COMPARED_ROWS = 10_000
MB = 1e6
FACTS = json.dumps({"fetch": {"name": "x", "media_type": "text/plain", "http_status": 200}})


@dataclass(slots=True)
class Run:
    """One migration, of one or more processes."""

    seconds: float = 0.0
    """That a process ran, all together."""
    cpu_s: float = 0.0
    """Of these processes, without PostgreSQL's and the bucket's."""
    peak_bytes: int = 0
    kills: int = 0
    parts: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Of an undisturbed one: rows and seconds of each table."""


def run(bench: Bench) -> list[Table]:
    items = bench.size(1_000_000, 5_000)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir=bench.folder)) / "data"
        server = stack.enter_context(postgres.running())
        bucket = stack.enter_context(s3.s3_server(bench.folder / "s3"))
        rows, bodies = written(folder, items)
        size_bytes = (folder / "offload.db").stat().st_size
        bench.say(f"{rows} rows and {bodies} bodies written")
        whole = moved(bench, folder, target(server, bucket, bench.folder / "one"), [])
        chance = random.Random(items)
        env = target(server, bucket, bench.folder / "two")
        after_s = [chance.uniform(*KILL_AFTER) * whole.seconds for _ in range(MOST_KILLS)]
        killed = moved(bench, folder, env, after_s)
        compared = same_rows(folder, env["OFFLOAD_DATABASE_URL"])
        bench.say(f"{compared} rows are the same on both sides")
    return [_table(items, rows, bodies, size_bytes, whole, killed, compared)]


def written(folder: Path, items: int) -> tuple[int, int]:
    """Write a folder as services leave it; gives its rows and its large bodies."""
    each = items // JOBS
    objects = folder / "blobs" / "objects"
    objects.mkdir(parents=True)
    with closing(connect(folder / "offload.db")) as db:
        migrate(db)
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for number in range(JOBS):
            _job(db, number, each, objects)
        db.execute("COMMIT")
        rows = sum(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
        bodies = sum(1 for _ in objects.glob("*/*"))
    return rows, bodies


def _job(db: Any, number: int, each: int, objects: Path) -> None:
    waits = number % UNFINISHED == UNFINISHED - 1
    counts = {"queued": each, "succeeded": 0} if waits else {"queued": 0, "succeeded": each}
    db.execute(
        "INSERT INTO jobs (pk, id, client, status, seq, steps, metadata, queued, succeeded, "
        "retention_ms, created_ms) VALUES (?, ?, 'bench', ?, ?, '[]', '{}', ?, ?, 1, 1)",
        [number + 1, f"job_{number}", "running" if waits else "succeeded", each, *counts.values()],
    )
    first = number * each + 1
    db.executemany(
        "INSERT INTO items (pk, job_pk, idx, status, seq, attempt, name, url, facts) "
        "VALUES (?, ?, ?, ?, ?, 1, '', ?, ?)",
        (
            (first + n, number + 1, n, "queued" if waits else "succeeded", n,
             f"https://origin.example/{number}/{n}", None if waits else FACTS)
            for n in range(each)
        ),
    )  # fmt: skip
    if waits:
        chunks = ((number + 1, n, min(n + CHUNK, each) - 1, -n) for n in range(0, each, CHUNK))
        db.executemany(
            "INSERT INTO chunks (job_pk, lo, hi, fetches, n, lane, priority, state) "
            f"VALUES (?, ?, ?, 1, {CHUNK}, 'io', ?, 'ready')",
            chunks,
        )
        return
    for n in range(each):
        _result(db, number + 1, first + n, objects)


def _result(db: Any, job: int, item: int, objects: Path) -> None:
    key = hashlib.md5(b"%d" % item).hexdigest()
    large = item % LARGE_EACH == 7
    content = random.Random(item).randbytes(LARGE_BYTES) if large else b"content of %d" % item
    digest = hashlib.sha256(content).hexdigest()
    db.execute(
        "INSERT INTO files (id, client, blob, digest, name, media_type, size_bytes, job_pk, "
        "item_pk, position, created_ms) "
        "VALUES (?, 'bench', ?, ?, 'x', 'text/plain', ?, ?, ?, 0, 1)",
        [f"file_{item}", key, digest, len(content), job, item],
    )
    if large:
        path = object_path(objects, key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    else:
        db.execute("INSERT INTO small VALUES (?, ?)", [key, content])


def target(server: postgres.Server, bucket: str, node: Path) -> dict[str, str]:
    wanted = s3.storage(bucket, f"s3://tests/{node.name}")
    own = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
    return own | {
        "OFFLOAD_DATABASE_URL": server.url(server.new_database()),
        "OFFLOAD_STORAGE_URL": wanted.url,
        "OFFLOAD_STORAGE_OPTIONS": json.dumps(wanted.options),
        "OFFLOAD_DATA_DIR": str(node),
        "OFFLOAD_LOG_FORMAT": "json",
    }


def moved(bench: Bench, folder: Path, env: Mapping[str, str], kills_s: list[float]) -> Run:
    """Run `offload migrate` to its end, and kill it after so many seconds, again and again.

    Raises:
        RuntimeError: it failed.
    """
    done = Run()
    command = [sys.executable, "-m", "app", "migrate", "--from", str(folder)]
    while True:
        with tempfile.TemporaryFile("w+") as said:
            began = time.monotonic()
            process = subprocess.Popen(command, env=env, stdout=said, stderr=said, cwd=bench.app)
            if done.kills < len(kills_s):
                _kill_after(process, kills_s[done.kills])
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            done.seconds += time.monotonic() - began
            done.cpu_s += used.ru_utime + used.ru_stime
            done.peak_bytes = max(done.peak_bytes, used.ru_maxrss * 1024)
            said.seek(0)
            told = said.read()
        if process.returncode != -signal.SIGKILL:
            break
        done.kills += 1
        bench.say(f"killed: {told.splitlines()[-1][:150] if told else 'nothing said yet'}")
    if process.returncode:
        raise RuntimeError(told)
    done.parts = _parts(told)
    bench.say(f"moved in {done.seconds:.0f} s, {done.kills} kills")
    return done


def _kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    watched = os.pidfd_open(process.pid)
    try:
        if not select.select([watched], [], [], seconds)[0]:
            process.kill()
    finally:
        os.close(watched)


def _parts(told: str) -> dict[str, tuple[int, float]]:
    """Give what the lines said at the end of each part."""
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    ends = [line for line in lines if line["event"] == "migrating" and line["percent"] == 100]
    return {line["part"]: (line["done"], line["done"] / max(line["per_s"], 1)) for line in ends}


def same_rows(folder: Path, url: str) -> int:
    """Compare all rows of a folder with those of a database; gives how many there are.

    Raises:
        RuntimeError: some differ.
    """
    compared = 0
    with (
        closing(connect(folder / "offload.db", read_only=True)) as here,
        psycopg.connect(url) as there,
    ):
        adapt(there.adapters)
        for table in (*TABLES, NODES):
            names = [name for _, name, *_ in here.execute(f"PRAGMA table_info({table})")]
            columns, order = ", ".join(names), "key" if table == "small" else "1"
            found = here.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")
            for ours, theirs in zip(found, _rows(there, table, columns, order), strict=True):
                if tuple(ours) != theirs:
                    raise RuntimeError(f"{table}: {tuple(ours)} has become {theirs}.")
                compared += 1
    return compared


def _rows(db: psycopg.Connection[Any], table: str, columns: str, order: str) -> Iterator[Any]:
    with db.cursor("rows") as cursor:
        cursor.itersize = COMPARED_ROWS
        collated = 'key COLLATE "C"' if order == "key" else order
        yield from cursor.execute(f"SELECT {columns} FROM {table} ORDER BY {collated}".encode())


def _table(
    items: int, rows: int, bodies: int, size_bytes: int, whole: Run, killed: Run, compared: int
) -> Table:
    bodies_s = whole.parts.pop("bodies", (0, 0.0))[1]
    rows_s = sum(seconds for _, seconds in whole.parts.values())
    most = sorted(whole.parts.items(), key=lambda part: -part[1][0])[:4]
    cells = [
        ["folder", f"{size_bytes / MB:.0f} MB of records, {bodies} bodies of {LARGE_BYTES} bytes"],
        ["whole", f"{whole.seconds:.1f} s, {rows / whole.seconds:.0f} rows/s"],
        ["records alone", f"{rows_s:.1f} s, {rows / rows_s:.0f} rows/s"],
        *(
            [f"of them {name}", f"{n} rows, {n / max(s, 0.001):.0f} rows/s"]
            for name, (n, s) in most
        ),
        ["bodies alone", f"{bodies_s:.1f} s, {bodies / max(bodies_s, 0.001):.0f}/s"],
        ["CPU of the process, whole", f"{whole.cpu_s:.1f} s"],
        ["peak memory, whole", f"{whole.peak_bytes / MB:.0f} MB"],
        [
            f"killed {killed.kills} times",
            f"{killed.seconds:.1f} s, {killed.peak_bytes / MB:.0f} MB",
        ],
    ]
    note = (
        "One run each. Memory is the kernel's count of the process's peak. After the one that was"
        " killed, every row was read on both sides."
    )
    notes = [
        note,
        "",
        verdict(
            "killed at any moment, no row is lost, doubled or changed",
            f"{compared} of {rows} rows the same after {killed.kills} kills",
            met=compared == rows,
        ),
        verdict(
            f"memory flat: less than {FLAT_MB} MB at the most",
            f"{max(whole.peak_bytes, killed.peak_bytes) / MB:.0f} MB",
            met=max(whole.peak_bytes, killed.peak_bytes) < FLAT_MB * MB,
        ),
    ]
    return Table(f"migrate-million: {items} items, {rows} rows", ("what", "measured"), cells, notes)
