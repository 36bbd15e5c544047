-- name: cancel
-- If a dispatcher claims the row at the same moment, one of the two waits for the row's lock: either this statement
-- then finds the row claimed, or the claim skips it. A row whose lease has ended is cancelled, although its attempt may
-- have reached the provider; that attempt is recorded as lost.
WITH removed AS (
    DELETE FROM queue WHERE trigger_id = ANY(:ids::uuid[]) AND (claimed_by IS NULL OR due_at <= now())
    RETURNING trigger_id, attempt, claimed_by, claimed_at, sent_by
), lost AS (
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
    SELECT
        -- include: lost_attempt
    FROM removed WHERE claimed_by IS NOT NULL
    ON CONFLICT (trigger_id, number) DO NOTHING
), news AS (
    SELECT trigger_id, 'cancelled' AS state, attempt AS attempts, '' AS provider,
        '' AS provider_message_id, '' AS error
    FROM removed
),
-- include: webhook_messages
INSERT INTO cancellation (trigger_id) SELECT trigger_id FROM removed
ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id

-- name: choose_queued
SELECT q.trigger_id FROM queue q JOIN trigger t ON t.id = q.trigger_id
JOIN project p ON p.id = t.project_id
-- include: join_last_attempt
WHERE q.trigger_id > :after AND (:ids::uuid[] IS NULL OR q.trigger_id = ANY(:ids)) AND
    -- include: matches_admin_filter
ORDER BY q.trigger_id LIMIT :limit
