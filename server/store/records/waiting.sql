-- name: find_queued
-- What determines when a queued trigger is sent. Triggers ahead of it are counted with its lane's index.
SELECT now() AS now, queue.due_at, t.send_at, t.timezone, p.timezone AS project_timezone,
    c.send_window::text AS send_window, last.outcome AS last_outcome,
    sending.held_at, sending.held_by, sending.reason AS hold_reason,
    CASE WHEN queue.claimed_by IS NOT NULL THEN queue.sent_by END AS sent_by,
    -- include: current_lane
    AS lane,
    (SELECT count(*) FROM (
        SELECT FROM queue AS earlier WHERE earlier.lane = queue.lane AND earlier.due_at < queue.due_at
        LIMIT :most_ahead) AS counted) AS ahead
FROM queue JOIN trigger t ON t.id = queue.trigger_id JOIN project p ON p.id = t.project_id
LEFT JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id
LEFT JOIN sending ON sending.only_row
-- include: join_last_attempt
WHERE queue.trigger_id = :id

-- name: find_dispatchers
-- As in presence.sql, a dispatcher is running if it was seen in the last 10 seconds. One row is always returned,
-- because it also holds the database's time.
SELECT now() AS now, d.id, d.seen_at, d.providers FROM (SELECT) AS always
LEFT JOIN server_process d ON d.role = 'dispatcher' AND d.seen_at > now() - interval '10 s'
