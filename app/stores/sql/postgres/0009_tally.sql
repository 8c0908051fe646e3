-- As SQLite's of this number: see the comments there.

CREATE TABLE tally (
    minute_ms     BIGINT  NOT NULL,
    code          TEXT    NOT NULL,
    node          TEXT    NOT NULL,
    items         BIGINT  NOT NULL,
    worked_ms     BIGINT  NOT NULL,
    slowest_ms    BIGINT  NOT NULL,
    slowest_pk    BIGINT  NOT NULL,
    PRIMARY KEY (minute_ms, code, node)
) WITH (fillfactor = 30);

ALTER TABLE nodes ADD COLUMN told TEXT;

CREATE INDEX deliveries_dead ON deliveries (ended_ms, pk)
WHERE status = 'dead' AND kind = 'webhook';
