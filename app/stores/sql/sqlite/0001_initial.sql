-- Times are milliseconds since the Unix epoch, UTC. JSON columns hold objects or arrays.

CREATE TABLE jobs (
    pk            INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    client        TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    steps         TEXT    NOT NULL,
    tag           TEXT,
    metadata      TEXT    NOT NULL,
    queued        INTEGER NOT NULL,
    running       INTEGER NOT NULL DEFAULT 0,
    succeeded     INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    canceled      INTEGER NOT NULL DEFAULT 0,
    retention_ms  INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    started_ms    INTEGER,
    finished_ms   INTEGER,
    expires_ms    INTEGER
) STRICT;
-- Lists page backwards through a client's jobs, by status or tag if asked.
CREATE INDEX jobs_by_client ON jobs (client, pk);
CREATE INDEX jobs_by_tag ON jobs (client, tag, pk) WHERE tag IS NOT NULL;
CREATE INDEX jobs_by_expiry ON jobs (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE items (
    pk            INTEGER PRIMARY KEY,
    job_pk        INTEGER NOT NULL REFERENCES jobs (pk) ON DELETE CASCADE,
    idx           INTEGER NOT NULL,
    status        TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    lane          TEXT    NOT NULL,
    priority      INTEGER NOT NULL,
    attempt       INTEGER NOT NULL DEFAULT 0,
    name          TEXT    NOT NULL,
    file_id       TEXT,
    blob          TEXT,
    media_type    TEXT,
    size_bytes    INTEGER,
    url           TEXT,
    headers       TEXT,
    facts         TEXT,
    problem       TEXT,
    started_ms    INTEGER,
    finished_ms   INTEGER
) STRICT;
CREATE UNIQUE INDEX items_by_job ON items (job_pk, idx);
CREATE INDEX items_by_seq ON items (job_pk, seq);
CREATE INDEX items_queue ON items (lane, priority DESC, pk) WHERE status = 'queued';
CREATE INDEX items_running ON items (pk) WHERE status = 'running';
CREATE INDEX items_by_blob ON items (blob) WHERE blob IS NOT NULL;

CREATE TABLE files (
    pk            INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    client        TEXT    NOT NULL,
    blob          TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    job_pk        INTEGER REFERENCES jobs (pk) ON DELETE CASCADE,
    -- The item that this file is the n-th result of; both NULL for an input and a stored file.
    item_pk       INTEGER,
    position      INTEGER,
    created_ms    INTEGER NOT NULL,
    -- NULL for a file of a job: it goes when the job's results go.
    expires_ms    INTEGER
) STRICT;
CREATE INDEX files_by_blob ON files (blob);
CREATE INDEX files_by_job ON files (job_pk) WHERE job_pk IS NOT NULL;
CREATE INDEX files_by_item ON files (item_pk, position) WHERE item_pk IS NOT NULL;
CREATE INDEX files_by_expiry ON files (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE idempotency_keys (
    client        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    fingerprint   TEXT    NOT NULL,
    job_id        TEXT    NOT NULL,
    created_ms    INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_ms);
