-- What needs a lock where several write at once; SQLite has one writer at a time.

-- name: lock_jobs
-- index: INTEGER PRIMARY KEY
SELECT * FROM jobs WHERE pk IN :pks[] ORDER BY pk;

-- name: ready_chunks
-- The next chunks of a lane, locked.
-- index: chunks_ready
SELECT * FROM chunks WHERE state = 'ready' AND lane = :lane
ORDER BY priority DESC, pk LIMIT :limit;

-- name: ready_named
-- Those of some chunks that are ready, locked.
-- index: INTEGER PRIMARY KEY
SELECT * FROM chunks WHERE pk IN :pks[] AND state = 'ready'
ORDER BY priority DESC, pk;

-- name: get_node
-- index: sqlite_autoindex_nodes_1
SELECT id FROM nodes WHERE id = :id;

-- name: get_files
SELECT files.*, jobs.id AS job_id, jobs.expires_ms AS job_expires_ms, NULL AS value
FROM files LEFT JOIN jobs ON jobs.pk = files.job_pk WHERE files.id IN :ids[];

-- name: due
-- What may be sent now, the longest due first, but for those whose turn it is not.
-- index: deliveries_due
SELECT pk, origin, lane FROM deliveries
WHERE status = 'pending' AND due_ms <= :now_ms
  AND origin NOT IN :busy[] AND lane NOT IN :busy[] AND (:all = 1 OR origin IN :only[])
  -- Of a large job that was deleted, they go a bite at a time.
  AND NOT EXISTS (SELECT 1 FROM bites WHERE bites.id = deliveries.job_id)
ORDER BY due_ms LIMIT :limit;

-- name: take
-- The given deliveries, unless somebody else was quicker.
-- index: INTEGER PRIMARY KEY
UPDATE deliveries SET status = 'sending', claims = claims + 1, due_ms = NULL, node = :node
WHERE pk IN :pks[] AND status = 'pending' AND EXISTS (SELECT 1 FROM nodes WHERE id = :node)
RETURNING *;

-- name: sending
-- Those of some deliveries that are being sent.
-- index: INTEGER PRIMARY KEY
SELECT * FROM deliveries WHERE pk IN :pks[] AND status = 'sending';

-- name: turns
-- How much is unfinished, of all and of one client; up to where turns are given, to all and to it;
-- and whose turn it is in a lane.
-- index: chunks_ready
SELECT coalesce(sum(unfinished), 0) AS n,
       coalesce(sum(CASE WHEN client = :client THEN unfinished END), 0) AS own_n,
       max(turn) AS latest, max(CASE WHEN client = :client THEN turn END) AS own,
       (SELECT priority FROM chunks WHERE state = 'ready' AND lane = :lane
        ORDER BY priority DESC LIMIT 1) AS first
FROM clients;

-- name: write_probe
-- Writes the page that the number is on, changed or not, and so fails where any write would.
PRAGMA application_id = 1330007108;
