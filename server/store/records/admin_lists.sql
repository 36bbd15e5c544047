-- Operations on many deliveries.

-- name: redrive
-- A dead letter returns to the lane that its campaign has now. Its attempts stay on record, but the retry policy counts
-- from zero.
WITH chosen AS (
    SELECT t.id, coalesce(last.number, 0) AS attempts,
        -- include: lane_of_campaign
        AS lane
    FROM dead_letter d JOIN trigger t ON t.id = d.trigger_id JOIN project p ON p.id = t.project_id
    JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id
    -- include: join_last_attempt
    WHERE (:ids::uuid[] IS NULL OR d.trigger_id = ANY(:ids)) AND
        -- include: matches_admin_filter
        AND d.died_at <= :died_by AND t.address <> '' AND NOT -- the content may be past its retention time
        -- include: was_delivered
    ORDER BY d.died_at LIMIT :limit FOR UPDATE OF d SKIP LOCKED
), no_longer_dead AS (
    DELETE FROM dead_letter WHERE trigger_id = ANY(ARRAY(SELECT id FROM chosen))
)
INSERT INTO queue (trigger_id, lane, attempt, tries_from)
SELECT id, lane, attempts, attempts FROM chosen
ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id

-- name: redrive_suppressed
-- Like a dead letter, a message that was not sent because its recipient was suppressed returns to the queue; but only
-- once the recipient is no longer suppressed.
WITH chosen AS (
    SELECT t.id, last.number AS attempts,
        -- include: lane_of_campaign
        AS lane
    FROM trigger t JOIN project p ON p.id = t.project_id
    JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id
    -- include: join_last_attempt
    WHERE t.id = ANY(:ids::uuid[]) AND last.outcome = 'suppressed' AND t.address <> '' AND
        -- include: matches_admin_filter
        AND NOT EXISTS (SELECT FROM cancellation WHERE trigger_id = t.id)
        AND NOT EXISTS (SELECT FROM suppression s WHERE s.project_id = t.project_id AND s.channel = t.channel
            AND s.address IN (suppression_address(t.channel, t.address), hashed_suppression(
                -- include: suppression_key
                , t.channel, t.address)))
        AND NOT
        -- include: was_delivered
    FOR UPDATE OF t
)
INSERT INTO queue (trigger_id, lane, attempt, tries_from)
SELECT id, lane, attempts, attempts FROM chosen
ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id

-- name: by_project
SELECT project_id, array_agg(id) AS ids FROM trigger WHERE id = ANY(:ids::uuid[]) GROUP BY project_id ORDER BY project_id

-- name: count_dead
SELECT count(*) FROM dead_letter d JOIN trigger t ON t.id = d.trigger_id JOIN project p ON p.id = t.project_id
-- include: join_last_attempt
WHERE d.trigger_id = ANY(:ids::uuid[]) AND t.address <> '' AND
    -- include: matches_admin_filter

-- name: without_content
-- One that is not retried, because its content has been removed.
SELECT t.id, t.retain FROM trigger t JOIN project p ON p.id = t.project_id
-- include: join_last_attempt
WHERE t.id = ANY(:ids::uuid[]) AND t.address = '' AND
    -- include: matches_admin_filter
LIMIT 1

-- name: count_queued
SELECT count(*) FROM queue q JOIN trigger t ON t.id = q.trigger_id JOIN project p ON p.id = t.project_id
-- include: join_last_attempt
WHERE q.trigger_id = ANY(:ids::uuid[]) AND (q.claimed_by IS NULL OR q.due_at <= now()) AND
    -- include: matches_admin_filter

-- name: now
SELECT now()

-- name: oldest_due
-- One index look-up for each lane.
SELECT split_part(lane, '/', 1) AS channel,
    extract(epoch FROM now() - min(oldest))::float8 AS age
FROM unnest(:lanes::text[]) AS lane CROSS JOIN LATERAL (
    SELECT due_at AS oldest FROM queue WHERE queue.lane = lane.lane AND due_at <= now()
    ORDER BY due_at LIMIT 1) AS front
GROUP BY 1

-- name: backlog
-- Counts up to `most` due triggers of each lane, and the `most` that are due next. Leases are short, so those that are
-- being sent are among the latter.
WITH RECURSIVE
-- include: lanes
SELECT split_part(lane, '/', 1) AS channel, split_part(lane, '/', 2) AS providers, due, later, sending,
    coalesce(extract(epoch FROM now() - oldest), 0)::float8 AS oldest_due
FROM lanes
CROSS JOIN LATERAL (
    SELECT count(*) AS due, min(due_at) AS oldest FROM (
        SELECT due_at FROM queue WHERE queue.lane = lanes.lane AND due_at <= now()
        ORDER BY due_at LIMIT :most) AS front) AS front
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE claimed_by IS NULL) AS later,
        count(*) FILTER (WHERE claimed_by IS NOT NULL) AS sending FROM (
        SELECT claimed_by FROM queue WHERE queue.lane = lanes.lane AND due_at > now()
        ORDER BY due_at LIMIT :most) AS next) AS next
WHERE lane IS NOT NULL ORDER BY lane

-- name: count_dead_letters
SELECT count(*) FROM dead_letter WHERE NOT test
