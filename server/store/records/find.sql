-- name: find
SELECT
    -- include: delivery_columns
FROM trigger t
-- include: join_records
WHERE t.id = ANY(:ids) AND t.id >= :first_id AND t.id < :end_id AND (:project_id::int8 IS NULL OR t.project_id = :project_id)
