-- Idempotency keys, and the versions of URLs that clients fetched last.

-- name: get_key
SELECT fingerprint, job_id FROM idempotency_keys WHERE client = :client AND key = :key;

-- name: insert_key
INSERT INTO idempotency_keys (client, key, fingerprint, job_id, created_ms)
VALUES (:client, :key, :fingerprint, :job_id, :now_ms);

-- name: drop_key
DELETE FROM idempotency_keys WHERE client = :client AND key = :key;

-- name: drop_old_keys
DELETE FROM idempotency_keys
WHERE (client, key) IN (SELECT client, key FROM idempotency_keys
                        WHERE created_ms <= :before_ms LIMIT :limit) RETURNING key;

-- name: put_version
INSERT INTO versions (client, key, blob, digest, media_type, size_bytes, facts, seen_ms)
SELECT client, :key, :blob, :digest, :media_type, :size_bytes, :facts, :now_ms
FROM jobs WHERE id = :job_id
ON CONFLICT (client, key) DO UPDATE SET
    blob = excluded.blob, digest = excluded.digest, media_type = excluded.media_type,
    size_bytes = excluded.size_bytes, facts = excluded.facts, seen_ms = excluded.seen_ms;

-- name: get_version
SELECT versions.*, small.bytes AS value
FROM versions JOIN jobs ON jobs.client = versions.client
LEFT JOIN small ON small.key = versions.blob
WHERE jobs.id = :job_id AND versions.key = :key;

-- name: drop_old_versions
DELETE FROM versions
WHERE (client, key) IN (SELECT client, key FROM versions
                        WHERE seen_ms <= :before_ms LIMIT :limit) RETURNING key;
