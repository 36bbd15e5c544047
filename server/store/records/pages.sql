-- Pages of a project's triggers, the newest first. A parameter that is NULL excludes nothing: PostgreSQL plans these
-- statements anew for each call (see READING in pool.py) and drops such conditions, so that each combination of
-- parameters gets the best plan for it.

-- fragment: matches_owner
-- Conditions on the columns of `trigger`.
project_id = :project_id
AND (:campaign_id::int8 IS NULL OR campaign_id = :campaign_id)
AND (:external_id::text IS NULL OR external_id = :external_id)
AND (:test::boolean IS NULL OR test = :test)

-- fragment: matches_filter
-- include: matches_owner
AND (:since::timestamptz IS NULL OR accepted_at >= :since)
AND (:before::timestamptz IS NULL OR accepted_at < :before)

-- fragment: deliveries_of_chosen
SELECT
    -- include: delivery_columns
FROM chosen CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = chosen.id AND
        -- include: id_in_range
    OFFSET 0) AS t
-- include: join_records
ORDER BY t.id DESC

-- fragment: newest_in_state
WHERE
    -- include: id_in_range
ORDER BY id DESC OFFSET 0) AS s
CROSS JOIN LATERAL (
    SELECT * FROM trigger WHERE id = s.id AND
        -- include: matches_filter
        AND
        -- include: id_in_range
    OFFSET 0) AS t
-- include: join_records
WHERE
    -- include: delivery_state
    = :state
ORDER BY s.id DESC LIMIT :limit

-- name: page_of_queue
-- Pages of all triggers in a state, of any project, in the order of the index on their ids.
-- Other states have too many triggers for this.
WITH chosen AS MATERIALIZED (
    SELECT DISTINCT ON (s.id) s.id FROM (
        SELECT id FROM (SELECT trigger_id AS id FROM queue) AS queued
        -- include: newest_in_state
)
-- include: deliveries_of_chosen

-- name: page_of_dead_letters
WITH chosen AS MATERIALIZED (
    SELECT DISTINCT ON (s.id) s.id FROM (
        SELECT id FROM (SELECT trigger_id AS id FROM dead_letter) AS dead
        -- include: newest_in_state
)
-- include: deliveries_of_chosen

-- name: page_of_suppressed
WITH chosen AS MATERIALIZED (
    SELECT DISTINCT ON (s.id) s.id FROM (
        SELECT id FROM (SELECT trigger_id AS id FROM attempt WHERE outcome = 'suppressed') AS suppressed
        -- include: newest_in_state
)
-- include: deliveries_of_chosen

-- name: page_of_cancelled
WITH chosen AS MATERIALIZED (
    SELECT DISTINCT ON (s.id) s.id FROM (
        SELECT id FROM (SELECT trigger_id AS id FROM cancellation) AS cancelled
        -- include: newest_in_state
)
-- include: deliveries_of_chosen

-- fragment: newest
SELECT * FROM trigger
WHERE
    -- include: matches_filter
    AND
    -- include: id_in_range

-- name: page
-- The triggers of a campaign or a user.
-- include: newest
ORDER BY id DESC LIMIT :limit

-- name: page_in_state
WITH chosen AS MATERIALIZED (
    SELECT t.id FROM (
        -- include: newest
        ORDER BY id DESC OFFSET 0) AS t
    -- include: join_records
    WHERE
        -- include: delivery_state
        = :state
    ORDER BY t.id DESC LIMIT :limit
)
-- include: deliveries_of_chosen

-- name: page_of_project
-- Reads at most a page of triggers from each campaign of the project.
SELECT newest.id FROM campaign
CROSS JOIN LATERAL (
    SELECT t.id FROM (
        -- include: newest
        AND campaign_id = campaign.id
        ORDER BY id DESC OFFSET 0) AS t
    ORDER BY t.id DESC LIMIT :limit) AS newest
WHERE campaign.project_id = :project_id ORDER BY newest.id DESC LIMIT :limit

-- name: page_of_project_in_state
WITH chosen AS MATERIALIZED (
    SELECT newest.id FROM campaign
    CROSS JOIN LATERAL (
        SELECT t.id FROM (
            -- include: newest
            AND campaign_id = campaign.id
            ORDER BY id DESC OFFSET 0) AS t
        -- include: join_records
        WHERE
            -- include: delivery_state
            = :state
        ORDER BY t.id DESC LIMIT :limit) AS newest
    WHERE campaign.project_id = :project_id ORDER BY newest.id DESC LIMIT :limit
)
-- include: deliveries_of_chosen

-- fragment: of_state
-- The triggers in a state. The conditions on :state select one of the four tables.
SELECT FROM queue WHERE :state::text IN ('pending', 'sending', 'retrying')
UNION ALL
SELECT FROM dead_letter WHERE :state::text = 'dead'
UNION ALL
SELECT FROM attempt WHERE :state::text = 'suppressed' AND outcome = 'suppressed'
UNION ALL
SELECT FROM cancellation WHERE :state::text = 'cancelled'

-- name: count_in_state
-- Counts end at the limit.
SELECT count(*) FROM (
    -- include: of_state
    LIMIT :limit) AS s

-- name: fewer_in_state
-- Whether the state has no more triggers than the user, the campaign or the project. Counts end at the limit, so larger
-- counts are equal.
SELECT (SELECT count(*) FROM (
        -- include: of_state
        LIMIT :limit) AS s)
    <= (SELECT count(*) FROM (
        SELECT FROM trigger WHERE
            -- include: matches_owner
        LIMIT :limit) AS t)
