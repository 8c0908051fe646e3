-- What has ended lately, by minute: who looks at the service sees the last hour of it.

CREATE TABLE tally (
    minute_ms     INTEGER NOT NULL,
    -- '' for success.
    code          TEXT    NOT NULL,
    -- Its own row for each node, so that none waits for another's.
    node          TEXT    NOT NULL,
    items         INTEGER NOT NULL,
    worked_ms     INTEGER NOT NULL,
    slowest_ms    INTEGER NOT NULL,
    slowest_pk    INTEGER NOT NULL,
    PRIMARY KEY (minute_ms, code, node)
) STRICT, WITHOUT ROWID;

-- What a node says of itself with each sign of life, as JSON.
ALTER TABLE nodes ADD COLUMN told TEXT;

CREATE INDEX deliveries_dead ON deliveries (ended_ms, pk)
WHERE status = 'dead' AND kind = 'webhook';
