-- name: has_version
SELECT to_regclass('alembic_version')

-- name: version
SELECT version_num FROM alembic_version

-- name: oldest
-- Each schema that is newer than this version's has the table.
SELECT oldest FROM schema_compatibility

-- name: lock
-- Held until the end of the transaction; one migration runs at a time.
SELECT pg_advisory_xact_lock(:key)
