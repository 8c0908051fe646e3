-- Files and their bytes.

-- name: insert_file
-- A stored file, a job's input, or (with item_pk and position) one result of an item.
INSERT INTO files (id, client, blob, digest, name, media_type, size_bytes, job_pk, item_pk,
                   position, created_ms, expires_ms)
VALUES (:id, :client, :blob, :digest, :name, :media_type, :size_bytes, :job_pk, :item_pk,
        :position, :now_ms, :expires_ms);

-- name: insert_passed
-- An input that is its item's result at once.
INSERT INTO files (id, client, blob, digest, name, media_type, size_bytes, job_pk, item_pk,
                   position, created_ms, expires_ms)
VALUES (:id, :client, :blob, :digest, :name, :media_type, :size_bytes, :job_pk,
        (SELECT pk FROM items WHERE items.job_pk = :job_pk AND items.idx = :idx), 0, :now_ms, NULL);

-- name: insert_small
INSERT INTO small (key, bytes) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING;

-- name: get_file
-- index: sqlite_autoindex_files_1, INTEGER PRIMARY KEY, sqlite_autoindex_small_1
SELECT files.*, jobs.id AS job_id, jobs.expires_ms AS job_expires_ms, small.bytes AS value
FROM files LEFT JOIN jobs ON jobs.pk = files.job_pk LEFT JOIN small ON small.key = files.blob
WHERE files.id = :id;

-- name: list_files
-- A client's files that were stored by themselves, newest first, before the cursor.
-- index: files_by_client
SELECT files.*, NULL AS job_id, NULL AS job_expires_ms, NULL AS value
FROM files WHERE client = :client AND job_pk IS NULL AND pk < :before
ORDER BY pk DESC LIMIT :limit;

-- name: results_of
-- The results of some items.
-- index: files_by_item, INTEGER PRIMARY KEY
SELECT files.*, jobs.id AS job_id, jobs.expires_ms AS job_expires_ms, NULL AS value
FROM files JOIN jobs ON jobs.pk = files.job_pk
WHERE files.item_pk IN :item_pks[] ORDER BY files.item_pk, files.position;

-- name: delete_file
DELETE FROM files WHERE id = :id;

-- name: extend_file
UPDATE files SET expires_ms = :expires_ms WHERE id = :id AND expires_ms IS NOT NULL;

-- name: drop_results
DELETE FROM files WHERE item_pk = :pk;

-- name: drop_some_files
DELETE FROM files WHERE pk IN (SELECT pk FROM files WHERE job_pk = :job_pk LIMIT :limit)
RETURNING pk;

-- name: drop_due_files
DELETE FROM files
WHERE pk IN (SELECT pk FROM files WHERE expires_ms <= :now_ms LIMIT :limit) RETURNING pk;

-- name: referenced_blobs
-- All bytes that a record points at: `referenced`, of all keys at once.
-- Not those that are values here.
SELECT blob FROM files UNION SELECT blob FROM items WHERE blob IS NOT NULL
EXCEPT SELECT key FROM small;

-- name: referenced
-- Those of some keys that a record points at.
-- index: files_by_blob, items_by_blob
SELECT blob FROM files WHERE blob IN :keys[]
UNION SELECT blob FROM items WHERE blob IN :keys[];

-- name: abandon
-- Bytes that were stored, and maybe no record names.
INSERT INTO loose_blobs (blob) VALUES (:key) ON CONFLICT (blob) DO NOTHING;

-- name: take_loose_blobs
DELETE FROM loose_blobs WHERE blob IN (SELECT blob FROM loose_blobs LIMIT :limit) RETURNING blob;

-- name: drop_small
DELETE FROM small WHERE key IN :keys[] RETURNING key;
