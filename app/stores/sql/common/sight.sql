-- What is told of the deployment: see `records/sight.py`.

-- name: queue_depth
SELECT count(*) AS chunks, coalesce(sum(n), 0) AS items
FROM (SELECT n FROM chunks WHERE state = 'ready' AND lane = :lane
      ORDER BY priority DESC, pk LIMIT :limit) AS next;

-- name: oldest_ready
-- When the job came of which a chunk waits, among the first chunks of all. As a value: as a join,
-- PostgreSQL reads all jobs for it.
SELECT min((SELECT created_ms FROM jobs WHERE jobs.pk = waiting.job_pk AND pace IS NULL))
       AS created_ms
FROM (SELECT job_pk
      FROM (SELECT pk, job_pk, state, lane FROM chunks ORDER BY pk LIMIT :limit) AS first
      WHERE state = 'ready' AND lane = :lane ORDER BY pk LIMIT :jobs) AS waiting;

-- name: waiting_by_client
-- Whose the next chunks of a lane are.
SELECT jobs.client, count(*) AS chunks, sum(next.n) AS items
FROM (SELECT job_pk, n FROM chunks WHERE state = 'ready' AND lane = :lane
      ORDER BY priority DESC, pk LIMIT :limit) AS next
JOIN jobs ON jobs.pk = next.job_pk
GROUP BY jobs.client ORDER BY items DESC, jobs.client LIMIT :clients;

-- name: clients_waiting
SELECT client, unfinished FROM clients WHERE unfinished > 0
ORDER BY unfinished DESC, client LIMIT :limit;

-- name: under_way
-- What nodes have in hand, and when the first of it began, among the first items of each chunk.
SELECT taken.node, taken.lane, taken.n, taken.lo, taken.hi, taken.fetches,
       jobs.id AS job_id, jobs.client, jobs.steps,
       (SELECT min(first.started_ms) FROM
            (SELECT status, started_ms FROM items
             WHERE job_pk = taken.job_pk AND idx BETWEEN taken.lo AND taken.hi
             ORDER BY idx LIMIT :items) AS first
        WHERE first.status = 'running') AS started_ms
FROM (SELECT * FROM chunks WHERE state = 'taken' ORDER BY node, pk LIMIT :limit) AS taken
JOIN jobs ON jobs.pk = taken.job_pk
ORDER BY taken.node, taken.pk;

-- name: deliveries_waiting
SELECT count(*) AS n, min(due_ms) AS due_ms
FROM (SELECT due_ms FROM deliveries WHERE status = 'pending' ORDER BY due_ms, pk LIMIT :limit)
     AS next;

-- name: deliveries_sent_now
SELECT count(*) AS n
FROM (SELECT node FROM deliveries WHERE status = 'sending' LIMIT :limit) AS now;

-- name: deliveries_given_up
SELECT count(*) AS n FROM (SELECT pk FROM deliveries WHERE status = 'dead' AND kind = 'webhook'
                           ORDER BY ended_ms DESC, pk DESC LIMIT :limit) AS dead;

-- name: latest_dead
SELECT * FROM deliveries WHERE status = 'dead' AND kind = 'webhook'
ORDER BY ended_ms DESC, pk DESC LIMIT :limit;
