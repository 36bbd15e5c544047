-- Pages and counts of deliveries of several projects, the newest first, for operators. `scanned` is a bounded number of triggers
-- from the index that fits the filters best; those that match are returned. So no page takes long, however few match.
-- The statements are run with the settings READING of pool.py and planned anew for each call.

-- fragment: scanned_of_user
WITH scanned AS MATERIALIZED (
    SELECT s.id FROM unnest(:projects::int8[]) AS one CROSS JOIN LATERAL (
        SELECT id FROM trigger WHERE project_id = one AND external_id = :external_id AND
            -- include: id_in_range
        ORDER BY id DESC LIMIT :scan) AS s
    ORDER BY s.id DESC LIMIT :scan
)

-- fragment: scanned_of_address
WITH scanned AS MATERIALIZED (
    SELECT id FROM trigger WHERE address = :address AND
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)

-- fragment: scanned_of_dead_letters
WITH scanned AS MATERIALIZED (
    SELECT id FROM (SELECT trigger_id AS id FROM dead_letter) AS dead WHERE
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)

-- fragment: matching
-- The rows of `scanned` that match, and one row in any case: with the last trigger that was scanned, and how many. Tables are
-- joined in this order (join_collapse_limit), so that triggers that do not match are dropped after few look-ups.
SELECT found.*, looked_at.last AS last_scanned, looked_at.count AS scanned
FROM (SELECT count(*) AS count, (array_agg(id ORDER BY id))[1] AS last FROM scanned) AS looked_at
LEFT JOIN (
    SELECT t.id, t.project_id, p.name AS project, t.campaign_id, t.channel, t.external_id, t.address, t.test, t.retain, t.accepted_at,
        t.test_content IS NOT NULL AS test_send,
        -- include: delivery_state
        AS state,
        coalesce(last.number, 0) AS attempts, coalesce(last.provider, '') AS provider,
        coalesce(last.error, '') AS error
    FROM (SELECT id FROM scanned ORDER BY id DESC) AS s
    CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = s.id AND
        -- include: id_in_range
    OFFSET 0) AS t
    -- include: join_attempts
    LEFT JOIN LATERAL (SELECT * FROM queue WHERE trigger_id = t.id OFFSET 0) AS q ON true
    LEFT JOIN LATERAL (SELECT * FROM dead_letter WHERE trigger_id = t.id OFFSET 0) AS d ON true
    LEFT JOIN LATERAL (SELECT * FROM cancellation WHERE trigger_id = t.id OFFSET 0) AS c ON true
    CROSS JOIN LATERAL (SELECT name FROM project WHERE id = t.project_id OFFSET 0) AS p
    WHERE
        -- include: matches_admin_filter
        AND (:state::text IS NULL OR :state IN ('pending', 'sending', 'retrying') OR q.trigger_id IS NULL)
        AND (:state::text IS NULL OR
            -- include: delivery_state
            = :state)
    LIMIT :limit
) AS found ON true
ORDER BY found.id DESC

-- name: project_ids
SELECT id FROM project WHERE (:visible::int8[] IS NULL OR id = ANY(:visible)) AND (:project::text IS NULL OR name = :project)

-- name: of_user
-- include: scanned_of_user
-- include: matching

-- name: of_campaign
WITH scanned AS MATERIALIZED (
    SELECT s.id FROM unnest(:projects::int8[]) AS one CROSS JOIN LATERAL (
        SELECT id FROM trigger WHERE project_id = one AND campaign_id = :campaign_id AND
            -- include: id_in_range
        ORDER BY id DESC LIMIT :scan) AS s
    ORDER BY s.id DESC LIMIT :scan
)
-- include: matching

-- name: of_address
-- include: scanned_of_address
-- include: matching

-- name: of_all
WITH scanned AS MATERIALIZED (
    SELECT id FROM trigger WHERE
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)
-- include: matching

-- name: of_queue
WITH scanned AS MATERIALIZED (
    SELECT id FROM (SELECT trigger_id AS id FROM queue) AS queued WHERE
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)
-- include: matching

-- name: of_dead_letters
-- include: scanned_of_dead_letters
-- include: matching

-- name: of_cancelled
WITH scanned AS MATERIALIZED (
    SELECT id FROM (SELECT trigger_id AS id FROM cancellation) AS cancelled WHERE
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)
-- include: matching

-- name: of_suppressed
WITH scanned AS MATERIALIZED (
    SELECT DISTINCT ON (id) id FROM (SELECT trigger_id AS id FROM attempt WHERE outcome = 'suppressed') AS suppressed WHERE
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)
-- include: matching

-- fragment: counting
-- How many of `scanned` match, and how many there are. The last attempt is read only if a filter needs it. Conditions that
-- follow have OFFSET 0, so that each trigger is looked up.
SELECT (SELECT count(*) FROM scanned) AS scanned, count(*) AS matching
FROM scanned CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = scanned.id AND
    -- include: id_in_range
OFFSET 0) AS t
JOIN project p ON p.id = t.project_id
LEFT JOIN LATERAL (
    SELECT provider, error FROM attempt a WHERE :needs_attempt::boolean AND a.trigger_id = t.id
    ORDER BY a.number DESC LIMIT 1) AS last ON true
WHERE
    -- include: matches_admin_filter

-- fragment: is_waiting
-- Whether a row of `queue` can be cancelled: it is not being sent.
(claimed_by IS NULL OR due_at <= now())

-- name: count_dead
-- include: scanned_of_dead_letters
-- include: counting
AND t.address <> ''

-- name: count_dead_of_user
-- include: scanned_of_user
-- include: counting
AND t.address <> '' AND EXISTS (SELECT FROM dead_letter WHERE trigger_id = t.id OFFSET 0)

-- name: count_dead_of_address
-- include: scanned_of_address
-- include: counting
AND t.address <> '' AND EXISTS (SELECT FROM dead_letter WHERE trigger_id = t.id OFFSET 0)

-- name: count_waiting
WITH scanned AS MATERIALIZED (
    SELECT id FROM (
        SELECT trigger_id AS id FROM queue WHERE
            -- include: is_waiting
    ) AS queued WHERE
        -- include: id_in_range
    ORDER BY id DESC LIMIT :scan
)
-- include: counting

-- name: count_waiting_of_user
-- include: scanned_of_user
-- include: counting
AND EXISTS (SELECT FROM queue WHERE trigger_id = t.id AND
    -- include: is_waiting
OFFSET 0)

-- name: count_waiting_of_address
-- include: scanned_of_address
-- include: counting
AND EXISTS (SELECT FROM queue WHERE trigger_id = t.id AND
    -- include: is_waiting
OFFSET 0)

-- name: dead_letter_groups
-- Groups of the newest dead letters, without tests. Digits differ between messages of the same cause. IDs are in the order
-- of time, so that the sample is the newest; hashing finds the groups, without sorting by long texts.
SELECT p.name AS project, g.campaign_id, g.provider, g.error, g.dead_letters, g.first_at, g.last_at, g.sample_id
FROM (
    SELECT t.project_id, t.campaign_id, coalesce(last.provider, '') AS provider,
        -- include: error_group
        AS error, count(*) AS dead_letters, min(d.died_at) AS first_at,
        max(d.died_at) AS last_at, max(t.id::text)::uuid AS sample_id
    FROM (SELECT * FROM dead_letter WHERE NOT test ORDER BY died_at DESC LIMIT :scan) AS d
    CROSS JOIN LATERAL (SELECT id, project_id, campaign_id FROM trigger WHERE id = d.trigger_id OFFSET 0) AS t
    -- include: join_last_attempt
    WHERE t.project_id = ANY(:projects)
    GROUP BY 1, 2, 3, 4 ORDER BY dead_letters DESC, last_at DESC LIMIT :limit) AS g
CROSS JOIN LATERAL (SELECT name FROM project WHERE id = g.project_id OFFSET 0) AS p
ORDER BY g.dead_letters DESC, g.last_at DESC

-- name: detail
-- A delivery, and what else the record knows of its trigger.
SELECT t.address, t.traceparent, t.retain, p.name AS project, coalesce(k.name, '') AS key_name, t.test_content IS NOT NULL AS test_send,
    -- include: delivery_columns
FROM trigger t JOIN project p ON p.id = t.project_id LEFT JOIN api_key k ON k.id = t.key_id
-- include: join_records
WHERE t.id = :id AND t.id >= :first_id AND t.id < :end_id
