-- fragment: key_columns
id, project_id, name, scopes, campaign_ids, created_at, expires_at, revoked_at, rate, burst

-- name: keys_by_hash
-- Revoked keys stay for a while, so that servers can log which one is still used.
SELECT secret_hash,
    -- include: key_columns
FROM api_key WHERE revoked_at IS NULL OR revoked_at > now() - interval '90 days'

-- name: create
INSERT INTO api_key (id, project_id, name, secret_hash, scopes, campaign_ids, expires_at, rate, burst)
VALUES (:id, :project_id, :name, :secret_hash, :scopes, :campaign_ids, :expires_at, :rate, :burst)
ON CONFLICT (secret_hash) DO NOTHING

-- name: find_by_hash
SELECT
    -- include: key_columns
FROM api_key WHERE secret_hash = :secret_hash

-- name: list
SELECT
    -- include: key_columns
FROM api_key WHERE :project_id::int8 IS NULL OR project_id = :project_id
ORDER BY created_at DESC, id

-- name: revoke
UPDATE api_key SET revoked_at = coalesce(revoked_at, now())
WHERE id = :id AND (:project_id::int8 IS NULL OR project_id = :project_id)
RETURNING
    -- include: key_columns

-- name: limit
UPDATE api_key SET rate = :rate, burst = :burst WHERE id = :id
RETURNING
    -- include: key_columns
