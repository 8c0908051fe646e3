-- What is written in sets where a set can be: SQLite writes it a row at a time.

-- name: insert_item
-- One input of a new job; or, with `joins`, what all the others are joined into. A twin if there is
-- one before it that asks for the same.
-- index: items_by_twin_key
INSERT INTO items (job_pk, idx, status, seq, name, file_id, blob, digest, media_type, size_bytes,
                   url, headers, sha256, max_bytes, twin_key, twin_of, broken, joins, store,
                   started_ms, finished_ms)
VALUES (:job_pk, :idx, :status, 1, :name, :file_id, :blob, :digest, :media_type, :size_bytes,
        :url, :headers, :sha256, :max_bytes, :twin_key,
        (SELECT first.pk FROM items AS first WHERE first.job_pk = :job_pk
         AND first.twin_key = :twin_key AND first.twin_of IS NULL),
        :broken, :joins, :store, :ended_ms, :ended_ms);
