-- What needs a lock where several write at once; SQLite has one writer at a time.

-- name: lock_jobs
-- index: INTEGER PRIMARY KEY
SELECT * FROM jobs WHERE pk IN :pks[] ORDER BY pk;

-- name: ready_chunks
-- The next chunks of a lane, locked.
-- index: chunks_ready
SELECT * FROM chunks WHERE state = 'ready' AND lane = :lane
ORDER BY priority DESC, pk LIMIT :limit;

-- name: ready_of_job
-- The next chunks of a job, locked.
-- index: chunks_by_job
SELECT * FROM chunks WHERE job_pk = :job_pk AND state = 'ready' AND lane = :lane
ORDER BY pk LIMIT :limit;

-- name: write_probe
-- Writes the page that the number is on, changed or not, and so fails where any write would.
PRAGMA application_id = 1330007108;
