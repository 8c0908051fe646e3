-- The statements of the outbox. A name, its purpose, the statement.

-- name: set_webhook
UPDATE jobs SET webhook = :webhook WHERE pk = :job_pk;

-- name: set_store
UPDATE items SET store = :store WHERE pk = :item_pk;

-- name: insert_delivery
INSERT INTO deliveries (id, kind, client, job_id, item_pk, item_idx, event, data, url, secret,
                        origin, lane, status, asked, problem, created_ms, due_ms, ended_ms)
VALUES (:id, :kind, :client, :job_id, :item_pk, :item_idx, :event, :data, :url, :secret,
        :origin, :lane, :status, :asked, :problem, :now_ms, :due_ms, :ended_ms);

-- name: due
-- What may be sent now, the longest due first, but for those whose turn it is not.
SELECT pk, origin, lane FROM deliveries
WHERE status = 'pending' AND due_ms <= :now_ms
  AND origin NOT IN (SELECT value FROM json_each(:busy))
  AND lane NOT IN (SELECT value FROM json_each(:busy))
  AND (:only IS NULL OR origin IN (SELECT value FROM json_each(:only)))
  -- Of a large job that was deleted, they go a bite at a time.
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = 'deleted_' || deliveries.job_id)
ORDER BY due_ms LIMIT :limit;

-- name: next_due
SELECT min(due_ms) AS due_ms FROM deliveries WHERE status = 'pending' AND due_ms > :now_ms;

-- name: take
-- The given deliveries, unless somebody else was quicker.
UPDATE deliveries SET status = 'sending', claims = claims + 1, due_ms = NULL
WHERE pk IN (SELECT value FROM json_each(:pks)) AND status = 'pending' RETURNING *;

-- name: push_sources
-- What a push sends, and where to: an item's results.
SELECT items.store, files.blob, files.size_bytes, files.media_type, files.digest, files.name
FROM items JOIN files ON files.item_pk = items.pk WHERE items.pk = :item_pk LIMIT 2;

-- name: settle
-- What an attempt came to, unless the claim is void.
UPDATE deliveries SET status = :status, tries = tries + :tried, problem = :problem,
                      due_ms = :due_ms, ended_ms = :ended_ms
WHERE id = :id AND claims = :claim AND status = 'sending' RETURNING *;

-- name: insert_attempt
INSERT INTO attempts (delivery_pk, n, at_ms, elapsed_ms, http_status, problem, answer)
SELECT :pk, coalesce(max(n), 0) + 1, :at_ms, :elapsed_ms, :http_status, :problem, :answer
FROM attempts WHERE delivery_pk = :pk
RETURNING n;

-- name: drop_old_attempts
DELETE FROM attempts WHERE delivery_pk = :pk AND n <= :n;

-- name: attempts_of
-- The attempts of some deliveries, given as a JSON array of keys.
SELECT * FROM attempts WHERE delivery_pk IN (SELECT value FROM json_each(:pks))
ORDER BY delivery_pk, n;

-- name: mark_gone
-- Whether a job's endpoint wants to hear nothing more.
UPDATE jobs SET webhook = json_set(webhook, '$.gone', json(:gone))
WHERE id = :job_id AND webhook IS NOT NULL;

-- name: bury_neighbours
-- An endpoint is gone: so is all that waits for it.
UPDATE deliveries SET status = 'dead', problem = :problem, due_ms = NULL, ended_ms = :now_ms
WHERE job_id = :job_id AND kind = 'webhook' AND url = :url AND status = 'pending' AND asked = 0;

-- name: bury_pushes
-- A job's results are gone: what was still to be put elsewhere cannot be.
UPDATE deliveries SET status = 'dead', problem = :problem, due_ms = NULL, ended_ms = :now_ms
WHERE job_id = :job_id AND kind = 'push' AND status IN ('pending', 'sending');

-- name: release
-- Claimed, and not sent: due again, unless the claim is void.
UPDATE deliveries SET status = 'pending', due_ms = :now_ms
WHERE id = :id AND claims = :claim AND status = 'sending';

-- name: recover
-- What a service that died was sending: it may have arrived, or not.
UPDATE deliveries SET status = 'pending', due_ms = :now_ms WHERE status = 'sending' RETURNING pk;

-- name: job_changed
UPDATE jobs SET seq = seq + 1 WHERE id = :job_id RETURNING *;

-- name: get_delivery
SELECT * FROM deliveries WHERE id = :id AND kind = 'webhook';

-- name: list_deliveries
-- A client's events, newest first, before the cursor.
SELECT * FROM deliveries
WHERE client = :client AND kind = 'webhook' AND pk < :before
  AND (:status IS NULL OR status = :status)
ORDER BY pk DESC LIMIT :limit;

-- name: list_job_deliveries
-- The same of one job.
SELECT * FROM deliveries
WHERE job_id = :job_id AND client = :client AND kind = 'webhook' AND pk < :before
  AND (:status IS NULL OR status = :status)
ORDER BY pk DESC LIMIT :limit;

-- name: pushes_of
-- How it stands with putting some items' results elsewhere: of each item, its last push.
SELECT deliveries.*, (SELECT problem FROM attempts WHERE delivery_pk = deliveries.pk
                      ORDER BY n DESC LIMIT 1) AS last_problem
FROM deliveries
WHERE item_pk IN (SELECT value FROM json_each(:item_pks)) AND kind = 'push' ORDER BY pk;

-- name: replay
UPDATE deliveries SET status = 'pending', asked = 1, tries = 0, problem = NULL, ended_ms = NULL,
                      due_ms = :now_ms
WHERE id = :id AND kind = 'webhook' AND status <> 'sending';

-- name: drop_job_deliveries
DELETE FROM deliveries WHERE job_id = :job_id;

-- name: drop_job_pushes
-- The items that they belong to go with the job's record; the events that were sent stay.
DELETE FROM deliveries WHERE job_id = :job_id AND kind = 'push';

-- name: drop_some_deliveries
-- The same of a job with very many, a bite at a time.
DELETE FROM deliveries
WHERE pk IN (SELECT pk FROM deliveries
             WHERE job_id = :job_id AND (:events OR kind = 'push') LIMIT :limit) RETURNING pk;

-- name: drop_item_pushes
-- The item runs again, and what comes of it is put there anew.
DELETE FROM deliveries WHERE item_pk = :item_pk AND kind = 'push';

-- name: drop_old_deliveries
DELETE FROM deliveries
WHERE pk IN (SELECT pk FROM deliveries WHERE ended_ms <= :before_ms LIMIT :limit) RETURNING pk;
