-- The statements of jobs with very many items: received, canceled and removed a bite at a time.

-- name: hide_new_job
-- A job that nobody sees until it is whole: nobody knows its id, and no client has that name.
INSERT INTO jobs (id, client, status, seq, steps, metadata, queued, retention_ms, created_ms)
VALUES (:id, :hidden, 'receiving', 1, '[]', '{}', 0, 0, :now_ms)
RETURNING pk;

-- name: receive_item
-- One URL of a job that is being received; a twin if there is one that asks for the same.
INSERT INTO items (job_pk, idx, status, seq, lane, priority, name, url, headers, joins, sha256,
                   max_bytes, twin_key, twin_of, store, broken)
SELECT :job_pk, :idx, 'queued', 1, CASE WHEN first.pk IS NULL THEN 'paced' ELSE 'twin' END,
       :priority, :name, :url, :headers, 0, :sha256, :max_bytes, :twin_key, first.pk,
       :store, :broken
FROM (SELECT 1) LEFT JOIN items AS first
     ON first.job_pk = :job_pk AND first.twin_key = :twin_key AND first.twin_of IS NULL;

-- name: show_new_job
-- The job is whole: from here on it is its client's.
UPDATE jobs SET id = :id, client = :client, status = :status, steps = :steps, join_at = :join_at,
                tag = :tag, metadata = :metadata, queued = :queued, retention_ms = :retention_ms,
                created_ms = :now_ms, pace = :pace, stops = :stops
WHERE pk = :pk AND status = 'receiving' RETURNING pk;

-- name: give_up_job
-- Nobody goes on receiving it: it can no longer be shown.
UPDATE jobs SET status = 'dropping' WHERE pk = :pk;

-- name: hide_job
-- The job is on its way out: nobody sees it any more.
UPDATE jobs SET id = :prefix || id, client = :hidden, status = 'dropping', expires_ms = NULL,
                finished_ms = :now_ms, canceling = 0
WHERE pk = :pk;

-- name: hidden_jobs
SELECT pk, id, status FROM jobs WHERE status IN ('receiving', 'dropping') ORDER BY pk;

-- name: drop_some_files
DELETE FROM files WHERE pk IN (SELECT pk FROM files WHERE job_pk = :job_pk LIMIT :limit)
RETURNING pk;

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

-- name: set_canceling
UPDATE jobs SET canceling = :canceling WHERE pk = :job_pk;

-- name: cancel_released
-- All of a job that may be claimed, runs, or waits for the others; not what waits its turn.
UPDATE items SET status = 'canceled', seq = :seq, finished_ms = :now_ms
WHERE job_pk = :job_pk AND status IN ('queued', 'running') AND lane NOT IN ('paced', 'twin')
RETURNING pk;

-- name: cancel_some
UPDATE items SET status = 'canceled', seq = :seq, finished_ms = :now_ms
WHERE pk IN (SELECT pk FROM items
             WHERE job_pk = :job_pk AND status = 'queued' AND lane IN ('paced', 'twin')
             LIMIT :limit)
RETURNING pk;

-- name: count_some_canceled
UPDATE jobs SET seq = seq + 1, canceled = canceled + :queued + :running,
                queued = queued - :queued, running = running - :running
WHERE pk = :job_pk RETURNING *;

-- name: canceling_jobs
SELECT * FROM jobs WHERE canceling = 1;
