-- name: identify
-- A server that restarts, or another one behind the same address, has another start.
SELECT pg_is_in_recovery() AS is_standby, pg_postmaster_start_time() AS started_at

-- name: timeline
-- Each promotion begins a new timeline, with a higher number, of the cluster that all its servers have in common. The
-- name of a file of the log (WAL) starts with the timeline, in hexadecimal.
SELECT system_identifier AS cluster, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline
FROM pg_control_system()
