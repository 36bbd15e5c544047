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

-- name: partitions
SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = to_regclass(:name) ORDER BY 1

-- name: lock_indexes
-- Does not wait, because a build waits for all open transactions, including one that waits for this lock.
SELECT pg_try_advisory_lock(:key)

-- name: unlock_indexes
SELECT pg_advisory_unlock(:key)

-- name: allow_time
SELECT set_config(name, '0', false) FROM unnest(ARRAY['statement_timeout', 'lock_timeout']) AS name

-- name: is_plain_table
SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(:name)

-- name: end_of_first_partition
-- A week from now, or from the newest ID if a server's clock was ahead.
SELECT id_at(date_trunc('day', greatest(now(), (SELECT time_of_id(id) FROM trigger ORDER BY id DESC LIMIT 1)), 'UTC')
    + interval '8 days')

-- name: set_lock_timeout
SELECT set_config('lock_timeout', '1s', true)

-- name: announce_partitions
SELECT announce_partitions(:name, :key, :ends)

-- name: validate_constraints
SELECT validate_constraints(:name)

-- name: partition_table
SELECT partition_table(:name, :key, :ends)

-- name: table_figures
-- With its partitions. Rows are those of the last ANALYZE; NULL if a part was never analysed.
WITH part AS (
    SELECT to_regclass(:name)::oid AS oid UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(:name))
)
SELECT coalesce(sum(pg_table_size(oid)), 0)::int8 AS size,
    CASE WHEN coalesce(min(reltuples) FILTER (WHERE relkind = 'r'), 0) >= 0
        THEN coalesce(sum(reltuples) FILTER (WHERE relkind = 'r'), 0)::int8 END AS rows,
    coalesce(bool_or(relkind = 'p'), false) AS is_partitioned
FROM part JOIN pg_class USING (oid)
