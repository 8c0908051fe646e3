-- Every statement that the SQLite store runs. A name, its purpose, the statement.

-- name: insert_job
-- A new job, with what its items add up to.
INSERT INTO jobs (id, client, status, seq, steps, join_at, tag, metadata, queued, succeeded,
                  retention_ms, created_ms, started_ms, pace, stops)
VALUES (:id, :client, :status, 1, :steps, :join_at, :tag, :metadata, :queued, :succeeded,
        :retention_ms, :now_ms, :started_ms, :pace, :stops)
RETURNING pk;

-- name: insert_item
-- One input of a new job; or, with `joins`, what all the others are joined into.
INSERT INTO items (job_pk, idx, status, seq, lane, priority, name, file_id, blob, media_type,
                   size_bytes, digest, url, headers, joins, started_ms, finished_ms, sha256, max_bytes,
                   twin_key, twin_of, broken)
VALUES (:job_pk, :idx, :status, 1, :lane, :priority, :name, :file_id, :blob, :media_type,
        :size_bytes, :digest, :url, :headers, :joins, :ended_ms, :ended_ms, :sha256, :max_bytes,
        :twin_key, :twin_of, :broken)
RETURNING pk;

-- name: insert_file
-- A stored file, a job's input, or (with item_pk and position) one result of an item.
INSERT INTO files (id, client, blob, name, media_type, size_bytes, digest, job_pk, item_pk,
                   position, created_ms, expires_ms)
VALUES (:id, :client, :blob, :name, :media_type, :size_bytes, :digest, :job_pk, :item_pk,
        :position, :now_ms, :expires_ms);

-- name: get_job
-- A job, and how many of those that count as running wait for a worker.
SELECT *, CASE WHEN running THEN (
              SELECT count(*) FROM items
              WHERE +items.job_pk = jobs.pk AND items.status = 'running'
                AND items.started_ms IS NULL
          ) ELSE 0 END AS waiting
FROM jobs WHERE id = :id;

-- name: get_job_by_pk
SELECT * FROM jobs WHERE pk = :job_pk;

-- name: list_jobs
-- A client's jobs, newest first, before the cursor.
SELECT *, CASE WHEN running THEN (
              SELECT count(*) FROM items
              WHERE +items.job_pk = jobs.pk AND items.status = 'running'
                AND items.started_ms IS NULL
          ) ELSE 0 END AS waiting
FROM jobs
WHERE client = :client AND pk < :before
  AND (:status IS NULL OR status = :status) AND (:tag IS NULL OR tag = :tag)
ORDER BY pk DESC LIMIT :limit;

-- name: list_items
-- A job's items in input order, after the cursor.
SELECT items.*, jobs.id AS job_id FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE jobs.id = :job_id AND idx > :after
  AND (:status IS NULL OR :status = CASE WHEN items.status = 'running' AND items.started_ms IS NULL
                                         THEN 'queued' ELSE items.status END)
ORDER BY idx LIMIT :limit;

-- name: items_since
-- A job's final items in the order in which they became final, after a place in that order.
SELECT items.*, jobs.id AS job_id FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE jobs.id = :job_id AND items.seq >= :seq AND (items.seq, items.idx) > (:seq, :idx)
  AND items.status IN ('succeeded', 'failed', 'canceled')
ORDER BY items.seq, items.idx LIMIT :limit;

-- name: results_of
-- The results of some items, given as a JSON array of keys.
SELECT files.*, jobs.id AS job_id, jobs.expires_ms AS job_expires_ms
FROM files JOIN jobs ON jobs.pk = files.job_pk
WHERE files.item_pk IN (SELECT value FROM json_each(:item_pks))
ORDER BY files.item_pk, files.position;

-- name: claim
-- The next items of a lane, one attempt more. A URL is being fetched from now; all others wait for
-- a worker, and nobody is told that they run before they have `started_ms`.
UPDATE items SET status = 'running', attempt = attempt + 1,
                 started_ms = CASE WHEN url IS NOT NULL THEN :now_ms END,
                 progress_done = NULL, progress_total = NULL
WHERE pk IN (SELECT pk FROM items WHERE status = 'queued' AND lane = :lane
             ORDER BY priority DESC, pk LIMIT :limit)
RETURNING pk, job_pk, idx, attempt, name, blob, media_type, size_bytes, digest, url, headers, priority,
          joins, sha256, max_bytes, twin_of, broken;

-- name: join_sources
-- What there is to join: all results of a job so far, in input order.
SELECT files.blob, files.name, files.media_type, files.size_bytes, files.digest
FROM items JOIN files ON files.item_pk = items.pk
WHERE items.job_pk = :job_pk ORDER BY items.idx, files.position;

-- name: release_join
-- All other items are over: the one that joins them may be claimed.
UPDATE items SET lane = :lane
WHERE job_pk = :job_pk AND joins = 1 AND lane = 'held' AND status = 'queued' RETURNING pk;

-- name: tell_progress
-- How far a running attempt is with its current step.
UPDATE items SET progress_done = :done, progress_total = :total
WHERE pk = :pk AND attempt = :attempt AND status = 'running' RETURNING job_pk;

-- name: job_told
-- Items of the job have told of their progress.
UPDATE jobs SET seq = seq + 1 WHERE pk = :job_pk RETURNING id;

-- name: job_claimed
-- `n` items of the job are out of the queue.
UPDATE jobs SET queued = queued - :n, running = running + :n
WHERE pk = :job_pk RETURNING id, steps, join_at, created_ms;

-- name: item_began
-- A worker has begun an attempt.
UPDATE items SET started_ms = :started_ms
WHERE pk = :pk AND attempt = :attempt AND status = 'running' AND started_ms IS NULL
RETURNING job_pk;

-- name: job_began
-- Items of the job have begun.
UPDATE jobs SET seq = seq + 1, status = 'running', started_ms = coalesce(started_ms, :started_ms)
WHERE pk = :job_pk RETURNING id;

-- name: finish_item
-- The outcome of the attempt that still holds the item; changes nothing for a late ghost.
-- Its seq is the one that `count_finished` is about to give the job.
UPDATE items SET status = :status, facts = :facts, refused = :refused, problem = :problem,
                 started_ms = coalesce(started_ms, :started_ms), finished_ms = :now_ms,
                 seq = (SELECT seq + 1 FROM jobs WHERE jobs.pk = items.job_pk)
WHERE pk = :pk AND attempt = :attempt AND status = 'running'
RETURNING job_pk, started_ms, store, url IS NOT NULL AS fetches,
          twin_key IS NOT NULL AND twin_of IS NULL AS has_twins;

-- name: count_finished
-- One item of the job has ended; the counts decide what the job is now.
UPDATE jobs SET seq = seq + 1, running = running - 1, succeeded = succeeded + :succeeded,
                failed = failed + 1 - :succeeded, started_ms = coalesce(started_ms, :started_ms)
WHERE pk = :job_pk RETURNING *;

-- name: set_job_status
UPDATE jobs SET status = :status, finished_ms = :finished_ms, expires_ms = :expires_ms
WHERE pk = :job_pk;

-- name: release_item
-- Give an item back to the queue, unless it has a newer claim or an outcome.
UPDATE items SET status = 'queued', started_ms = NULL
WHERE pk = :pk AND attempt = :attempt AND status = 'running' RETURNING job_pk;

-- name: job_released
UPDATE jobs SET seq = seq + 1, queued = queued + :n, running = running - :n
WHERE pk = :job_pk RETURNING *;

-- name: running_items
-- What a service that died was at work on.
SELECT pk, job_pk, idx, attempt, attempts_before FROM items WHERE status = 'running' ORDER BY pk;

-- name: unfinished_by_client
SELECT client, sum(queued + running) AS n FROM jobs WHERE finished_ms IS NULL GROUP BY client;

-- name: running_item_keys
-- The plus keeps the planner on the index of what runs, which is short.
SELECT pk FROM items WHERE +job_pk = :job_pk AND status = 'running';

-- name: cancel_items
UPDATE items SET status = 'canceled', seq = :seq, finished_ms = :now_ms
WHERE job_pk = :job_pk AND status IN ('queued', 'running');

-- name: count_canceled
UPDATE jobs SET seq = seq + 1, canceled = canceled + queued + running, queued = 0, running = 0
WHERE pk = :job_pk RETURNING *;

-- name: delete_job
DELETE FROM jobs WHERE id = :id RETURNING pk;

-- name: get_file
SELECT files.*, jobs.id AS job_id, jobs.expires_ms AS job_expires_ms
FROM files LEFT JOIN jobs ON jobs.pk = files.job_pk WHERE files.id = :id;

-- name: delete_file
DELETE FROM files WHERE id = :id;

-- name: extend_job
-- A result was read: keep the job's data for a full retention from now.
UPDATE jobs SET expires_ms = :now_ms + retention_ms
WHERE id = :job_id AND expires_ms IS NOT NULL AND status <> 'expired';

-- name: extend_file
UPDATE files SET expires_ms = :expires_ms WHERE id = :id AND expires_ms IS NOT NULL;

-- name: due_jobs
-- Jobs whose data, or (once expired) whose record, is due to go.
SELECT * FROM jobs WHERE expires_ms <= :now_ms LIMIT :limit;

-- name: expire_job
UPDATE jobs SET status = 'expired', seq = seq + 1, expires_ms = :now_ms + retention_ms
WHERE pk = :job_pk RETURNING *;

-- name: drop_job
DELETE FROM jobs WHERE pk = :job_pk;

-- name: drop_due_files
DELETE FROM files
WHERE pk IN (SELECT pk FROM files WHERE expires_ms <= :now_ms LIMIT :limit) RETURNING pk;

-- name: drop_old_keys
DELETE FROM idempotency_keys
WHERE (client, key) IN (SELECT client, key FROM idempotency_keys
                        WHERE created_ms <= :before_ms LIMIT :limit) RETURNING key;

-- name: get_key
SELECT fingerprint, job_id FROM idempotency_keys WHERE client = :client AND key = :key;

-- name: insert_key
INSERT INTO idempotency_keys (client, key, fingerprint, job_id, created_ms)
VALUES (:client, :key, :fingerprint, :job_id, :now_ms);

-- name: drop_key
DELETE FROM idempotency_keys WHERE client = :client AND key = :key;

-- name: referenced_blobs
-- All bytes that a record points at: `is_referenced`, of all keys at once.
SELECT blob FROM files UNION SELECT blob FROM items WHERE blob IS NOT NULL;

-- name: abandon
-- Bytes that were stored, and maybe no record names.
INSERT OR IGNORE INTO loose_blobs VALUES (:blob);

-- name: take_loose_blobs
DELETE FROM loose_blobs WHERE blob IN (SELECT blob FROM loose_blobs LIMIT :limit) RETURNING blob;

-- name: is_referenced
SELECT EXISTS (SELECT 1 FROM files WHERE blob = :blob)
    OR EXISTS (SELECT 1 FROM items WHERE blob = :blob) AS referenced;

-- name: write_probe
-- Writes the page that the number is on, changed or not, and so fails where any write would.
PRAGMA application_id = 1330007108;
