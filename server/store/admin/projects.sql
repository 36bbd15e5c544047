-- fragment: project_columns
id, name, created_at, rate, burst, timezone, content_days::text

-- name: create
INSERT INTO project (name) VALUES (:name) ON CONFLICT (name) DO NOTHING

-- name: find_id
SELECT id FROM project WHERE name = :name

-- name: list
SELECT
    -- include: project_columns
FROM project ORDER BY name

-- name: all
SELECT
    -- include: project_columns
FROM project

-- name: find
SELECT
    -- include: project_columns
FROM project WHERE name = :name

-- name: lock
SELECT
    -- include: project_columns
FROM project WHERE name = :name FOR UPDATE

-- name: page
SELECT
    -- include: project_columns
FROM project WHERE (:ids::int8[] IS NULL OR id = ANY(:ids)) AND name > :after ORDER BY name LIMIT :limit

-- name: insert
INSERT INTO project (name, timezone) VALUES (:name, :timezone) ON CONFLICT (name) DO NOTHING
RETURNING
    -- include: project_columns

-- name: update
-- A change of times is held back for a day where it shortens them; see days_of_content.
UPDATE project SET rate = :rate, burst = :burst, timezone = :timezone, content_days = :content_days::text::jsonb,
    content_days_before = CASE
        WHEN content_days = :content_days::text::jsonb OR content_days_changed_at > now() - interval '1 day'
        THEN content_days_before ELSE content_days END,
    content_days_changed_at = CASE
        WHEN content_days = :content_days::text::jsonb THEN content_days_changed_at ELSE now() END
WHERE id = :id
RETURNING
    -- include: project_columns
