-- The statements of batches of URLs: pacing, twins, versions, and running failed items again.

-- name: find_twin
-- The first item of a job that asks for the same.
SELECT pk FROM items WHERE job_pk = :job_pk AND twin_key = :twin_key AND twin_of IS NULL;

-- name: release_paced
-- The next of a job's URLs may be claimed.
UPDATE items SET lane = :lane
WHERE pk IN (SELECT pk FROM items
             WHERE job_pk = :job_pk AND lane = 'paced'
               AND status = 'queued' AND lane IN ('paced', 'twin')
             ORDER BY pk LIMIT :limit)
RETURNING pk;

-- name: count_released
UPDATE jobs SET released = :released WHERE pk = :job_pk;

-- name: free_twins
-- The item that others wait for has what they want.
UPDATE items SET lane = :lane
WHERE twin_of = :pk AND lane = 'twin' AND status = 'queued' RETURNING pk;

-- name: keep_fetched
-- What an item has fetched stays, like an input, for those that wait for it.
UPDATE items SET blob = :blob, media_type = :media_type, size_bytes = :size_bytes, digest = :digest
WHERE pk = :pk AND EXISTS (SELECT 1 FROM items AS twin WHERE twin.twin_of = :pk);

-- name: fail_twins
-- The item that others wait for has failed, and so have they.
UPDATE items SET status = 'failed', facts = :facts, problem = :problem, seq = :seq,
                 started_ms = :now_ms, finished_ms = :now_ms
WHERE twin_of = :pk AND lane = 'twin' AND status = 'queued' RETURNING idx;

-- name: count_failed
-- Items of the job have failed that never ran.
UPDATE jobs SET queued = queued - :n, failed = failed + :n WHERE pk = :job_pk RETURNING *;

-- name: twin_facts
-- What the item that another waited for has found out, and fetched.
SELECT facts, name, blob, media_type, size_bytes, digest FROM items
WHERE pk = :pk AND status = 'succeeded';

-- name: get_join
SELECT pk, status FROM items WHERE job_pk = :job_pk AND joins = 1;

-- name: requeue_failed
-- Failed items (and those that were canceled for their sake) go back to the queue; a URL that waited
-- for a twin which runs again waits for it again.
UPDATE items SET status = 'queued', attempts_before = attempt, facts = NULL, refused = NULL,
                 problem = NULL, progress_done = NULL, progress_total = NULL, started_ms = NULL,
                 finished_ms = NULL,
                 lane = CASE
                     WHEN url IS NULL THEN lane
                     WHEN EXISTS (SELECT 1 FROM items AS first WHERE first.pk = items.twin_of
                                  AND (first.status IN ('failed', 'queued')
                                       OR (:canceled AND first.status = 'canceled'))) THEN 'twin'
                     ELSE :lane END
WHERE job_pk = :job_pk AND joins = 0
  AND (status = 'failed' OR (:canceled AND status = 'canceled'));

-- name: requeue_join
-- What joins the items does so again, once they are over.
UPDATE items SET status = 'queued', lane = 'held', attempts_before = attempt, facts = NULL,
                 refused = NULL, problem = NULL, progress_done = NULL, progress_total = NULL,
                 started_ms = NULL, finished_ms = NULL
WHERE pk = :pk;

-- name: drop_results
DELETE FROM files WHERE item_pk = :pk;

-- name: count_requeued
-- So many ended items of the job are in the queue again.
UPDATE jobs SET seq = seq + 1, failed = failed - :failed, canceled = canceled - :canceled,
                succeeded = succeeded - :succeeded,
                queued = queued + :failed + :canceled + :succeeded, released = 0
WHERE pk = :job_pk RETURNING *;

-- name: put_version
INSERT INTO versions (client, key, blob, media_type, size_bytes, digest, facts, seen_ms)
SELECT client, :key, :blob, :media_type, :size_bytes, :digest, :facts, :now_ms
FROM jobs WHERE id = :job_id
ON CONFLICT (client, key) DO UPDATE SET
    blob = excluded.blob, media_type = excluded.media_type, size_bytes = excluded.size_bytes,
    digest = excluded.digest, facts = excluded.facts, seen_ms = excluded.seen_ms;

-- name: get_version
SELECT versions.* FROM versions JOIN jobs ON jobs.client = versions.client
WHERE jobs.id = :job_id AND versions.key = :key;

-- name: drop_old_versions
DELETE FROM versions
WHERE (client, key) IN (SELECT client, key FROM versions
                        WHERE seen_ms <= :before_ms LIMIT :limit) RETURNING key;
