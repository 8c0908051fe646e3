-- What needs a lock where several write at once; SQLite has one writer at a time.

-- name: lock_jobs
-- index: INTEGER PRIMARY KEY
SELECT * FROM jobs WHERE pk IN :pks[] ORDER BY pk;

-- name: ready_chunks
-- The next chunks of a lane.
-- index: chunks_ready
SELECT pk, n FROM chunks WHERE state = 'ready' AND lane = :lane
ORDER BY priority DESC, pk LIMIT :limit;

-- name: take_first
-- The first chunk of a job that nobody has taken.
-- index: INTEGER PRIMARY KEY, chunks_by_job
UPDATE chunks SET state = 'taken', delivery = delivery + 1, node = :node
WHERE pk = (SELECT pk FROM chunks WHERE job_pk = :job_pk AND state = 'ready' AND lane = :lane
            ORDER BY pk LIMIT 1)
  AND EXISTS (SELECT 1 FROM nodes WHERE id = :node) RETURNING *;

-- name: write_probe
-- Writes the page that the number is on, changed or not, and so fails where any write would.
PRAGMA application_id = 1330007108;
