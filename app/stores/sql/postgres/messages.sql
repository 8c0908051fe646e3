-- Messages of the queue engine, in whose tables nothing else is read or written by us.

-- name: unsent_chunks
-- Chunks that are ready and that no message tells of.
SELECT pk, lane, priority, delivery FROM chunks
WHERE state = 'ready' AND NOT EXISTS (
    SELECT 1 FROM pgqueuer WHERE dedupe_key = 'chunk:' || chunks.pk || ':' || chunks.delivery)
ORDER BY priority DESC, pk LIMIT :limit;
