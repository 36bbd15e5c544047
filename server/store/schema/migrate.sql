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

-- name: index_is_valid
-- No row if it does not exist. A build that was interrupted leaves an invalid index.
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)

-- name: lock_indexes
-- Does not wait, because a build waits for all open transactions, including one that waits for this lock.
SELECT pg_try_advisory_lock(:key)

-- name: unlock_indexes
SELECT pg_advisory_unlock(:key)

-- name: allow_time
SELECT set_config(name, '0', false) FROM unnest(ARRAY['statement_timeout', 'lock_timeout']) AS name
