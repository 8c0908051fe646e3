-- Jobs: made, locked, written back with their new counts, shown, and removed.

-- name: insert_job
-- A new job, with what its items add up to.
INSERT INTO jobs (id, client, status, seq, steps, join_at, tag, metadata, webhook, lane, turn,
                  queued, succeeded, retention_ms, created_ms, started_ms, pace, stops, node)
VALUES (:id, :client, :status, 1, :steps, :join_at, :tag, :metadata, :webhook, :lane, :turn,
        :queued, :succeeded, :retention_ms, :now_ms, :started_ms, :pace, :stops, :node)
RETURNING *;

-- name: show_job
-- A job that was received a part at a time is whole: from here on it is its client's.
UPDATE jobs SET id = :id, client = :client, status = :status, steps = :steps, join_at = :join_at,
                tag = :tag, metadata = :metadata, webhook = :webhook, lane = :lane,
                turn = :turn, queued = :queued, succeeded = :succeeded, retention_ms = :retention_ms,
                created_ms = :now_ms, started_ms = :started_ms, pace = :pace, stops = :stops,
                node = NULL
WHERE pk = :pk AND status = 'receiving' RETURNING *;

-- name: get_job
-- index: sqlite_autoindex_jobs_1
SELECT * FROM jobs WHERE id = :id;

-- name: put_job
-- What a rule has made of a job that it locked.
-- index: INTEGER PRIMARY KEY
UPDATE jobs SET seq = :seq, status = :status, queued = :queued, running = :running,
                succeeded = :succeeded, failed = :failed, canceled = :canceled,
                released = :released, cut = :cut, turn = :turn, started_ms = :started_ms,
                finished_ms = :finished_ms, expires_ms = :expires_ms, webhook = :webhook
WHERE pk = :pk;

-- name: list_jobs
-- A client's jobs, newest first, before the cursor.
-- index: jobs_by_client
SELECT * FROM jobs
WHERE client = :client AND pk < :before
  AND (CAST(:status AS TEXT) IS NULL OR status = :status)
  AND (CAST(:tag AS TEXT) IS NULL OR tag = :tag)
ORDER BY pk DESC LIMIT :limit;

-- name: seqs
-- What shows whether jobs that somebody waits for have changed.
-- index: sqlite_autoindex_jobs_1
SELECT id, seq, finished_ms IS NOT NULL AS over FROM jobs WHERE id IN :ids[];

-- name: delete_job
DELETE FROM jobs WHERE pk = :job_pk;

-- name: hide_job
-- The job is on its way out: nobody sees it any more.
UPDATE jobs SET id = 'dropping_' || id, client = '', status = 'dropping', expires_ms = NULL,
                finished_ms = :now_ms
WHERE pk = :job_pk;

-- name: given_up
-- Jobs that a node was receiving when it went.
UPDATE jobs SET status = 'dropping', node = NULL
WHERE pk IN (SELECT pk FROM jobs WHERE status = 'receiving' AND node = :node) RETURNING pk;

-- name: give_up_job
-- Nobody goes on receiving it: it can no longer be shown.
UPDATE jobs SET status = 'dropping', node = NULL
WHERE pk = :pk AND status = 'receiving' RETURNING pk;

-- name: due_jobs
-- Jobs whose data, or (once expired) whose record, is due to go.
-- index: jobs_by_expiry
SELECT pk, status FROM jobs WHERE expires_ms <= :now_ms ORDER BY expires_ms LIMIT :limit;

-- name: extend_job
-- A result was read: keep the job's data for a full retention from now.
UPDATE jobs SET expires_ms = :now_ms + retention_ms
WHERE id = :job_id AND expires_ms IS NOT NULL AND status <> 'expired';

-- name: backlog
-- How much is unfinished.
SELECT coalesce(sum(unfinished), 0) AS n FROM clients;

-- name: count_client
INSERT INTO clients (client, unfinished) VALUES (:client, :n)
ON CONFLICT (client) DO UPDATE SET unfinished = clients.unfinished + excluded.unfinished;

-- name: enter_client
INSERT INTO clients (client, unfinished, turn) VALUES (:client, :n, :turn)
ON CONFLICT (client) DO UPDATE SET unfinished = clients.unfinished + excluded.unfinished,
                                   turn = excluded.turn;
