-- name: delete_keys
DELETE FROM idempotency WHERE (project_id, key) IN (
    SELECT project_id, key FROM idempotency WHERE created_at < now() - make_interval(secs => :older_than)
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING 1

-- name: delete_messages
WITH old AS (
    DELETE FROM webhook_message WHERE id = ANY(ARRAY(
        SELECT id FROM webhook_message WHERE created_at < now() - make_interval(secs => :older_than)
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING id
), queued AS (
    DELETE FROM webhook_queue WHERE message_id = ANY(ARRAY(SELECT id FROM old))
), attempts AS (
    DELETE FROM webhook_attempt WHERE message_id = ANY(ARRAY(SELECT id FROM old))
)
SELECT FROM old
