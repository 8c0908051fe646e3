-- Nodes, what one of them does for all, and what is done bit by bit.

-- name: join_node
INSERT INTO nodes (id, roles, beat, started_ms, told) VALUES (:id, :roles, 0, :now_ms, :told)
ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: beat
UPDATE nodes SET beat = beat + 1, told = :told WHERE id = :id RETURNING beat;

-- name: leave_node
-- One that could not give back what it had taken is left for others to bury.
DELETE FROM nodes
WHERE id = :id AND NOT EXISTS (SELECT 1 FROM chunks WHERE state = 'taken' AND node = :id)
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE status = 'sending' AND node = :id);

-- name: nodes
SELECT * FROM nodes;

-- name: bury_node
-- The node is dead, unless it has shown a sign of life since it was looked at.
DELETE FROM nodes WHERE id = :id AND beat = :beat RETURNING id;

-- name: take_chore
-- A chore is this node's if it is nobody's, or has been long enough.
INSERT INTO chores (name, node, until_ms) VALUES (:name, :node, :until_ms)
ON CONFLICT (name) DO UPDATE SET node = excluded.node, until_ms = excluded.until_ms
WHERE chores.node = excluded.node OR chores.until_ms <= :now_ms
   OR chores.until_ms > :too_late_ms
RETURNING name;

-- name: leave_chores
DELETE FROM chores WHERE node = :node;

-- name: insert_bite
INSERT INTO bites (what, job_pk, item_pk, id) VALUES (:what, :job_pk, :item_pk, :id);

-- name: next_bite
SELECT * FROM bites ORDER BY pk LIMIT 1;

-- name: drop_bite
DELETE FROM bites WHERE pk = :pk;

-- name: drop_job_bites
DELETE FROM bites WHERE job_pk = :job_pk;
