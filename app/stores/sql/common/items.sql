-- Items: the inputs of jobs, and what became of them.

-- name: list_items
-- A job's items in input order, after the cursor.
-- index: sqlite_autoindex_jobs_1, items_by_job
SELECT items.*, jobs.id AS job_id FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE jobs.id = :job_id AND idx > :after
  AND (CAST(:status AS TEXT) IS NULL OR items.status = :status)
ORDER BY idx LIMIT :limit;

-- name: items_since
-- A job's final items in the order in which they became final, after a place in that order.
-- index: sqlite_autoindex_jobs_1, items_by_seq
SELECT items.*, jobs.id AS job_id FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE jobs.id = :job_id AND items.seq >= :seq AND (items.seq, items.idx) > (:seq, :idx)
  AND items.status IN ('succeeded', 'failed', 'canceled')
ORDER BY items.seq, items.idx LIMIT :limit;

-- name: live_items
-- Those of some items that are not over.
-- index: INTEGER PRIMARY KEY
SELECT pk, job_pk, idx, status, started_ms, store, url IS NOT NULL AS fetches,
       twin_key IS NOT NULL AS has_twins FROM items
WHERE pk IN :pks[] AND status IN ('queued', 'running');

-- name: begin_item
-- An attempt has begun.
-- index: INTEGER PRIMARY KEY
UPDATE items SET status = 'running', attempt = :attempt, started_ms = :started_ms,
                 progress_done = NULL, progress_total = NULL WHERE pk = :pk;

-- name: tell_item
-- How far a running attempt is with its current step.
UPDATE items SET progress_done = :done, progress_total = :total
WHERE pk = :pk AND status = 'running';

-- name: end_item
-- The outcome of an item.
-- index: INTEGER PRIMARY KEY
UPDATE items SET status = :status, seq = :seq, attempt = :attempt, facts = :facts,
                 refused = :refused, problem = :problem, started_ms = :started_ms,
                 finished_ms = :now_ms
WHERE pk = :pk;

-- name: keep_fetched
-- What a URL had stays with its item, like an input.
UPDATE items SET blob = :blob, digest = :digest, media_type = :media_type, size_bytes = :size_bytes
WHERE pk = :pk;

-- name: join_sources
-- What there is to join: all results of a job so far, in input order.
SELECT files.*, small.bytes AS value
FROM items JOIN files ON files.item_pk = items.pk LEFT JOIN small ON small.key = files.blob
WHERE items.job_pk = :job_pk ORDER BY items.idx, files.position;

-- name: followers
-- Some of the items that wait for what their twin finds.
-- index: items_by_twin
SELECT pk, job_pk, idx, name, store FROM items
WHERE twin_of = :pk AND status = 'queued' ORDER BY idx LIMIT :limit;

-- name: twin
-- What the followers of an item become.
SELECT * FROM items WHERE pk = :pk AND status IN ('succeeded', 'failed');

-- name: uncut
-- The next of a job's URLs that nobody has queued yet.
-- index: items_by_job
SELECT idx FROM items
WHERE job_pk = :job_pk AND idx >= :cut AND status = 'queued' AND url IS NOT NULL
  AND twin_of IS NULL ORDER BY idx LIMIT :limit;

-- name: unfinished_items
-- Of a job that runs its failed items again: all that are to be queued, but for what joins them.
SELECT idx, url IS NOT NULL AS fetches FROM items
WHERE job_pk = :job_pk AND status = 'queued' AND joins = 0 AND twin_of IS NULL ORDER BY idx;

-- name: cancel_items
-- index: items_by_job
UPDATE items SET status = 'canceled', seq = :seq, finished_ms = :now_ms
WHERE job_pk = :job_pk AND idx BETWEEN :lo AND :hi AND status = :status RETURNING pk;

-- name: requeue_items
-- Failed items (and those that were canceled for their sake) are queued again. A URL that waited for
-- a twin which is over by then fetches for itself.
UPDATE items SET status = 'queued', attempts_before = attempt, facts = NULL, refused = NULL,
                 problem = NULL, progress_done = NULL, progress_total = NULL, started_ms = NULL,
                 finished_ms = NULL,
                 twin_of = CASE WHEN EXISTS (
                     SELECT 1 FROM items AS first WHERE first.pk = items.twin_of
                     AND first.status <> 'succeeded') THEN twin_of END
WHERE job_pk = :job_pk AND joins = 0
  AND (status = 'failed' OR (:stopped = 1 AND status = 'canceled'));

-- name: get_join
SELECT pk, idx, status FROM items WHERE job_pk = :job_pk AND idx = :idx AND joins = 1;

-- name: requeue_join
-- What joins the items does so again, once they are over.
UPDATE items SET status = 'queued', attempts_before = attempt, facts = NULL, refused = NULL,
                 problem = NULL, progress_done = NULL, progress_total = NULL, started_ms = NULL,
                 finished_ms = NULL
WHERE pk = :pk;

-- name: drop_some_items
DELETE FROM items WHERE pk IN (SELECT pk FROM items WHERE job_pk = :job_pk LIMIT :limit)
RETURNING pk;

-- name: forget_some_inputs
UPDATE items SET blob = NULL, file_id = NULL, headers = NULL,
                 store = CASE WHEN store IS NOT NULL THEN '{}' END
WHERE pk IN (SELECT pk FROM items WHERE job_pk = :job_pk
             AND (blob IS NOT NULL OR file_id IS NOT NULL OR headers IS NOT NULL
                  OR store <> '{}') LIMIT :limit)
RETURNING pk;
