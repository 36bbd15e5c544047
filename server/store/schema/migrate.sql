-- name: has_version
SELECT to_regclass('alembic_version')

-- name: version
SELECT version_num FROM alembic_version

-- name: lock
-- Held until the end of the transaction; one migration runs at a time.
SELECT pg_advisory_xact_lock(:key)
