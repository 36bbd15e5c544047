-- Changes of many deliveries, and the steps in which the servers make them.

-- name: create
INSERT INTO bulk_operation
    (id, kind, filter, projects, matching, is_partial, actor_kind, actor, actor_key, session_id, owner,
        address, request_id)
VALUES (:id, :kind, :filter::text::jsonb, :projects, :matching, :is_partial, :actor_kind, :actor, :actor_key, :session_id,
        :owner, :address, :request_id)
RETURNING *

-- name: lock_starts
-- Operations start one after another, so that `count_running` counts all.
SELECT pg_advisory_xact_lock(hashtextextended('bulk_operation', 0))

-- name: count_running
-- Operations that an older version started have no owner. Their callers are compared by their names.
SELECT
    count(*) FILTER (WHERE CASE WHEN owner IS NOT NULL THEN owner = :owner::text
        WHEN :actor_key::uuid IS NULL THEN actor_key IS NULL AND actor = :actor::text
        ELSE actor_key = :actor_key END) AS own,
    count(*) FILTER (WHERE :projects::int8[] IS NULL OR projects IS NULL OR projects && :projects) AS of_projects
FROM bulk_operation WHERE state = 'running'

-- name: find
SELECT * FROM bulk_operation WHERE id = :id AND (:visible::int8[] IS NULL OR projects <@ :visible)

-- name: lock
SELECT * FROM bulk_operation WHERE id = :id FOR UPDATE

-- name: list
SELECT * FROM bulk_operation
WHERE (:visible::int8[] IS NULL OR projects <@ :visible) AND (:after::uuid IS NULL OR id < :after)
ORDER BY id DESC LIMIT :limit

-- name: claim
-- The operation that has waited longest for its next step. Other servers skip the locked row.
SELECT * FROM bulk_operation WHERE state = 'running' ORDER BY updated_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: advance
UPDATE bulk_operation SET after = :after, changed = changed + :changed, updated_at = clock_timestamp()
WHERE id = :id

-- name: end
UPDATE bulk_operation SET state = :state, updated_at = clock_timestamp(), ended_at = clock_timestamp()
WHERE id = :id AND state = 'running' RETURNING *

-- name: next_dead
SELECT trigger_id FROM dead_letter WHERE trigger_id > :after ORDER BY trigger_id LIMIT :limit

-- name: next_queued
SELECT trigger_id FROM queue WHERE trigger_id > :after AND trigger_id < :end_id ORDER BY trigger_id LIMIT :limit
