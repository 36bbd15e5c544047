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
    , t.address, t.timezone, t.locale, t.user_data, t.event, t.traceparent,
    ARRAY(SELECT body FROM webhook_message WHERE trigger_id = t.id ORDER BY created_at, id) AS webhook_bodies
FROM chosen CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = chosen.id OFFSET 0) AS t
-- include: join_records
ORDER BY t.id

-- name: addresses
-- All addresses of a person, by channel, as suppressions have them. Those that content had before it was removed are
-- unknown.
SELECT DISTINCT t.channel, suppression_address(t.channel, t.address) AS address
FROM trigger t WHERE t.project_id = :project_id AND t.external_id = :external_id::text AND t.address <> ''
UNION
SELECT channel, suppression_address(channel, address)
FROM unnest(:channels::text[]) AS channel CROSS JOIN unnest(:addresses::text[]) AS address

-- name: suppressions
SELECT s.project_id, p.name AS project, s.channel, s.address, s.reason, s.provider, s.trigger_id, s.created_at
FROM unnest(:channels::text[], :addresses::text[]) AS given (channel, address)
CROSS JOIN LATERAL (
    SELECT * FROM suppression WHERE project_id = :project_id AND channel = given.channel AND address = given.address OFFSET 0) AS s
JOIN project p ON p.id = s.project_id
ORDER BY s.created_at, s.channel, s.address
