-- The outbox: what is to leave the house, and what became of it.

-- name: insert_delivery
INSERT INTO deliveries (id, kind, client, job_id, item_pk, item_idx, event, data, url, secret,
                        origin, lane, status, asked, problem, created_ms, due_ms, ended_ms)
VALUES (:id, :kind, :client, :job_id, :item_pk, :item_idx, :event, :data, :url, :secret,
        :origin, :lane, :status, :asked, :problem, :now_ms, :due_ms, :ended_ms);

-- name: next_due
-- index: deliveries_due
SELECT min(due_ms) AS due_ms FROM deliveries WHERE status = 'pending' AND due_ms > :now_ms;

-- name: push_sources
-- What pushes send, and where to: their items' results.
-- index: INTEGER PRIMARY KEY, files_by_item, sqlite_autoindex_small_1
SELECT items.pk AS item_pk, items.store, files.*, small.bytes AS value
FROM items JOIN files ON files.item_pk = items.pk LEFT JOIN small ON small.key = files.blob
WHERE items.pk IN :item_pks[] ORDER BY items.pk, files.position;

-- name: settle
-- What an attempt came to.
-- index: INTEGER PRIMARY KEY
UPDATE deliveries SET status = :status, tries = tries + :tried, problem = :problem,
                      due_ms = :due_ms, ended_ms = :ended_ms, data = coalesce(:data, data)
WHERE pk = :pk;

-- name: resend
-- What a node was sending when it died: it may have arrived, or not.
-- index: deliveries_sending
UPDATE deliveries SET status = 'pending', due_ms = :now_ms, node = NULL
WHERE status = 'sending' AND node = :node RETURNING pk;

-- name: delivery_states
-- index: sqlite_autoindex_deliveries_1
SELECT id, status FROM deliveries WHERE id IN :ids[];

-- name: bury_neighbours
-- An endpoint is gone: so is all that waits for it.
UPDATE deliveries SET status = 'dead', problem = :problem, due_ms = NULL, ended_ms = :now_ms
WHERE job_id = :job_id AND kind = 'webhook' AND url = :url AND status = 'pending' AND asked = 0;

-- name: insert_attempt
-- index: PRIMARY KEY
INSERT INTO attempts (delivery_pk, n, at_ms, elapsed_ms, http_status, problem, answer)
SELECT :pk, coalesce(max(n), 0) + 1, :at_ms, :elapsed_ms, :http_status, :problem, :answer
FROM attempts WHERE delivery_pk = :pk
RETURNING n;

-- name: drop_old_attempts
DELETE FROM attempts WHERE delivery_pk = :pk AND n <= :n;

-- name: attempts_of
-- The attempts of some deliveries, given as a JSON array of keys.
SELECT * FROM attempts WHERE delivery_pk IN :pks[]
ORDER BY delivery_pk, n;

-- name: bury_pushes
-- A job's results are gone: what was still to be put elsewhere cannot be.
UPDATE deliveries SET status = 'dead', problem = :problem, due_ms = NULL, ended_ms = :now_ms
WHERE job_id = :job_id AND kind = 'push' AND status IN ('pending', 'sending');

-- name: get_delivery
SELECT * FROM deliveries WHERE id = :id AND kind = 'webhook';

-- name: list_deliveries
-- A client's events, newest first, before the cursor.
SELECT * FROM deliveries
WHERE client = :client AND kind = 'webhook' AND pk < :before
  AND (CAST(:status AS TEXT) IS NULL OR status = :status)
ORDER BY pk DESC LIMIT :limit;

-- name: list_job_deliveries
-- The same of one job.
SELECT * FROM deliveries
WHERE job_id = :job_id AND client = :client AND kind = 'webhook' AND pk < :before
  AND (CAST(:status AS TEXT) IS NULL OR status = :status)
ORDER BY pk DESC LIMIT :limit;

-- name: pushes_of
-- How it stands with putting some items' results elsewhere: of each item, in their order.
-- index: deliveries_by_item
SELECT deliveries.*, (SELECT problem FROM attempts WHERE delivery_pk = deliveries.pk
                      ORDER BY n DESC LIMIT 1) AS last_problem
FROM deliveries
WHERE item_pk IN :item_pks[] AND kind = 'push' ORDER BY pk;

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
             WHERE job_id = :job_id AND (:events = 1 OR kind = 'push') LIMIT :limit) RETURNING pk;

-- name: drop_item_pushes
-- The item runs again, and what comes of it is put there anew.
DELETE FROM deliveries WHERE item_pk = :item_pk AND kind = 'push';

-- name: drop_old_deliveries
DELETE FROM deliveries
WHERE pk IN (SELECT pk FROM deliveries WHERE ended_ms <= :before_ms LIMIT :limit) RETURNING pk;
