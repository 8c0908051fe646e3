"""A small job's cost when the tables are empty, and when they have ten million items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import corpus, deployment, exchanges
from benchmarks.bench import Bench, Table, verdict
from benchmarks.cases import nodes
from benchmarks.deployment import Deployment

ITEMS_A_JOB = 1_000
JOBS_AT_ONCE = 100
WRITERS = 2
FLAT = 1.3
MOST_GROWN = 6
STATEMENTS = r"""
SELECT left(regexp_replace(translate(query, '|', '/'), '\s+', ' ', 'g'), 90),
       ARRAY[sum(total_exec_time), sum(rows)] FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY 1
"""
NODES = ("api", "work", "pool")
RANDOM = "md5(random()::text || clock_timestamp()::text)"
# Jobs as services leave them, of the client that has asked before; one item in ten has a file.
FILL = f"""
SET synchronous_commit = off;
SET session_replication_role = replica;  -- what the rows name is in the same statement
WITH made AS (
    INSERT INTO jobs (id, client, status, seq, steps, metadata, queued, succeeded, retention_ms,
                      created_ms, started_ms, finished_ms, expires_ms)
    SELECT 'job_' || {RANDOM}, (SELECT client FROM jobs ORDER BY pk LIMIT 1), 'succeeded',
           {{each}}, '[]', '{{{{}}}}', 0, {{each}}, 86400000, now, now, now, now + 86400000
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock,
         generate_series(1, {{jobs}})
    RETURNING pk, client, created_ms, expires_ms
), listed AS (
    INSERT INTO items (job_pk, idx, status, seq, attempt, name, url, facts, started_ms, finished_ms)
    SELECT pk, idx, 'succeeded', idx + 1, 1, '', 'https://origin.example/' || pk || '/' || idx,
           '{{{{"fetch": {{{{"name": "x", "http_status": 200}}}}}}}}', created_ms, created_ms
    FROM made, generate_series(0, {{each}} - 1) AS idx
    RETURNING pk, job_pk, idx
), filed AS (
    INSERT INTO files (id, client, blob, digest, name, media_type, size_bytes, job_pk, item_pk,
                       position, created_ms)
    SELECT 'file_' || {RANDOM}, client, {RANDOM}, 'none', 'x', 'text/plain', 16, job_pk,
           listed.pk, 0, created_ms
    FROM listed JOIN made ON made.pk = job_pk WHERE idx % 10 = 0
    RETURNING blob
)
INSERT INTO small SELECT blob, 'sixteen bytes...' FROM filed;
"""


def run(bench: Bench) -> list[Table]:
    """Measure, fill the tables, measure again."""
    items = bench.size(10_000_000, 10_000)
    small = exchanges.offload("/v1/compress", corpus.small_files(64, 1024), "a")
    work = nodes.in_flight(small, nodes.IN_FLIGHT, bench.size(15.0, 0.3))
    loaded = {"shared_preload_libraries": "pg_stat_statements", "max_wal_size": "4GB"}
    with deployment.shared(bench, 1, 2, **loaded) as running:
        _execute(running, "CREATE EXTENSION pg_stat_statements")
        work(running)
        empty = list(_measured(bench, running, work, "tables empty"))
        first = _statements(running)
        filled(bench, running, items)
        full = list(_measured(bench, running, work, f"{items} items"))
        then = _statements(running)
        stored_mb = running.stored_bytes() / 1e6
    ended = f"{items // ITEMS_A_JOB} ended jobs of {ITEMS_A_JOB} URLs"
    notes = (
        (
            f"Jobs of 1 KB, {nodes.IN_FLIGHT} in flight, on one node that takes requests and one"
            f" that works; CPU of a job as in `nodes`, before and after {ended} were written to the"
            f" tables ({stored_mb:.0f} MB), a tenth of the URLs with a result. Both times after"
            " VACUUM, ANALYZE and a checkpoint; 32 MB of shared buffers."
        ),
        "",
        *_verdicts(empty[1], full[1]),
    )
    columns = ("tables", *nodes.COLUMNS[1:])
    return [
        Table("full-tables: a small job among many items", columns, [*empty, *full], notes),
        _grown(first, then),
    ]


def filled(bench: Bench, running: Deployment, items: int) -> None:
    """Write so many items of ended jobs, as one client's."""
    jobs = items // ITEMS_A_JOB
    parts = [min(JOBS_AT_ONCE, jobs - begun) for begun in range(0, jobs, JOBS_AT_ONCE)]

    def fill(part: int) -> int:
        _execute(running, FILL.format(jobs=part, each=ITEMS_A_JOB))
        return part * ITEMS_A_JOB

    with ThreadPoolExecutor(WRITERS) as pool:
        done = 0
        for number, part in enumerate(pool.map(fill, parts)):
            done += part
            if number % 10 == 0:
                bench.say(f"{done} of {items} items written")


def _measured(
    bench: Bench, running: Deployment, work: nodes.Work, name: str
) -> Iterator[list[str]]:
    bench.say(f"{name}: vacuum")
    _execute(running, "VACUUM ANALYZE")
    _execute(running, "CHECKPOINT")
    rest = nodes.at_rest(running, bench.size(10.0, 0.1))
    yield [f"{name}: {nodes.REST}", "", *(f"{1000 * s:.2f}" for s in rest.values()), ""]
    bench.say(f"{name}: jobs")
    _execute(running, "SELECT pg_stat_statements_reset()")
    yield nodes.measured(f"{name}: a job", running, work, rest)


def _execute(running: Deployment, statement: str) -> list[tuple[Any, ...]]:
    if running.database is None:
        raise ValueError("Only PostgreSQL's tables are filled.")
    return running.database.execute(statement, running.name)


def _statements(running: Deployment) -> dict[str, float]:
    """Give the milliseconds that each statement has taken for a job since they were counted."""
    found = dict(_execute(running, STATEMENTS))
    jobs = next(calls for text, (_, calls) in found.items() if text.startswith("INSERT INTO jobs"))
    return {text: total_ms / jobs for text, (total_ms, _) in found.items()}


def _grown(first: Mapping[str, float], then: Mapping[str, float]) -> Table:
    """Tell which statements take more than before, those first that do by most."""
    ordered = sorted(then, key=lambda text: first.get(text, 0.0) - then[text])[:MOST_GROWN]
    rows = [
        [text, f"{1000 * first.get(text, 0.0):.0f}", f"{1000 * then[text]:.0f}"] for text in ordered
    ]
    rows.append(["all", *(f"{1000 * sum(each.values()):.0f}" for each in (first, then))])
    columns = ("statement", "us a job, empty", "us a job, full")
    said = ("By pg_stat_statements, which counts time and not CPU; those that grew by most.",)
    return Table("full-tables: whose statements grew", columns, rows, said)


def _verdicts(empty: list[str], full: list[str]) -> list[str]:
    before, after = (dict(zip(nodes.COLUMNS, row, strict=True)) for row in (empty, full))
    return [
        verdict(
            f"{what} takes at most {FLAT} times the CPU for a job",
            f"{after_ms:.2f} ms for {before_ms:.2f}, {after_ms / max(before_ms, 0.01):.2f} times",
            met=after_ms <= FLAT * before_ms,
        )
        for what, parts in {"PostgreSQL": ("PostgreSQL",), "nodes together": NODES}.items()
        for before_ms, after_ms in [(_sum(before, parts), _sum(after, parts))]
    ]


def _sum(row: Mapping[str, str], parts: tuple[str, ...]) -> float:
    return sum(float(row[f"{part} ms"]) for part in parts)
