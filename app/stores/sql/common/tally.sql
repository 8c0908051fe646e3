-- What has ended lately: see `records/tally.py`.

-- name: count_ended
INSERT INTO tally (minute_ms, code, node, items, worked_ms, slowest_ms, slowest_pk)
VALUES (:minute_ms, :code, :node, :items, :worked_ms, :slowest_ms, :slowest_pk)
ON CONFLICT (minute_ms, code, node) DO UPDATE SET
    items = tally.items + excluded.items, worked_ms = tally.worked_ms + excluded.worked_ms,
    slowest_pk = CASE WHEN excluded.slowest_ms > tally.slowest_ms
                      THEN excluded.slowest_pk ELSE tally.slowest_pk END,
    slowest_ms = CASE WHEN excluded.slowest_ms > tally.slowest_ms
                      THEN excluded.slowest_ms ELSE tally.slowest_ms END;

-- name: tallied
-- index: PRIMARY KEY
SELECT minute_ms, code, sum(items) AS items, sum(worked_ms) AS worked_ms,
       max(slowest_pk) AS one_pk
FROM tally WHERE minute_ms >= :since_ms AND minute_ms < :until_ms
GROUP BY minute_ms, code ORDER BY minute_ms, code;

-- name: slowest
-- index: PRIMARY KEY
SELECT minute_ms, code, slowest_ms, slowest_pk
FROM tally WHERE minute_ms >= :since_ms AND minute_ms < :until_ms
ORDER BY slowest_ms DESC, slowest_pk LIMIT :limit;

-- name: ended_items
-- Items that were tallied and are there yet.
-- index: INTEGER PRIMARY KEY
SELECT items.pk, items.idx, items.name, items.url,
       items.finished_ms, jobs.id AS job_id, jobs.client, jobs.steps
FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE items.pk IN :pks[] AND jobs.client <> '';

-- name: drop_old_tally
-- index: PRIMARY KEY
DELETE FROM tally WHERE (minute_ms, code, node) IN (
    SELECT minute_ms, code, node FROM tally WHERE minute_ms < :before_ms LIMIT :limit)
RETURNING node;
