-- A step that joins: its position in the steps, and the item that waits for all the others.
ALTER TABLE jobs ADD COLUMN join_at INTEGER;
ALTER TABLE items ADD COLUMN joins INTEGER NOT NULL DEFAULT 0;
-- The parts of an item that failed alone, as a JSON array; NULL for none.
ALTER TABLE items ADD COLUMN refused TEXT;
-- Of a running item's current step; in the step's own units.
ALTER TABLE items ADD COLUMN progress_done INTEGER;
ALTER TABLE items ADD COLUMN progress_total INTEGER;
