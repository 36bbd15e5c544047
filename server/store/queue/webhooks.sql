-- The queue of webhook messages. As in triggers.sql, statements find their rows by `= ANY` or OFFSET 0.

-- fragment: lost_webhook_attempt
-- The columns of `webhook_attempt` for a claimed row of `webhook_queue` whose lease has ended.
message_id, attempt, 'lost', NULL::int4, claimed_at, extract(epoch FROM now() - claimed_at),
'the dispatcher ended before it could record the outcome', ''

-- name: claim
WITH due AS (
    SELECT q.*
    FROM unnest(:endpoints::uuid[], :slots::int4[], :floors::timestamptz[]) AS share (webhook_id, slots, floor)
    CROSS JOIN LATERAL (
        SELECT message_id, webhook_id, attempt, claimed_by, claimed_at, due_at FROM webhook_queue
        WHERE webhook_queue.webhook_id = share.webhook_id AND due_at <= now() AND due_at >= share.floor
        ORDER BY due_at LIMIT share.slots FOR UPDATE SKIP LOCKED) AS q
    WHERE NOT
        -- include: is_held
), claimed AS (
    UPDATE webhook_queue SET due_at = now() + make_interval(secs => :lease), attempt = attempt + 1,
        claimed_by = :holder, claimed_at = now()
    WHERE message_id = ANY(ARRAY(SELECT message_id FROM due))
    RETURNING *
), lost AS (
    INSERT INTO webhook_attempt (message_id, number, outcome, status, started_at, duration, error, answer)
    SELECT
        -- include: lost_webhook_attempt
    FROM due WHERE claimed_by IS NOT NULL
    ON CONFLICT (message_id, number) DO NOTHING
)
SELECT now() AS at,
    -- include: is_held
    AS held, found.*,
    ARRAY(SELECT (SELECT max(due.due_at) FROM due WHERE due.webhook_id = share.webhook_id)
        FROM unnest(:endpoints::uuid[]) WITH ORDINALITY AS share (webhook_id, place) ORDER BY place) AS reached
FROM (SELECT) AS always LEFT JOIN (
    SELECT claimed.attempt, claimed.tries_from, claimed.expires_at, message.*,
        coalesce((SELECT traceparent FROM trigger WHERE id = message.trigger_id), '') AS traceparent
    FROM claimed
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_message WHERE id = claimed.message_id OFFSET 0) AS message
) AS found ON true
ORDER BY found.created_at

-- name: finish
-- An outcome that is reported after the lease has ended is handled as in the queue of triggers.
WITH done AS (
    SELECT * FROM unnest(:ids::uuid[], :numbers::int4[], :outcomes::text[], :statuses::int4[],
        :started_at::timestamptz[], :durations::float8[], :errors::text[], :answers::text[],
        :retry_in::float8[], :endpoints::uuid[]) AS f (message_id, number, outcome, status,
        started_at, duration, error, answer, retry_in, webhook_id)
), recorded AS (
    INSERT INTO webhook_attempt (message_id, number, outcome, status, started_at, duration, error, answer)
    SELECT message_id, number, outcome, status, started_at, duration, error, answer FROM done
    ON CONFLICT (message_id, number) DO UPDATE SET outcome = excluded.outcome, status = excluded.status,
        duration = excluded.duration, error = excluded.error, answer = excluded.answer
    WHERE webhook_attempt.outcome = 'lost'
), removed AS (
    DELETE FROM webhook_queue USING done
    WHERE webhook_queue.message_id = ANY(:ids) AND webhook_queue.message_id = done.message_id
        AND (done.outcome = 'delivered' OR (done.outcome IN ('dead', 'in_doubt') AND done.retry_in IS NULL
            AND webhook_queue.attempt = done.number AND webhook_queue.claimed_by = :holder))
    RETURNING done.message_id, done.outcome
), failed AS (
    UPDATE webhook_message SET failed_at = now()
    WHERE id = ANY(ARRAY(SELECT message_id FROM removed WHERE outcome <> 'delivered'))
), no_longer_failed AS (
    UPDATE webhook_message SET failed_at = NULL
    WHERE id = ANY(ARRAY(SELECT message_id FROM done WHERE outcome = 'delivered'))
        AND failed_at IS NOT NULL
), disabled AS (
    UPDATE webhook SET state = 'disabled', disabled_because = 'it answered 410 Gone'
    WHERE id = ANY(ARRAY(SELECT webhook_id FROM done WHERE status = 410)) AND state = 'active'
)
UPDATE webhook_queue SET due_at = now() + make_interval(secs => done.retry_in), claimed_by = NULL
FROM done WHERE webhook_queue.message_id = ANY(:ids) AND webhook_queue.message_id = done.message_id
    AND done.outcome IN ('retry', 'lost', 'in_doubt') AND done.retry_in IS NOT NULL
    AND webhook_queue.attempt = done.number AND webhook_queue.claimed_by = :holder

-- name: renew
UPDATE webhook_queue SET due_at = now() + make_interval(secs => :lease)
FROM unnest(:ids::uuid[], :numbers::int4[]) AS held (message_id, number)
WHERE webhook_queue.message_id = ANY(:ids) AND webhook_queue.message_id = held.message_id
    AND webhook_queue.attempt = held.number AND claimed_by = :holder
RETURNING webhook_queue.message_id AS id

-- name: release
UPDATE webhook_queue SET due_at = now() + make_interval(secs => released.wait), attempt = attempt - 1,
    claimed_by = NULL
FROM unnest(:ids::uuid[], :numbers::int4[], :waits::float8[]) AS released (message_id, number, wait)
WHERE webhook_queue.message_id = ANY(:ids) AND webhook_queue.message_id = released.message_id
    AND webhook_queue.attempt = released.number AND claimed_by = :holder

-- name: bury_expired
WITH expired AS (
    DELETE FROM webhook_queue WHERE message_id = ANY(ARRAY(
        SELECT message_id FROM webhook_queue
        WHERE expires_at <= now() AND (claimed_by IS NULL OR due_at <= now()) AND NOT
            -- include: is_held
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING message_id, attempt, claimed_by, claimed_at,
        CASE WHEN claimed_by IS NOT NULL OR ARRAY['lost', 'in_doubt']
                && ARRAY(SELECT outcome FROM webhook_attempt AS a WHERE a.message_id = webhook_queue.message_id)
            THEN :after_doubt::text ELSE :error::text END AS error
), recorded AS (
    INSERT INTO webhook_attempt (message_id, number, outcome, status, started_at, duration, error, answer)
    SELECT
        -- include: lost_webhook_attempt
    FROM expired WHERE claimed_by IS NOT NULL
    UNION ALL
    SELECT message_id, attempt + 1, 'dead', NULL, now(), 0, error, '' FROM expired
    ON CONFLICT (message_id, number) DO NOTHING
)
UPDATE webhook_message SET failed_at = now()
WHERE id = ANY(ARRAY(SELECT message_id FROM expired)) RETURNING id

-- name: count_waiting
SELECT count(*) FROM webhook_queue
