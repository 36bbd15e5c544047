-- fragment: log_columns
-- OFFSET 0 in EXISTS makes PostgreSQL look up each row, instead of hashing the whole table first.
m.id, m.webhook_id, m.trigger_id, m.type, m.created_at, q.due_at, a.*,
CASE
    WHEN q.claimed_by IS NOT NULL AND q.due_at > now() THEN 'sending'
    WHEN q.attempt > 0 THEN 'retrying'
    WHEN q.message_id IS NOT NULL THEN 'pending'
    WHEN m.failed_at IS NOT NULL THEN 'dead'
    WHEN EXISTS (SELECT FROM webhook_attempt WHERE message_id = m.id AND outcome = 'delivered' OFFSET 0)
        THEN 'delivered'
    ELSE 'dead' -- its endpoint was deleted while it was queued
END AS state

-- fragment: join_log
LEFT JOIN webhook_queue q ON q.message_id = m.id
LEFT JOIN webhook_attempt a ON a.message_id = m.id
ORDER BY m.created_at DESC, m.id DESC, a.number DESC

-- fragment: is_older
(:before::timestamptz IS NULL OR (created_at, id) < (:before, :before_id::uuid))

-- fragment: newest
-- The newest messages, of all endpoints or of each; an index has their order.
(SELECT * FROM webhook_message WHERE :endpoints::uuid[] IS NULL AND
    -- include: is_older
ORDER BY created_at DESC, id DESC LIMIT :most)
UNION ALL
SELECT newest.* FROM unnest(:endpoints::uuid[]) AS endpoint CROSS JOIN LATERAL (
    SELECT * FROM webhook_message WHERE webhook_id = endpoint AND
        -- include: is_older
    ORDER BY created_at DESC, id DESC LIMIT :most) AS newest

-- fragment: newest_dead
(SELECT * FROM webhook_message WHERE failed_at IS NOT NULL AND :endpoints::uuid[] IS NULL AND
    -- include: is_older
ORDER BY created_at DESC, id DESC LIMIT :most)
UNION ALL
SELECT newest.* FROM unnest(:endpoints::uuid[]) AS endpoint CROSS JOIN LATERAL (
    SELECT * FROM webhook_message WHERE webhook_id = endpoint AND failed_at IS NOT NULL AND
        -- include: is_older
    ORDER BY created_at DESC, id DESC LIMIT :most) AS newest

-- fragment: has_failed
-- Whether a queued message has failed. The queue also counts the attempt in progress, so a message that is being sent for
-- the first time has one attempt but no failed one.
attempt > (claimed_by IS NOT NULL AND due_at > now())::int

-- name: endpoints
-- The endpoints of projects. Messages of deleted ones are visible to those who may see all projects.
SELECT id FROM webhook WHERE project_id = ANY(:projects::int8[]) AND (:endpoint_id::uuid IS NULL OR id = :endpoint_id)

-- name: log
SELECT
    -- include: log_columns
FROM (SELECT * FROM (
        -- include: newest
    ) AS found ORDER BY created_at DESC, id DESC LIMIT :most) AS m
-- include: join_log

-- name: log_of_trigger
SELECT
    -- include: log_columns
FROM (SELECT * FROM webhook_message WHERE trigger_id = :trigger_id ORDER BY created_at DESC, id DESC LIMIT :most) AS m
-- include: join_log

-- name: queued
-- How many messages are queued, up to a bound. The order lets an index stop there.
SELECT count(*) FROM (SELECT FROM (
        (SELECT FROM webhook_queue WHERE :endpoints::uuid[] IS NULL ORDER BY message_id LIMIT :most)
        UNION ALL
        SELECT FROM unnest(:endpoints::uuid[]) AS endpoint CROSS JOIN LATERAL (
            SELECT FROM webhook_queue WHERE webhook_id = endpoint ORDER BY due_at LIMIT :most) AS queued
    ) AS found LIMIT :most) AS first

-- name: log_of_failed
-- For a short queue, which is read from end to end.
SELECT
    -- include: log_columns
FROM (SELECT * FROM (
        (
            -- include: newest_dead
        )
        UNION ALL
        SELECT waiting.* FROM webhook_queue CROSS JOIN LATERAL (
            SELECT * FROM webhook_message WHERE id = message_id AND failed_at IS NULL OFFSET 0) AS waiting
        WHERE (:endpoints::uuid[] IS NULL OR webhook_queue.webhook_id = ANY(:endpoints)) AND
            -- include: has_failed
    ) AS found WHERE
        -- include: is_older
    ORDER BY created_at DESC, id DESC LIMIT :most) AS m
-- include: join_log

-- name: log_of_failed_scanned
-- Those among the newest messages, however long the queue is.
SELECT
    -- include: log_columns
FROM (SELECT * FROM (
        -- include: newest
    ) AS found WHERE failed_at IS NOT NULL OR EXISTS (
        SELECT FROM webhook_queue WHERE message_id = found.id AND
            -- include: has_failed
        OFFSET 0)
    ORDER BY created_at DESC, id DESC LIMIT :limit) AS m
-- include: join_log

-- name: last_scanned
-- The last message that `log_of_failed_scanned` looks at, if there are as many.
SELECT created_at, id FROM (SELECT * FROM (
        -- include: newest
    ) AS found ORDER BY created_at DESC, id DESC LIMIT :most) AS m
OFFSET :most::int8 - 1

-- name: now
SELECT now()

-- name: requeue
-- Queues failed messages again, except those of deleted endpoints.
WITH chosen AS (
    SELECT m.id, m.webhook_id, (SELECT coalesce(max(number), 0) FROM webhook_attempt a
        WHERE a.message_id = m.id) AS attempts
    FROM webhook_message m JOIN webhook w ON w.id = m.webhook_id
    WHERE m.failed_at <= :before AND (:projects::int8[] IS NULL OR w.project_id = ANY(:projects)) AND (:ids::uuid[] IS NULL OR m.id = ANY(:ids))
        AND (:endpoint_id::uuid IS NULL OR m.webhook_id = :endpoint_id)
    ORDER BY m.created_at LIMIT :limit FOR UPDATE OF m SKIP LOCKED
), requeued AS (
    UPDATE webhook_message SET failed_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM chosen))
)
INSERT INTO webhook_queue (message_id, webhook_id, expires_at, attempt, tries_from)
SELECT id, webhook_id, now() + make_interval(secs => :message_ttl), attempts, attempts FROM chosen
ON CONFLICT (message_id) DO NOTHING
RETURNING (SELECT project_id FROM webhook WHERE id = webhook_id) AS project_id

-- name: make_due
-- Makes messages that wait for a retry due now; the policy counts from zero again. Messages that are being sent, and
-- due messages that have all their attempts left, do not change.
UPDATE webhook_queue SET due_at = now(), expires_at = now() + make_interval(secs => :message_ttl), tries_from = attempt
WHERE message_id = ANY(ARRAY(
    SELECT message_id FROM webhook_queue q
    WHERE (:projects::int8[] IS NULL
            OR EXISTS (SELECT FROM webhook w WHERE w.id = q.webhook_id AND w.project_id = ANY(:projects)))
        AND attempt > 0 AND claimed_by IS NULL AND claimed_at <= :before
        AND (due_at > now() OR tries_from < attempt)
        AND (:ids::uuid[] IS NULL OR message_id = ANY(:ids))
        AND (:endpoint_id::uuid IS NULL OR webhook_id = :endpoint_id)
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING (SELECT project_id FROM webhook WHERE id = webhook_id) AS project_id

-- name: replay
-- Queues messages again, the oldest first, whatever became of them. Those that are queued stay as they are. Returns the
-- last of the chosen ones, and how many were queued.
WITH chosen AS (
    SELECT m.id, m.created_at, m.webhook_id, (SELECT coalesce(max(number), 0) FROM webhook_attempt a
        WHERE a.message_id = m.id) AS attempts
    FROM webhook_message m
    WHERE m.webhook_id = :endpoint_id AND m.created_at >= :since AND m.created_at <= :until
        AND (:after_id::uuid IS NULL OR (m.created_at, m.id) > (:after, :after_id))
    ORDER BY m.created_at, m.id LIMIT :limit
), requeued AS (
    UPDATE webhook_message SET failed_at = NULL
    WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND failed_at IS NOT NULL
), queued AS (
    INSERT INTO webhook_queue (message_id, webhook_id, expires_at, attempt, tries_from)
    SELECT id, webhook_id, now() + make_interval(secs => :message_ttl), attempts, attempts FROM chosen
    ON CONFLICT (message_id) DO NOTHING RETURNING message_id
)
SELECT created_at, id, (SELECT count(*) FROM chosen) AS chosen, (SELECT count(*) FROM queued) AS queued
FROM chosen ORDER BY created_at DESC, id DESC LIMIT 1
