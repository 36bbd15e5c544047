-- name: identify
-- A restarted server, or another one at the same address, has a different start time.
SELECT pg_is_in_recovery() AS is_standby, pg_postmaster_start_time() AS started_at

-- name: timeline
-- Each promotion starts a new timeline of the cluster, with a higher number. All servers of a cluster have the same
-- system identifier. The name of a WAL file starts with the timeline, in hexadecimal.
SELECT system_identifier AS cluster, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline
FROM pg_control_system()

-- name: followed
-- The timeline that a standby follows. Its control file is written with a delay, and the state of its WAL receiver is
-- visible only to superusers and members of pg_read_all_stats.
SELECT
    system_identifier AS cluster,
    greatest(
        (SELECT timeline_id FROM pg_control_checkpoint()),
        (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
        (SELECT max(received_tli) FROM pg_stat_wal_receiver)
    ) AS timeline
FROM pg_control_system()
