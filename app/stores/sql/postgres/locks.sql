-- What needs a lock where several write at once. A transaction locks its jobs first, in order. Where
-- a rule only reads, these are run without their locks.

-- name: lock_jobs
-- Not against those who write rows that name a job.
SELECT * FROM jobs WHERE pk IN :pks[] ORDER BY pk FOR NO KEY UPDATE;

-- name: ready_chunks
-- The next chunks of a lane that nobody else is about to take, locked.
SELECT * FROM chunks WHERE state = 'ready' AND lane = :lane
ORDER BY priority DESC, pk LIMIT :limit FOR UPDATE SKIP LOCKED;

-- name: ready_named
-- Those of some chunks that are ready, locked.
SELECT * FROM chunks WHERE pk IN :pks[] AND state = 'ready'
ORDER BY priority DESC, pk FOR UPDATE;

-- name: get_node
-- Nobody buries it before the commit: whoever does then finds what it takes here.
SELECT id FROM nodes WHERE id = :id FOR KEY SHARE;

-- name: get_files
-- Nobody deletes them before the commit: their bytes are named by then.
SELECT files.*, jobs.id AS job_id, jobs.expires_ms AS job_expires_ms, NULL AS value
FROM files LEFT JOIN jobs ON jobs.pk = files.job_pk WHERE files.id IN :ids[]
FOR KEY SHARE OF files;

-- name: due
-- What may be sent now, the longest due first, but for those whose turn it is not.
SELECT pk, origin, lane FROM deliveries
WHERE status = 'pending' AND due_ms <= :now_ms
  AND origin NOT IN :busy[] AND lane NOT IN :busy[] AND (:all = 1 OR origin IN :only[])
  -- Of a large job that was deleted, they go a bite at a time.
  AND NOT EXISTS (SELECT 1 FROM bites WHERE bites.id = deliveries.job_id)
ORDER BY due_ms, pk LIMIT :limit;

-- name: take
-- The given deliveries, unless somebody else was quicker; for a node that nobody has buried.
WITH taken AS (
    UPDATE deliveries SET status = 'sending', claims = claims + 1, due_ms = NULL, node = :node
    WHERE pk IN (SELECT pk FROM deliveries WHERE pk IN :pks[] AND status = 'pending'
                 ORDER BY pk FOR UPDATE SKIP LOCKED)
      AND (SELECT id FROM nodes WHERE id = :node FOR KEY SHARE) IS NOT NULL
    RETURNING *
)
SELECT * FROM taken ORDER BY pk;

-- name: sending
-- Those of some deliveries that are being sent, locked.
SELECT * FROM deliveries WHERE pk IN :pks[] AND status = 'sending'
ORDER BY pk FOR NO KEY UPDATE;

-- name: turns
-- How much is unfinished, of all and of one client; up to where turns are given, to all and to it;
-- and whose turn it is in a lane. Until the commit nobody else is told.
SELECT * FROM turns_alone(:client, :lane);

-- name: write_probe
-- Writes nothing, and fails where writing would: on a standby, say.
SELECT pg_current_xact_id();
