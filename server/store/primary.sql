-- name: identify
-- A restarted server, or another one at the same address, has a different start time.
SELECT pg_is_in_recovery() AS is_standby, pg_postmaster_start_time() AS started_at

-- name: timeline
-- Each promotion starts a new timeline of the cluster, with a higher number. All servers of a cluster have the same
-- system identifier. The name of a WAL file starts with the timeline, in hexadecimal.
SELECT system_identifier AS cluster, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline
FROM pg_control_system()
