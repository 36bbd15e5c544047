-- name: beat
-- Records that this process is running, and counts the processes of its role. Dispatchers also report their providers.
-- Only the database's clock is used, because the clocks of the machines may differ. Processes that ended without
-- removing themselves stay for 15 minutes, so that operators see them.
WITH beat AS (
    INSERT INTO server_process (id, seen_at, role, providers, version, host, clock_offset, write_seconds)
    VALUES (:id, now(), :role, :providers::text::json, :version, :host, :clock_offset, :write_seconds)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, providers = excluded.providers,
        clock_offset = excluded.clock_offset, write_seconds = excluded.write_seconds
), swept AS (
    DELETE FROM server_process WHERE seen_at < now() - interval '15 minutes' AND id <> :id
)
SELECT 1 + count(*) AS count, now() AS now FROM server_process
WHERE seen_at > now() - interval '10 s' AND id <> :id AND role = :role

-- name: leave
DELETE FROM server_process WHERE id = :id
