-- Chunks: the queue. A chunk is a range of a job's indexes, and gone once its items are over.

-- name: insert_chunk
INSERT INTO chunks (job_pk, lo, hi, fetches, n, lane, priority, state)
VALUES (:job_pk, :lo, :hi, :fetches, :n, :lane, :priority, :state)
RETURNING pk, lane, priority, delivery, state;

-- name: insert_taken_chunk
-- One that a node has before anybody else can see it.
INSERT INTO chunks (job_pk, lo, hi, fetches, n, lane, priority, state, node, delivery)
VALUES (:job_pk, :lo, :hi, :fetches, :n, :lane, :priority, 'taken', :node, 1)
RETURNING *;

-- name: release_join
-- All other items are over: what joins them may be taken.
-- index: chunks_by_job
UPDATE chunks SET state = 'ready' WHERE job_pk = :job_pk AND state = 'held'
RETURNING pk, lane, priority, delivery;

-- name: take_chunk
-- One that the transaction has locked. By its key alone: a set of them would cost SQLite a journal of
-- its own.
-- index: INTEGER PRIMARY KEY
UPDATE chunks SET state = 'taken', delivery = delivery + 1, node = :node WHERE pk = :pk;

-- name: chunk_jobs
-- What the jobs of some chunks say to do.
-- index: INTEGER PRIMARY KEY
SELECT pk, id, client, steps, join_at, created_ms FROM jobs WHERE pk IN :pks[];

-- name: chunk_items
-- The unfinished items of chunks, with the bytes of the small ones.
-- index: INTEGER PRIMARY KEY, items_by_job, sqlite_autoindex_small_1
SELECT items.*, chunks.pk AS chunk_pk, small.bytes AS value
FROM chunks JOIN items ON items.job_pk = chunks.job_pk
                      AND items.idx BETWEEN chunks.lo AND chunks.hi
LEFT JOIN small ON small.key = items.blob
WHERE chunks.pk IN :pks[] AND items.status IN ('queued', 'running')
  AND (items.url IS NOT NULL) = (chunks.fetches = 1) AND items.twin_of IS NULL
ORDER BY items.job_pk, items.idx;

-- name: held_chunks
-- Those of some chunks that are still a node's.
-- index: INTEGER PRIMARY KEY
SELECT pk, delivery FROM chunks
WHERE pk IN :pks[] AND state = 'taken' AND coalesce(node, '') = :node;

-- name: chunks_of
-- What a node has taken.
-- index: chunks_taken
SELECT * FROM chunks WHERE state = 'taken' AND node = :node;

-- name: give_back_chunk
-- Unless somebody else has, since it was looked at.
UPDATE chunks SET state = 'ready', node = NULL, deaths = deaths + :deaths
WHERE pk = :pk AND delivery = :delivery AND state = 'taken'
RETURNING pk, lane, priority, delivery;

-- name: requeue_running
-- Items of a chunk that were begun and are not over.
-- index: items_by_job
UPDATE items SET status = 'queued', started_ms = NULL, progress_done = NULL, progress_total = NULL
WHERE job_pk = :job_pk AND idx BETWEEN :lo AND :hi AND status = 'running'
  AND (url IS NOT NULL) = (:fetches = 1) RETURNING pk, job_pk, idx, attempt, attempts_before;

-- name: charge_waiting
-- Items of a chunk that were not known to have begun when its node died: they may have.
-- index: items_by_job
UPDATE items SET attempt = attempt + 1
WHERE job_pk = :job_pk AND idx BETWEEN :lo AND :hi AND status = 'queued' AND twin_of IS NULL
  AND (url IS NOT NULL) = (:fetches = 1) RETURNING pk, job_pk, idx, attempt, attempts_before;

-- name: suspects
-- The unfinished items of a chunk, those first that have begun least often.
-- index: INTEGER PRIMARY KEY, items_by_job
SELECT items.*, chunks.pk AS chunk_pk, small.bytes AS value
FROM chunks JOIN items ON items.job_pk = chunks.job_pk
                      AND items.idx BETWEEN chunks.lo AND chunks.hi
LEFT JOIN small ON small.key = items.blob
WHERE chunks.pk = :pk AND items.status = 'queued'
  AND (items.url IS NOT NULL) = (chunks.fetches = 1) AND items.twin_of IS NULL
ORDER BY items.attempt, items.idx LIMIT 1;

-- name: drop_chunks
-- index: INTEGER PRIMARY KEY
DELETE FROM chunks WHERE pk IN :pks[];

-- name: drop_job_chunks
-- index: chunks_by_job
DELETE FROM chunks WHERE job_pk = :job_pk RETURNING lo, hi;
