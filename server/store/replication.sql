-- name: confirm
SELECT
    -- include: wait_for_replicas
