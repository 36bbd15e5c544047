-- What a project has about a person, who is named by their external_id, their addresses, or both.

-- fragment: person_triggers
-- Their triggers after `after`. Each half has its own index.
SELECT id FROM (
    (SELECT t.id FROM trigger t WHERE t.project_id = :project_id AND t.external_id = :external_id::text AND t.id > :after
    ORDER BY t.id LIMIT :limit)
    UNION
    (SELECT t.id FROM trigger t WHERE t.project_id = :project_id AND t.address = ANY(:addresses::text[]) AND t.id > :after
    ORDER BY t.id LIMIT :limit)
) AS either ORDER BY id LIMIT :limit

-- name: export
WITH chosen AS MATERIALIZED (
    -- include: person_triggers
)
SELECT
    -- include: delivery_columns
    , t.address, t.timezone, t.locale, t.traceparent,
    CASE t.retain WHEN '' THEN t.user_data ELSE '' END AS user_data, -- not even before they are removed
    CASE t.retain WHEN '' THEN t.event ELSE '' END AS event,
    ARRAY(SELECT body FROM webhook_message WHERE trigger_id = t.id ORDER BY created_at, id) AS webhook_bodies
FROM chosen CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = chosen.id AND
    -- include: id_in_range
OFFSET 0) AS t
-- include: join_records
ORDER BY t.id

-- name: addresses
-- All addresses of a person, by channel. Those that content had before it was removed are
-- unknown.
SELECT DISTINCT t.channel, t.address
FROM trigger t WHERE t.project_id = :project_id AND t.external_id = :external_id::text AND t.address <> ''
UNION
SELECT channel, address
FROM unnest(:channels::text[]) AS channel CROSS JOIN unnest(:addresses::text[]) AS address

-- name: suppressions
SELECT DISTINCT s.project_id, p.name AS project, s.channel, s.address, s.reason, s.provider, s.trigger_id, s.created_at
FROM unnest(:channels::text[], :addresses::text[]) AS given (channel, address)
CROSS JOIN LATERAL (
    SELECT * FROM suppression WHERE project_id = :project_id AND channel = given.channel
        AND address IN (suppression_address(given.channel, given.address), hashed_suppression(
            -- include: suppression_key
            , given.channel, given.address)) OFFSET 0) AS s
JOIN project p ON p.id = s.project_id
ORDER BY s.created_at, s.channel, s.address

-- name: choose
-- Their next triggers, with those that are being sent.
WITH chosen AS MATERIALIZED (
    -- include: person_triggers
)
SELECT t.id, t.channel, t.address
FROM chosen CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = chosen.id OFFSET 0) AS t ORDER BY t.id

-- name: lock_dead_letters
-- So that they are not retried meanwhile.
SELECT FROM dead_letter WHERE trigger_id = ANY(:ids::uuid[]) FOR UPDATE

-- name: erase
-- Of triggers that are not queued, leaves an anonymous record. The ID of a message at its provider would lead to the
-- person. Answers of webhook receivers may repeat what they received.
WITH erased AS (
    UPDATE trigger SET external_id = '[erased]', timezone = '', locale = '',
        -- include: without_content
    WHERE id = ANY(:ids::uuid[]) AND (external_id <> '[erased]' OR address <> '')
        AND NOT EXISTS (SELECT FROM queue WHERE trigger_id = trigger.id)
    RETURNING id
), attempts AS (
    UPDATE attempt SET provider_message_id = ''
    WHERE trigger_id = ANY(ARRAY(SELECT id FROM erased)) AND provider_message_id <> ''
), due AS (
    DELETE FROM content_due WHERE trigger_id = ANY(ARRAY(SELECT id FROM erased))
), messages AS (
    UPDATE webhook_message SET body = jsonb_set(
        jsonb_set(body::jsonb, '{data,external_id}', '"[erased]"'), '{data,provider_message_id}', 'null')::text
    WHERE trigger_id = ANY(ARRAY(SELECT id FROM erased))
    RETURNING id
), answers AS (
    UPDATE webhook_attempt SET answer = '' WHERE message_id = ANY(ARRAY(SELECT id FROM messages)) AND answer <> ''
)
SELECT ARRAY(SELECT id FROM erased) AS ids, (SELECT count(*) FROM messages) AS webhook_messages

-- name: allow_audit_erasure
SELECT set_config('clarion.erase_from_audit', 'on', true)

-- name: erase_from_audit
-- Removed suppressions and bulk operations have what they were selected by; tests, a part of the address. Without the
-- project, an event belongs to several projects.
UPDATE audit_event SET
    before = CASE WHEN before->>'address' = ANY(:addresses::text[]) THEN before || '{"address": "[erased]"}' ELSE before END,
    after = CASE
        WHEN after ? 'filter' THEN jsonb_set(after, '{filter}', (
            SELECT jsonb_agg(CASE WHEN one = ANY(:filters::text[]) THEN split_part(one, ': ', 1) || ': [erased]' ELSE one END)
            FROM jsonb_array_elements_text(after->'filter') AS one))
        WHEN after ? 'recipient' THEN after || '{"recipient": "[erased]"}'
        ELSE after END
WHERE (project_id = :project_id OR (project_id IS NULL AND :of_all::boolean)) AND (
    (action = 'suppressions.remove' AND before->>'address' = ANY(:addresses))
    OR (action = 'operation.start' AND after->'filter' ?| :filters)
    OR (action = 'campaign.send_test' AND after->>'recipient' <> '[erased]' AND (after->>'trigger_id')::uuid = ANY(:ids::uuid[])))
RETURNING id

-- fragment: operation_of_person
-- Whether a bulk operation selects the person.
(projects <@ ARRAY[:project_id::int8] OR (projects IS NULL AND :of_all::boolean))
AND (filter->>'external_id' = :external_id::text OR filter->>'address' = ANY(:addresses::text[]))

-- name: erase_from_operations
UPDATE bulk_operation SET filter = filter
    || CASE WHEN filter->>'external_id' = :external_id THEN '{"external_id": "[erased]"}'::jsonb ELSE '{}' END
    || CASE WHEN filter->>'address' = ANY(:addresses) THEN '{"address": "[erased]"}'::jsonb ELSE '{}' END
WHERE state <> 'running' AND
    -- include: operation_of_person
RETURNING id

-- name: count_running
SELECT count(*) FROM bulk_operation WHERE state = 'running' AND
    -- include: operation_of_person

-- name: create_key
-- 366 random bits. Two processes that begin at once use the same.
INSERT INTO suppression_key (key) SELECT sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
ON CONFLICT DO NOTHING

-- name: hash_suppressions
WITH plain AS (
    DELETE FROM suppression s USING unnest(:channels::text[], :addresses::text[]) AS given (channel, address)
    WHERE s.project_id = :project_id AND s.channel = given.channel
        AND s.address = suppression_address(given.channel, given.address)
    RETURNING s.*
)
INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id, created_at)
SELECT project_id, channel, hashed_suppression(
    -- include: suppression_key
    , channel, address), reason, provider, trigger_id, created_at
FROM plain ON CONFLICT DO NOTHING RETURNING address
