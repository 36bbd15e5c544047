-- fragment: project_columns
id, name, created_at, rate, burst, timezone

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

-- name: limit
UPDATE project SET rate = :rate, burst = :burst WHERE name = :name
RETURNING
    -- include: project_columns

-- name: set_timezone
UPDATE project SET timezone = :timezone WHERE name = :name
RETURNING
    -- include: project_columns
