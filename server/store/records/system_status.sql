-- What `clarion status` reads in addition to the figures.

-- name: processes
-- Those that ended without removing themselves stay for 15 minutes; see presence.sql.
SELECT id, role, version, host, started_at, seen_at, clock_offset, write_seconds FROM server_process
ORDER BY role DESC, seen_at DESC LIMIT 200

-- name: replication
-- Without pg_read_all_stats, the other columns of pg_stat_replication are empty.
SELECT (SELECT count(*) FROM pg_stat_replication) AS replicas,
    current_setting('synchronous_standby_names') <> '' AS is_synchronous, now() AS now

-- name: recent_dead_letters
SELECT count(*) FROM (
    SELECT FROM dead_letter WHERE NOT test AND died_at > now() - interval '1 hour' LIMIT :most) AS recent

-- name: dead_letter_errors
-- The newest dead letters by error, with digits replaced; the largest group first. The campaign is that of the last one.
WITH newest AS (
    SELECT trigger_id, left(regexp_replace(error, '[0-9]', '#', 'g'), 200) AS error, died_at
    FROM dead_letter WHERE NOT test ORDER BY died_at DESC LIMIT :most
), grouped AS (
    SELECT error, count(*) AS count, max(died_at) AS last_at,
        (array_agg(trigger_id ORDER BY died_at DESC))[1] AS last_id
    FROM newest GROUP BY 1 ORDER BY count DESC, last_at DESC LIMIT :limit
)
SELECT error, count, last_at, coalesce(campaign_id, 0) AS campaign_id, coalesce(project.name, '') AS project
FROM grouped LEFT JOIN trigger ON trigger.id = last_id LEFT JOIN project ON project.id = trigger.project_id
ORDER BY count DESC, last_at DESC

-- name: failing_webhooks
-- The endpoints whose messages fail: at least one is queued again after a failed attempt, and none of the newest ones was
-- delivered, except such as were created within the last seconds. Failed messages are due last, because they wait.
SELECT webhook.id, project.name AS project, waiting.count AS waiting, failed.error
FROM webhook JOIN project ON project.id = webhook.project_id
CROSS JOIN LATERAL (SELECT message_id FROM (
    SELECT message_id, attempt - (claimed_by IS NOT NULL AND due_at > now())::int AS failures
    FROM webhook_queue WHERE webhook_id = webhook.id ORDER BY due_at DESC LIMIT 100) AS last
    WHERE failures > 0 LIMIT 1) AS failing
CROSS JOIN LATERAL (SELECT error FROM webhook_attempt
    WHERE message_id = failing.message_id AND outcome <> 'delivered' ORDER BY number DESC LIMIT 1) AS failed
CROSS JOIN LATERAL (SELECT count(*) AS count FROM (
    SELECT FROM webhook_queue WHERE webhook_id = webhook.id LIMIT :most) AS queued) AS waiting
WHERE webhook.state = 'active' AND NOT EXISTS (
    SELECT FROM (SELECT id FROM webhook_message WHERE webhook_id = webhook.id AND created_at > now() - interval '1 hour'
            AND created_at < now() - interval '15 s'
        ORDER BY created_at DESC LIMIT 20) AS newest
    JOIN webhook_attempt ON message_id = newest.id AND outcome = 'delivered')
ORDER BY waiting DESC, webhook.id LIMIT :limit
