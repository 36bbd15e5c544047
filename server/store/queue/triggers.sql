-- The queue of triggers. Ranges of IDs are explained in id_ranges.py. Statements find their rows by `= ANY` or OFFSET 0, which force PostgreSQL to use an
-- index; see SESSION in triggers.py.

-- fragment: claimed_triggers
-- Each row of `claimed`, and its trigger if that is in the range.
SELECT claimed.trigger_id AS claimed_id, claimed.attempt, claimed.lane, claimed.sent_by, claimed.due_at,
    claimed.tries_from, claimed.expires_at, trigger.*, suppression.reason, earlier.doubts, earlier.may_have_arrived
FROM claimed
LEFT JOIN LATERAL (
    SELECT * FROM trigger WHERE id = claimed.trigger_id AND id >= :first_id AND id < :end_id OFFSET 0) AS trigger ON true
LEFT JOIN LATERAL (
    SELECT reason FROM suppression AS s WHERE s.project_id = trigger.project_id
        AND s.channel = trigger.channel
        AND s.address IN (suppression_address(trigger.channel, trigger.address), hashed_suppression(
            -- include: suppression_key
            , trigger.channel, trigger.address)) LIMIT 1
) AS suppression ON true
CROSS JOIN LATERAL ( -- an attempt that this statement records as lost is not visible yet
    SELECT count(*) FILTER (WHERE outcome = 'in_doubt' AND number > claimed.tries_from) AS doubts,
        count(*) > 0 OR claimed.trigger_id = ANY(ARRAY(
            SELECT trigger_id FROM due WHERE claimed_by IS NOT NULL)) AS may_have_arrived
    FROM attempt WHERE claimed.attempt > 1 AND trigger_id = claimed.trigger_id
        AND trigger_id >= :first_id AND trigger_id < :end_id AND outcome IN ('lost', 'in_doubt') OFFSET 0
) AS earlier

-- name: claim
-- A row that is due although it is claimed belonged to a dispatcher that died: its attempt is recorded as lost.
-- One row is always returned, because it also holds the database's time.
WITH due AS (
    SELECT share.lane, q.*
    FROM unnest(:lanes::text[], :slots::int4[], :floors::timestamptz[]) AS share (lane, slots, floor)
    CROSS JOIN LATERAL (
        SELECT trigger_id, attempt, claimed_by, claimed_at, sent_by, due_at FROM queue
        WHERE queue.lane = share.lane AND due_at <= now() AND due_at >= share.floor
        ORDER BY due_at LIMIT share.slots FOR UPDATE SKIP LOCKED) AS q
    WHERE NOT
        -- include: is_held
), claimed AS (
    UPDATE queue SET due_at = now() + make_interval(secs => :lease), attempt = queue.attempt + 1,
        claimed_by = :holder, claimed_at = now(),
        sent_by = (:providers::text[])[array_position(:lanes::text[], queue.lane)]
    WHERE queue.trigger_id = ANY(ARRAY(SELECT trigger_id FROM due))
    RETURNING queue.*
), lost AS (
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
    SELECT
        -- include: lost_attempt
    FROM due WHERE claimed_by IS NOT NULL
    ON CONFLICT (trigger_id, number) DO NOTHING
)
SELECT now() AS at,
    -- include: is_held
    AS held, found.*,
    ARRAY(SELECT (SELECT max(due.due_at) FROM due WHERE due.lane = share.lane)
        FROM unnest(:lanes::text[]) WITH ORDINALITY AS share (lane, place) ORDER BY place) AS reached
FROM (SELECT) AS always LEFT JOIN (
    -- include: claimed_triggers
) AS found ON true
ORDER BY found.claimed_id

-- name: read_claimed
-- The triggers of claims that are outside of the range of IDs in which the claim looked. Attempts that the claim recorded
-- as lost are visible now.
WITH claimed AS (
    SELECT * FROM queue WHERE trigger_id = ANY(:ids) AND claimed_by = :holder
), due AS (
    SELECT trigger_id, NULL::uuid AS claimed_by FROM claimed
)
-- include: claimed_triggers

-- name: finish
-- A dispatcher whose lease has ended may still report an outcome. "Delivered" is recorded even if another
-- dispatcher holds the row now; only the current holder may retry or give up.
WITH done AS (
    SELECT * FROM unnest(:ids::uuid[], :numbers::int4[], :providers::text[], :outcomes::text[],
        :started_at::timestamptz[], :durations::float8[], :provider_message_ids::text[], :errors::text[],
        :retry_in::float8[], :refusals::text[], :campaign_versions::int8[],
        :reached::boolean[]) AS f (trigger_id, number, provider, outcome, started_at, duration, provider_message_id,
        error, retry_in, refusal, campaign_version, reached_provider)
), recorded AS (
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error,
        campaign_version, reached_provider)
    SELECT trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error, campaign_version,
        reached_provider
    FROM done
    ON CONFLICT (trigger_id, number) DO UPDATE SET outcome = excluded.outcome,
        duration = excluded.duration, provider_message_id = excluded.provider_message_id,
        error = excluded.error, campaign_version = excluded.campaign_version,
        reached_provider = excluded.reached_provider, xid = pg_current_xact_id() -- so that watchers receive it again
    WHERE attempt.outcome = 'lost'
    RETURNING trigger_id, number, outcome, provider, provider_message_id, error
), removed AS (
    DELETE FROM queue USING done
    WHERE queue.trigger_id = ANY(:ids) AND queue.trigger_id = done.trigger_id
        AND (done.outcome = 'delivered' OR
            (done.outcome IN ('dead', 'suppressed', 'in_doubt') AND done.retry_in IS NULL
                AND queue.attempt = done.number AND queue.claimed_by = :holder))
    RETURNING done.trigger_id, done.number, done.provider, done.error, queue.lane LIKE '%/\_test' AS test,
        CASE done.outcome WHEN 'in_doubt' THEN 'dead' ELSE done.outcome END AS outcome
), dead AS (
    INSERT INTO dead_letter (trigger_id, error, test)
    SELECT trigger_id, error, test FROM removed WHERE outcome = 'dead'
    ON CONFLICT (trigger_id) DO UPDATE SET died_at = now(), error = excluded.error
), no_longer_dead AS (
    DELETE FROM dead_letter USING done
    WHERE dead_letter.trigger_id = ANY(:ids) AND dead_letter.trigger_id = done.trigger_id
        AND done.outcome = 'delivered'
), no_longer_cancelled AS ( -- the lease had ended and the caller cancelled the trigger; it was delivered all the same
    DELETE FROM cancellation USING done
    WHERE cancellation.trigger_id = ANY(:ids) AND cancellation.trigger_id = done.trigger_id
        AND done.outcome = 'delivered'
), suppressed AS (
    INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id)
    SELECT DISTINCT ON (t.project_id, t.channel, recipient)
        t.project_id, t.channel, recipient, done.refusal, done.provider, t.id
    FROM done CROSS JOIN LATERAL (
        SELECT *, suppression_address(channel, address) AS recipient FROM trigger
        WHERE id = done.trigger_id AND id >= :first_id AND id < :end_id OFFSET 0) AS t
    WHERE done.refusal <> '' AND t.address <> '' -- the person may have been erased after the lease had ended
    ON CONFLICT (project_id, channel, address) DO NOTHING
), news AS ( -- "delivered" counts even if the row is no longer queued; it is recorded only once
    SELECT trigger_id, outcome AS state, number AS attempts, provider, provider_message_id, error
    FROM recorded WHERE outcome = 'delivered'
    UNION ALL
    SELECT trigger_id, outcome, number, provider, '', error FROM removed WHERE outcome <> 'delivered'
),
-- include: webhook_messages
UPDATE queue SET due_at = now() + make_interval(secs => done.retry_in), claimed_by = NULL
FROM done WHERE queue.trigger_id = ANY(:ids) AND queue.trigger_id = done.trigger_id
    AND done.outcome IN ('retry', 'lost', 'in_doubt') AND done.retry_in IS NOT NULL
    AND queue.attempt = done.number AND queue.claimed_by = :holder

-- name: renew
UPDATE queue SET due_at = now() + make_interval(secs => :lease)
FROM unnest(:ids::uuid[], :numbers::int4[]) AS held (trigger_id, number)
WHERE queue.trigger_id = ANY(:ids) AND queue.trigger_id = held.trigger_id
    AND queue.attempt = held.number AND claimed_by = :holder
RETURNING queue.trigger_id AS id

-- name: release
UPDATE queue SET due_at = now() + make_interval(secs => released.wait), attempt = attempt - 1, claimed_by = NULL,
    lane =
        -- include: current_lane
FROM unnest(:ids::uuid[], :numbers::int4[], :waits::float8[]) AS released (trigger_id, number, wait)
WHERE queue.trigger_id = ANY(:ids) AND queue.trigger_id = released.trigger_id
    AND queue.attempt = released.number AND claimed_by = :holder

-- name: bury_expired
-- Triggers that were not claimed in time, because the provider was failing or the send window closed. A leased row is
-- left to its holder, which detects that it has expired. While sending is held, operators see the queue as it was.
WITH expired AS (
    DELETE FROM queue WHERE trigger_id = ANY(ARRAY(
        SELECT trigger_id FROM queue
        WHERE expires_at <= now() AND (claimed_by IS NULL OR due_at <= now()) AND NOT
            -- include: is_held
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING trigger_id, attempt, claimed_by, claimed_at, sent_by, lane LIKE '%/\_test' AS test,
        CASE WHEN claimed_by IS NOT NULL OR ARRAY['lost', 'in_doubt']
                && ARRAY(SELECT outcome FROM attempt WHERE attempt.trigger_id = queue.trigger_id)
            THEN :after_doubt::text ELSE :error::text END AS error
), recorded AS (
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
    SELECT
        -- include: lost_attempt
    FROM expired WHERE claimed_by IS NOT NULL
    UNION ALL
    SELECT trigger_id, attempt + 1, '', 'dead', now(), 0, '', error FROM expired
    ON CONFLICT (trigger_id, number) DO NOTHING
), news AS (
    SELECT trigger_id, 'dead' AS state, attempt + 1 AS attempts, '' AS provider,
        '' AS provider_message_id, error
    FROM expired
),
-- include: webhook_messages
INSERT INTO dead_letter (trigger_id, error, test) SELECT trigger_id, error, test FROM expired
ON CONFLICT (trigger_id) DO UPDATE SET died_at = now(), error = excluded.error
RETURNING trigger_id

-- name: move_misplaced
-- Moves triggers that have been due for a second, and whose campaign has another lane now, to that lane. It reads each
-- due row of the lane from the floor on, but writes only those that it moves. They become due now, because rows below
-- the floors of their new lane would not be found.
WITH misplaced AS MATERIALIZED (
    SELECT queue.trigger_id, queue.due_at FROM queue
    WHERE queue.lane = :lane AND queue.due_at >= :floor AND queue.due_at <= now() - interval '1 s' AND queue.lane <>
        -- include: current_lane
    ORDER BY queue.due_at LIMIT :limit FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE queue SET due_at = now(), lane =
        -- include: current_lane
    WHERE trigger_id = ANY(ARRAY(SELECT trigger_id FROM misplaced))
)
SELECT now() AS at, count(*) AS moved, max(due_at) AS reached FROM misplaced

-- name: lanes
WITH RECURSIVE
-- include: lanes
SELECT lane FROM lanes WHERE lane IS NOT NULL
