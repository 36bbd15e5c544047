-- fragment: matches
-- Whether the suppression `s` of project `p` matches; a parameter that is NULL matches all.
(:project::text IS NULL OR s.project_id = (SELECT id FROM project WHERE name = :project)) AND (:visible::int8[] IS NULL OR p.id = ANY(:visible))
AND (:channel::text IS NULL OR s.channel = :channel)
AND (:address::text IS NULL OR (
    s.address IN (suppression_address(s.channel, :address), hashed_suppression(
        -- include: suppression_key
        , s.channel, :address))
    AND s.address IN (:address, suppression_address('email', :address), hashed_suppression( -- for the index
        -- include: suppression_key
        , 'email', :address), hashed_suppression(
        -- include: suppression_key
        , '', :address))))
AND (:provider::text IS NULL OR s.provider = :provider)
AND (:reason::text IS NULL OR strpos(lower(s.reason), lower(:reason)) > 0)
AND (:since::timestamptz IS NULL OR s.created_at >= :since)

-- fragment: columns
s.project_id, p.name AS project, s.channel, s.address, s.reason, s.provider, s.trigger_id, s.created_at

-- fragment: is_older
(:before::timestamptz IS NULL OR
    (s.created_at, s.project_id, s.channel, s.address) < (:before, :before_project::int8, :before_channel::text, :before_address::text))

-- fragment: scanned
-- The newest suppressions, of which those that match are returned, so that no page takes long, however few match. An
-- index has their order.
SELECT * FROM suppression s WHERE
    -- include: is_older
    AND (:since::timestamptz IS NULL OR created_at >= :since)
    AND (:project::text IS NULL OR project_id = (SELECT id FROM project WHERE name = :project))
    AND (:only_visible::int8 IS NULL OR project_id = :only_visible)
ORDER BY created_at DESC, project_id DESC, channel DESC, address DESC

-- name: list
-- Run with the settings READING of pool.py, as the two that follow.
SELECT
    -- include: columns
FROM (
    -- include: scanned
    LIMIT :scan
) AS s JOIN project p ON p.id = s.project_id
WHERE
    -- include: matches
ORDER BY s.created_at DESC, s.project_id DESC, s.channel DESC, s.address DESC LIMIT :limit

-- name: last_scanned
-- The last suppression that `list` looks at, if there are as many.
SELECT created_at, project_id, channel, address FROM (
    -- include: scanned
    LIMIT 1 OFFSET :scan::int8 - 1
) AS s

-- name: list_of_address
-- The suppressions of an address are few.
SELECT
    -- include: columns
FROM suppression s JOIN project p ON p.id = s.project_id
WHERE
    -- include: matches
    AND
    -- include: is_older
ORDER BY s.created_at DESC, s.project_id DESC, s.channel DESC, s.address DESC LIMIT :limit

-- fragment: counts
p.name AS project, s.channel, s.provider, s.reason, count(*) AS recipients,
    min(s.created_at) AS first_at, max(s.created_at) AS last_at, sum(count(*)) OVER ()::int8 AS total

-- name: count
-- Run with the settings READING of pool.py. It looks at as many as `list`.
SELECT
    -- include: counts
FROM (
    -- include: scanned
    LIMIT :scan
) AS s JOIN project p ON p.id = s.project_id
WHERE
    -- include: matches
GROUP BY 1, 2, 3, 4 ORDER BY recipients DESC, first_at LIMIT :limit

-- name: count_of_address
SELECT
    -- include: counts
FROM suppression s JOIN project p ON p.id = s.project_id
WHERE
    -- include: matches
GROUP BY 1, 2, 3, 4 ORDER BY recipients DESC, first_at LIMIT :limit

-- name: add
INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id)
SELECT DISTINCT :project_id::int8, :channel::text, suppression_address(:channel, address), :reason::text, '', :no_trigger::uuid
FROM unnest(:addresses::text[]) AS given (address)
WHERE NOT EXISTS (SELECT FROM suppression AS s WHERE s.project_id = :project_id AND s.channel = :channel
    AND s.address = hashed_suppression(
        -- include: suppression_key
        , :channel, given.address))
ON CONFLICT (project_id, channel, address) DO NOTHING RETURNING address

-- name: now
SELECT now()

-- name: remove
WITH chosen AS (
    SELECT s.project_id, s.channel, s.address
    FROM suppression s JOIN project p ON p.id = s.project_id
    WHERE s.created_at <= :until AND
        -- include: matches
    LIMIT :limit FOR UPDATE OF s SKIP LOCKED
)
DELETE FROM suppression s USING chosen
WHERE (s.project_id, s.channel, s.address) = (chosen.project_id, chosen.channel, chosen.address)
RETURNING s.project_id, s.channel, s.address, s.created_at

-- fragment: can_be_sent
-- Whether the trigger `t` with its last attempt has ended, not been delivered, and not been cancelled.
last.outcome IN ('dead', 'suppressed')
AND NOT EXISTS (SELECT FROM queue WHERE trigger_id = t.id)
AND NOT EXISTS (SELECT FROM cancellation WHERE trigger_id = t.id) AND NOT
-- include: was_delivered

-- name: count_stopped
-- Run with the settings READING of pool.py. Among the newest messages, those that the suppressions have stopped; and how
-- many were looked at.
WITH stopped AS MATERIALIZED (
    (SELECT trigger_id, died_at AS ended_at, true AS is_dead FROM dead_letter ORDER BY trigger_id DESC LIMIT :scan)
    UNION ALL
    (SELECT trigger_id, started_at + interval '1 minute', false FROM attempt WHERE outcome = 'suppressed'
    ORDER BY trigger_id DESC LIMIT :scan)
), found AS MATERIALIZED (
    SELECT t.* FROM stopped CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = stopped.trigger_id OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT * FROM suppression WHERE (project_id, channel, address)
            = (t.project_id, t.channel, suppression_address(t.channel, t.address)) OFFSET 0) AS s
    JOIN project p ON p.id = s.project_id
    WHERE s.created_at <= stopped.ended_at AND
        -- include: matches
)
SELECT (SELECT greatest(count(*) FILTER (WHERE is_dead), count(*) FILTER (WHERE NOT is_dead)) FROM stopped) AS scanned,
    count(DISTINCT t.id) AS stopped
FROM found t JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id
-- include: join_last_attempt
WHERE
    -- include: can_be_sent

-- name: retry_stopped
-- Like a redrive, it uses the lane that the campaign has now, keeps the attempts on record, and lets the retry policy
-- count from zero. What they have stopped: dead letters since then, and messages that were not sent. `started_at` is the
-- time of a dispatcher's clock, which may be behind.
WITH gone AS MATERIALIZED (
    SELECT * FROM unnest(:projects::int8[], :channels::text[], :addresses::text[], :since::timestamptz[])
        AS g (project_id, channel, address, created_at)
), stopped AS (
    SELECT trigger_id, died_at AS ended_at FROM dead_letter WHERE died_at >= (SELECT min(created_at) FROM gone)
    UNION
    SELECT trigger_id, started_at + interval '1 minute' FROM attempt WHERE outcome = 'suppressed'
), chosen AS (
    SELECT DISTINCT t.id, coalesce(last.number, 0) AS attempts,
        -- include: lane_of_campaign
        AS lane
    FROM stopped JOIN trigger t ON t.id = stopped.trigger_id
    JOIN gone ON gone.project_id = t.project_id AND gone.channel = t.channel
        AND gone.address = suppression_address(t.channel, t.address) AND gone.created_at <= stopped.ended_at
    JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id
    -- include: join_last_attempt
    WHERE
        -- include: can_be_sent
), no_longer_dead AS (
    DELETE FROM dead_letter WHERE trigger_id = ANY(ARRAY(SELECT id FROM chosen))
)
INSERT INTO queue (trigger_id, lane, attempt, tries_from)
SELECT id, lane, attempts, attempts FROM chosen
ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id
