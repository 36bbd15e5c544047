-- name: delete_keys
DELETE FROM idempotency WHERE (project_id, key) IN (
    SELECT project_id, key FROM idempotency WHERE created_at < now() - make_interval(secs => :older_than)
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING 1

-- name: delete_messages
WITH old AS (
    DELETE FROM webhook_message WHERE id = ANY(ARRAY(
        SELECT id FROM webhook_message WHERE created_at < now() - make_interval(secs => :older_than)
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING id
), queued AS (
    DELETE FROM webhook_queue WHERE message_id = ANY(ARRAY(SELECT id FROM old))
), attempts AS (
    DELETE FROM webhook_attempt WHERE message_id = ANY(ARRAY(SELECT id FROM old))
)
SELECT FROM old

-- fragment: is_old
trigger_id < id_at(least(now() - make_interval(secs => :older_than),
    (SELECT time_of_id(trigger_id) FROM queue ORDER BY trigger_id LIMIT 1)))

-- name: delete_dead_letters
DELETE FROM dead_letter WHERE trigger_id = ANY(ARRAY(
    SELECT trigger_id FROM dead_letter WHERE
        -- include: is_old
    ORDER BY trigger_id LIMIT :limit))
RETURNING 1

-- name: delete_cancellations
DELETE FROM cancellation WHERE trigger_id = ANY(ARRAY(
    SELECT trigger_id FROM cancellation WHERE
        -- include: is_old
    ORDER BY trigger_id LIMIT :limit))
RETURNING 1

-- name: delete_other_attempts
-- Of triggers that no partition is for, because the clock that made their ID was wrong.
DELETE FROM attempt_rest WHERE (trigger_id, number) IN (
    SELECT trigger_id, number FROM attempt_rest WHERE
        -- include: is_old
    ORDER BY trigger_id LIMIT :limit)
RETURNING 1

-- name: delete_other_triggers
DELETE FROM trigger_rest WHERE id = ANY(ARRAY(
    SELECT id FROM (SELECT id AS trigger_id, id FROM trigger_rest) AS rest WHERE
        -- include: is_old
    ORDER BY id LIMIT :limit))
RETURNING 1

-- name: delete_audit_events
DELETE FROM audit_event WHERE id = ANY(ARRAY(
    SELECT id FROM audit_event WHERE occurred_at < now() - make_interval(secs => :older_than)
    ORDER BY id LIMIT :limit))
RETURNING 1

-- name: allow_audit_deletion
SELECT set_config('clarion.delete_old_audit_events', 'on', true)

-- name: content_days
-- The times for which content is kept: the default, and those of projects. A project whose times have just become
-- shorter keeps its content for the longer ones.
SELECT DISTINCT days FROM project p CROSS JOIN unnest(:channels::text[]) AS channel
CROSS JOIN days_of_content(p, channel, :standard) AS days
UNION SELECT :standard::int ORDER BY days

-- name: begin_removal
INSERT INTO content_removal (days) SELECT unnest(:days::int[]) ON CONFLICT DO NOTHING

-- name: begin_removal_again
-- A time that has become shorter also concerns triggers that have been passed.
UPDATE content_removal SET after = '00000000-0000-0000-0000-000000000000', started_at = now()
WHERE EXISTS (SELECT FROM project WHERE content_days_changed_at + interval '1 day' BETWEEN started_at AND now())
    OR EXISTS (SELECT FROM retention WHERE data = 'content' AND shortened_at BETWEEN started_at AND now())

-- name: remove_content
-- The next triggers of a time that have reached it, of any project: only those of projects with this time change. One
-- transaction moves the position, so a killed process repeats nothing and misses nothing. Returns a row if there may be
-- more.
WITH position AS MATERIALIZED (
    SELECT after FROM content_removal WHERE days = :days FOR UPDATE SKIP LOCKED
), next AS MATERIALIZED (
    SELECT id, project_id, channel FROM trigger
    WHERE id > (SELECT after FROM position) AND id < id_at(now() - make_interval(days => :days))
    ORDER BY id LIMIT :limit
), chosen AS MATERIALIZED (
    SELECT next.id, EXISTS (SELECT FROM queue WHERE trigger_id = next.id OFFSET 0) AS is_queued
    FROM next JOIN project p ON p.id = next.project_id
    WHERE days_of_content(p, next.channel, :standard) = :days
), later AS (
    INSERT INTO content_due (trigger_id, due_at) SELECT id, now() + interval '1 day' FROM chosen WHERE is_queued
    ON CONFLICT DO NOTHING
), removed AS (
    UPDATE trigger SET
        -- include: without_content
    WHERE id = ANY(ARRAY(SELECT id FROM chosen WHERE NOT is_queued)) AND address <> ''
)
UPDATE content_removal SET after = (SELECT id FROM next ORDER BY id DESC LIMIT 1)
WHERE days = :days AND EXISTS (SELECT FROM next)
RETURNING 1

-- name: remove_due_content
WITH due AS MATERIALIZED (
    SELECT trigger_id, EXISTS (SELECT FROM queue WHERE trigger_id = content_due.trigger_id OFFSET 0) AS is_queued
    FROM content_due WHERE due_at <= now() ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
), waiting AS (
    UPDATE content_due SET due_at = now() + interval '1 day'
    WHERE trigger_id = ANY(ARRAY(SELECT trigger_id FROM due WHERE is_queued))
), removed AS (
    UPDATE trigger SET
        -- include: without_content
    WHERE id = ANY(ARRAY(SELECT trigger_id FROM due WHERE NOT is_queued)) AND address <> ''
)
DELETE FROM content_due WHERE trigger_id = ANY(ARRAY(SELECT trigger_id FROM due WHERE NOT is_queued))
RETURNING 1

-- name: delete_operations
-- IDs are in the order of time, so only operations that were created that long ago are read.
DELETE FROM bulk_operation WHERE id = ANY(ARRAY(
    SELECT id FROM bulk_operation
    WHERE id < id_at(now() - make_interval(secs => :older_than)) AND ended_at < now() - make_interval(secs => :older_than)
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING 1
