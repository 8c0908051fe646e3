-- Chunks are what is queued; items only record outcomes. Small bytes are values of the records.

CREATE TABLE nodes (
    id            TEXT    PRIMARY KEY,
    roles         TEXT    NOT NULL,
    -- Raised by the node while it lives: who sees it stand still for long enough takes over.
    beat          INTEGER NOT NULL,
    started_ms    INTEGER NOT NULL
) STRICT;

-- What one node at a time does for all.
CREATE TABLE chores (
    name          TEXT    PRIMARY KEY,
    node          TEXT    NOT NULL,
    until_ms      INTEGER NOT NULL
) STRICT;

-- What is too much for one transaction, and goes on until it is done: see `records/bites.py`.
CREATE TABLE bites (
    pk            INTEGER PRIMARY KEY,
    what          TEXT    NOT NULL,
    job_pk        INTEGER NOT NULL,
    item_pk       INTEGER,
    id            TEXT
) STRICT;
CREATE INDEX bites_by_id ON bites (id) WHERE id IS NOT NULL;

-- How many items of a client are not over, and up to where it has been given turns.
CREATE TABLE clients (
    client        TEXT    PRIMARY KEY,
    unfinished    INTEGER NOT NULL,
    turn          INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX clients_by_turn ON clients (turn);

CREATE TABLE small (
    key           TEXT    PRIMARY KEY,
    bytes         BLOB    NOT NULL
) STRICT;

-- A range of a job's indexes. It is gone once all of its items are over.
CREATE TABLE chunks (
    -- Never given again: with `delivery` it is what outcomes are held against.
    pk            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_pk        INTEGER NOT NULL REFERENCES jobs (pk) ON DELETE CASCADE,
    lo            INTEGER NOT NULL,
    hi            INTEGER NOT NULL,
    -- Whether it is of the URLs in that range, or of the others.
    fetches       INTEGER NOT NULL,
    -- How many items it was cut of.
    n             INTEGER NOT NULL,
    lane          TEXT    NOT NULL,
    priority      INTEGER NOT NULL,
    -- 'held': what joins the others waits for them. 'ready'. 'taken': by a node.
    state         TEXT    NOT NULL,
    -- Raised whenever it is taken: a node that was given up for dead finds that it changed.
    delivery      INTEGER NOT NULL DEFAULT 0,
    -- How often a node died with it.
    deaths        INTEGER NOT NULL DEFAULT 0,
    node          TEXT
) STRICT;
CREATE INDEX chunks_ready ON chunks (lane, priority DESC, pk) WHERE state = 'ready';
CREATE INDEX chunks_taken ON chunks (node) WHERE state = 'taken';
CREATE INDEX chunks_by_job ON chunks (job_pk, pk);

-- Where the work on its stored files waits; which index its URLs are cut up to; who receives it.
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'cpu';
ALTER TABLE jobs ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
-- The turn of its first item: its chunks are taken in the order of turns.
ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN node TEXT;
ALTER TABLE deliveries ADD COLUMN node TEXT;
DROP INDEX deliveries_sending;
CREATE INDEX deliveries_sending ON deliveries (node) WHERE status = 'sending';

-- Items have no lane and no priority of their own any more.
ALTER TABLE items RENAME TO items_before;
DROP TRIGGER item_gone;
DROP TRIGGER input_gone;
DROP INDEX items_by_job;
DROP INDEX items_by_seq;
DROP INDEX items_queue;
DROP INDEX items_running;
DROP INDEX items_by_blob;
DROP INDEX items_by_twin_key;
DROP INDEX items_by_twin;
DROP INDEX items_waiting;

CREATE TABLE items (
    pk              INTEGER PRIMARY KEY,
    job_pk          INTEGER NOT NULL REFERENCES jobs (pk) ON DELETE CASCADE,
    idx             INTEGER NOT NULL,
    status          TEXT    NOT NULL,
    seq             INTEGER NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,
    -- Attempts made before the client had the item run again.
    attempts_before INTEGER NOT NULL DEFAULT 0,
    name            TEXT    NOT NULL,
    file_id         TEXT,
    blob            TEXT,
    digest          TEXT,
    media_type      TEXT,
    size_bytes      INTEGER,
    url             TEXT,
    headers         TEXT,
    -- What one URL's content must be, beyond what its batch asks for.
    sha256          TEXT,
    max_bytes       INTEGER,
    -- Digest of all that makes two URLs of a batch the same one, and the first item that has it.
    twin_key        BLOB,
    twin_of         INTEGER,
    -- Why the item can never run, as a problem: the line that it came on was no URL.
    broken          TEXT,
    joins           INTEGER NOT NULL DEFAULT 0,
    -- Where the item's result is put: {url, headers}; emptied when the job expires.
    store           TEXT,
    facts           TEXT,
    -- The parts of it that failed alone, as a JSON array; NULL for none.
    refused         TEXT,
    problem         TEXT,
    -- Of a running item's current step; in the step's own units.
    progress_done   INTEGER,
    progress_total  INTEGER,
    started_ms      INTEGER,
    finished_ms     INTEGER
) STRICT;
-- in bites: items, pk, job_pk, idx, status, seq, attempt, attempts_before, name, file_id, blob, digest, media_type, size_bytes, url, headers, sha256, max_bytes, twin_key, twin_of, broken, joins, store, facts, refused, problem, progress_done, progress_total, started_ms, finished_ms
DROP TABLE items_before;
CREATE UNIQUE INDEX items_by_job ON items (job_pk, idx);
CREATE INDEX items_by_seq ON items (job_pk, seq);
CREATE INDEX items_by_blob ON items (blob) WHERE blob IS NOT NULL;
CREATE INDEX items_by_twin_key ON items (job_pk, twin_key) WHERE twin_key IS NOT NULL;
CREATE INDEX items_by_twin ON items (twin_of) WHERE twin_of IS NOT NULL;
CREATE TRIGGER item_gone AFTER DELETE ON items WHEN old.blob IS NOT NULL BEGIN
    INSERT OR IGNORE INTO loose_blobs VALUES (old.blob);
END;
CREATE TRIGGER input_gone AFTER UPDATE OF blob ON items
WHEN old.blob IS NOT NULL AND new.blob IS NOT old.blob BEGIN
    INSERT OR IGNORE INTO loose_blobs VALUES (old.blob);
END;

-- What ran when the service ended is queued again, its attempt counted as before.
UPDATE jobs SET queued = queued + running, running = 0 WHERE running > 0;
UPDATE items SET status = 'queued', started_ms = NULL, progress_done = NULL, progress_total = NULL
WHERE status = 'running';
-- A URL whose twin is over fetches for itself.
UPDATE items SET twin_of = NULL
WHERE status = 'queued' AND twin_of IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM items AS first WHERE first.pk = items.twin_of
                  AND first.status = 'queued');
UPDATE jobs SET released = 0;
-- Of jobs that are paced, the next URLs are cut when the service looks; all others now.
INSERT INTO chunks (job_pk, lo, hi, fetches, n, lane, priority, state)
SELECT job_pk, min(idx), max(idx), url IS NOT NULL, count(*),
       CASE WHEN url IS NOT NULL THEN 'io' ELSE 'cpu' END, -min(idx), 'ready'
FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE items.status = 'queued' AND joins = 0 AND twin_of IS NULL AND jobs.canceling = 0
  AND jobs.status NOT IN ('receiving', 'dropping') AND (url IS NULL OR jobs.pace IS NULL)
GROUP BY job_pk, url IS NOT NULL, idx / 8;
INSERT INTO chunks (job_pk, lo, hi, fetches, n, lane, priority, state)
SELECT job_pk, idx, idx, 0, 1, 'cpu', -idx,
       CASE WHEN jobs.queued = 1 THEN 'ready' ELSE 'held' END
FROM items JOIN jobs ON jobs.pk = items.job_pk
WHERE items.status = 'queued' AND joins = 1 AND jobs.canceling = 0
  AND jobs.status NOT IN ('receiving', 'dropping');
INSERT INTO bites (what, job_pk)
SELECT 'release', pk FROM jobs
WHERE pace IS NOT NULL AND queued > 0 AND canceling = 0
  AND status NOT IN ('receiving', 'dropping');
INSERT INTO bites (what, job_pk) SELECT 'cancel', pk FROM jobs WHERE canceling = 1;
INSERT INTO bites (what, job_pk, id)
SELECT 'drop', pk, CASE WHEN id LIKE 'deleted_%' THEN substr(id, 9) END FROM jobs
WHERE status IN ('receiving', 'dropping');
UPDATE jobs SET status = 'dropping', client = '' WHERE status IN ('receiving', 'dropping');
DROP INDEX jobs_hidden;
DROP INDEX jobs_canceling;
ALTER TABLE jobs DROP COLUMN canceling;
INSERT INTO clients (client, unfinished)
SELECT client, sum(queued + running) FROM jobs WHERE client <> '' GROUP BY client;
UPDATE deliveries SET status = 'pending', due_ms = created_ms WHERE status = 'sending';
