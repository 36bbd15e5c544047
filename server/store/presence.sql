-- name: beat
-- Records that this process is running, and counts the processes of its role. Dispatchers also report their providers.
-- Only the database's clock is used, because the clocks of the machines may differ.
WITH beat AS (
    INSERT INTO server_process (id, seen_at, role, providers, version, host)
    VALUES (:id, now(), :role, :providers::text::json, :version, :host)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, providers = excluded.providers
), swept AS (
    DELETE FROM server_process WHERE seen_at < now() - interval '1 minute' AND id <> :id
)
SELECT 1 + count(*) FROM server_process
WHERE seen_at > now() - interval '10 s' AND id <> :id AND role = :role

-- name: leave
DELETE FROM server_process WHERE id = :id
