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
