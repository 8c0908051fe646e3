-- What one URL's content must be, beyond what its batch asks for.
ALTER TABLE items ADD COLUMN sha256 TEXT;
ALTER TABLE items ADD COLUMN max_bytes INTEGER;
-- Digest of all that makes two URLs of a batch the same one, and the first item that has it.
ALTER TABLE items ADD COLUMN twin_key BLOB;
ALTER TABLE items ADD COLUMN twin_of INTEGER;
CREATE INDEX items_by_twin_key ON items (job_pk, twin_key) WHERE twin_key IS NOT NULL;
CREATE INDEX items_by_twin ON items (twin_of) WHERE twin_of IS NOT NULL;
-- Attempts made before the client had the item run again.
ALTER TABLE items ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
-- What waits for its turn or its twin. Statements must repeat the condition word for word.
CREATE INDEX items_waiting ON items (job_pk, lane, pk)
WHERE status = 'queued' AND lane IN ('paced', 'twin');

-- How many URLs of a job may be in the queue or running at once (NULL: all), and how many are.
ALTER TABLE jobs ADD COLUMN pace INTEGER;
ALTER TABLE jobs ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
-- Whether the first item that fails cancels the others.
ALTER TABLE jobs ADD COLUMN stops INTEGER NOT NULL DEFAULT 0;

-- What a client's URL had when it was last fetched with `if_changed`.
CREATE TABLE versions (
    client        TEXT    NOT NULL,
    key           BLOB    NOT NULL,
    blob          TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    facts         TEXT    NOT NULL,
    seen_ms       INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_by_age ON versions (seen_ms);
-- Jobs that are being canceled a bite at a time.
ALTER TABLE jobs ADD COLUMN canceling INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_canceling ON jobs (pk) WHERE canceling = 1;
-- Jobs that no client sees: still being received, or on their way out.
CREATE INDEX jobs_hidden ON jobs (pk) WHERE status IN ('receiving', 'dropping');
