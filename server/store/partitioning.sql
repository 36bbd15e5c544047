-- name: now
SELECT now()

-- name: try_lock
-- One process at a time looks after the partitions.
SELECT pg_try_advisory_xact_lock(:lock)

-- name: set_lock_timeout
-- Who waits for a lock on a table makes all others who use it wait as well.
SELECT set_config('lock_timeout', '100ms', true)

-- name: add_partitions
SELECT add_partitions(:name, :key, :days, now() + make_interval(days => 2 * :days + 1))

-- name: drop_partition
-- A partition with triggers that are still queued is kept, with those that are newer.
SELECT drop_partition(:name, least(now() - make_interval(secs => :older_than),
    (SELECT time_of_id(trigger_id) FROM queue ORDER BY trigger_id LIMIT 1)))
