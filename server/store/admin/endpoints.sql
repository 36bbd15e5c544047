-- fragment: endpoint_columns
w.id, w.project_id, w.url, w.events, w.state, w.created_at, w.disabled_because, w.previous_until,
(SELECT name FROM project WHERE project.id = w.project_id) AS project

-- name: lock_project
-- The lock makes concurrent calls count each other's endpoints.
SELECT id FROM project WHERE name = :name FOR UPDATE

-- name: count
SELECT count(*) FROM webhook WHERE project_id = :project_id

-- name: create
INSERT INTO webhook AS w (project_id, url, events, secret) VALUES (:project_id, :url, :events, :secret)
RETURNING
    -- include: endpoint_columns

-- name: list
SELECT
    -- include: endpoint_columns
FROM webhook w WHERE :projects::int8[] IS NULL OR w.project_id = ANY(:projects) ORDER BY w.created_at DESC, w.id

-- name: set_events
UPDATE webhook w SET events = :events WHERE id = :id
RETURNING
    -- include: endpoint_columns

-- name: find
SELECT
    -- include: endpoint_columns
FROM webhook w WHERE id = :id

-- name: rotate_secret
UPDATE webhook w SET secret = :secret, previous_secret = CASE WHEN :keep_previous THEN secret ELSE '' END,
    previous_until = CASE WHEN :keep_previous THEN now() + :overlap::interval END
WHERE id = :id
RETURNING
    -- include: endpoint_columns

-- name: set_state
UPDATE webhook w SET state = :state, disabled_because = :because WHERE id = :id
RETURNING
    -- include: endpoint_columns

-- name: delete
DELETE FROM webhook w WHERE id = :id
RETURNING
    -- include: endpoint_columns

-- name: delete_queued
DELETE FROM webhook_queue WHERE webhook_id = :id

-- name: send_test
WITH message AS (
    INSERT INTO webhook_message (webhook_id, type, body)
    SELECT id, :type, json_build_object('type', :type::text,
        'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', json_build_object('webhook_id', id))::text
    FROM webhook WHERE id = :id AND state = 'active'
    RETURNING id, webhook_id
)
INSERT INTO webhook_queue (message_id, webhook_id, expires_at)
SELECT id, webhook_id, now() + make_interval(secs => :message_ttl) FROM message RETURNING message_id

-- name: active_targets
SELECT id, url, secret, previous_secret, previous_until FROM webhook WHERE state = 'active'
