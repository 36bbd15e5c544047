-- What `clarion status` reads in addition to the figures.

-- name: processes
-- Those that were killed stay for a minute; see presence.sql.
SELECT id, role, version, host, seen_at FROM server_process ORDER BY role DESC, seen_at DESC LIMIT 200

-- name: replication
-- Without pg_read_all_stats, the other columns of pg_stat_replication are empty.
SELECT (SELECT count(*) FROM pg_stat_replication) AS replicas,
    current_setting('synchronous_standby_names') <> '' AS is_synchronous, now() AS now

-- name: recent_dead_letters
SELECT count(*) FROM (
    SELECT FROM dead_letter WHERE NOT test AND died_at > now() - interval '1 hour' LIMIT :most) AS recent

-- name: dead_letter_errors
-- The newest dead letters by error, with digits replaced; the largest group first.
SELECT left(regexp_replace(error, '[0-9]', '#', 'g'), 200) AS error, count(*) AS count, max(died_at) AS last_at
FROM (SELECT error, died_at FROM dead_letter WHERE NOT test ORDER BY died_at DESC LIMIT :most) AS newest
GROUP BY 1 ORDER BY count DESC, last_at DESC LIMIT :limit
