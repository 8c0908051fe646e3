-- Who is told of the job: {url, events, secret, gone}; without url the operator's own endpoint.
ALTER TABLE jobs ADD COLUMN webhook TEXT;
-- Where the item's result is put: {url, headers}; emptied when the job expires.
ALTER TABLE items ADD COLUMN store TEXT;

-- What is to leave the house: a row is written with the state that it tells of, or not at all.
-- It outlives its job's record, so it holds all that is needed to send it.
CREATE TABLE deliveries (
    pk            INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    -- 'webhook': one event to one endpoint. 'push': one item's result to one URL.
    kind          TEXT    NOT NULL,
    client        TEXT    NOT NULL,
    job_id        TEXT,
    item_pk       INTEGER,
    item_idx      INTEGER,
    event         TEXT,
    data          TEXT,
    url           TEXT,
    secret        TEXT,
    origin        TEXT    NOT NULL,
    lane          TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    asked         INTEGER NOT NULL DEFAULT 0,
    tries         INTEGER NOT NULL DEFAULT 0,
    claims        INTEGER NOT NULL DEFAULT 0,
    problem       TEXT,
    created_ms    INTEGER NOT NULL,
    due_ms        INTEGER,
    ended_ms      INTEGER
) STRICT;
CREATE INDEX deliveries_due ON deliveries (due_ms, origin, lane) WHERE status = 'pending';
CREATE INDEX deliveries_sending ON deliveries (pk) WHERE status = 'sending';
CREATE INDEX deliveries_by_client ON deliveries (client, pk) WHERE kind = 'webhook';
CREATE INDEX deliveries_by_job ON deliveries (job_id, pk) WHERE job_id IS NOT NULL;
CREATE INDEX deliveries_by_item ON deliveries (item_pk) WHERE item_pk IS NOT NULL;
CREATE INDEX deliveries_by_end ON deliveries (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE attempts (
    delivery_pk   INTEGER NOT NULL REFERENCES deliveries (pk) ON DELETE CASCADE,
    n             INTEGER NOT NULL,
    at_ms         INTEGER NOT NULL,
    elapsed_ms    INTEGER NOT NULL,
    http_status   INTEGER,
    problem       TEXT,
    answer        TEXT    NOT NULL,
    PRIMARY KEY (delivery_pk, n)
) STRICT, WITHOUT ROWID;
