-- What is written in sets: the values are arrays.

-- name: insert_item
-- Inputs of a new job; or, with `joins`, what all the others are joined into. A twin is one before
-- which another one asks for the same, here or in the table.
INSERT INTO items (pk, job_pk, idx, status, seq, name, file_id, blob, digest, media_type,
                   size_bytes, url, headers, sha256, max_bytes, twin_key, twin_of, broken, joins,
                   store, started_ms, finished_ms)
SELECT pk, job_pk, idx, status, 1, name, file_id, blob, digest, media_type, size_bytes, url,
       headers, sha256, max_bytes, twin_key,
       CASE WHEN twin_key IS NOT NULL THEN coalesce(
           (SELECT first.pk FROM items AS first WHERE first.job_pk = new.job_pk
            AND first.twin_key = new.twin_key AND first.twin_of IS NULL),
           nullif(first_value(pk) OVER (PARTITION BY job_pk, twin_key ORDER BY idx), pk)) END,
       broken, joins, store, ended_ms, ended_ms
FROM (
    SELECT nextval(pg_get_serial_sequence('items', 'pk')) AS pk, given.*
    FROM unnest(:job_pk[]::bigint[], :idx[]::bigint[], :status[]::text[], :name[]::text[],
                :file_id[]::text[], :blob[]::text[], :digest[]::text[], :media_type[]::text[],
                :size_bytes[]::bigint[], :url[]::text[], :headers[]::text[], :sha256[]::text[],
                :max_bytes[]::bigint[], :twin_key[]::bytea[], :broken[]::text[],
                :joins[]::bigint[], :store[]::text[], :ended_ms[]::bigint[])
         AS given (job_pk, idx, status, name, file_id, blob, digest, media_type, size_bytes, url,
                   headers, sha256, max_bytes, twin_key, broken, joins, store, ended_ms)
) AS new;
