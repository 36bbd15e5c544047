-- fragment: key_columns
id, project_id, name, scopes, campaign_ids, created_at, expires_at, revoked_at, rate, burst, hint, created_by,
successor_id, test,
ARRAY(SELECT identity FROM key_certificate c WHERE c.key_id = api_key.id ORDER BY identity) AS certificates

-- name: keys_by_hash
-- Revoked keys stay for a while, so that servers can log which one is still used.
SELECT secret_hash,
    -- include: key_columns
FROM api_key WHERE revoked_at IS NULL OR revoked_at > now() - interval '90 days'

-- name: create
INSERT INTO api_key
    (id, project_id, name, secret_hash, scopes, campaign_ids, expires_at, rate, burst, hint, created_by, test)
VALUES (
    :id, :project_id, :name, :secret_hash, :scopes, :campaign_ids, :expires_at, :rate, :burst, :hint, :created_by, :test
)
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

-- name: find
SELECT
    -- include: key_columns
FROM api_key WHERE id = :id

-- name: lock
SELECT
    -- include: key_columns
FROM api_key WHERE id = :id FOR UPDATE

-- name: page
-- The newest first. The states are those of `ApiKey.state_at` in server/domain/key.py.
SELECT
    -- include: key_columns
FROM api_key
WHERE (:projects::int8[] IS NULL OR project_id = ANY(:projects))
    AND (:state::text IS NULL OR :state = CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at IS NULL OR expires_at > now() + :warning::interval THEN 'active'
        WHEN expires_at > now() THEN 'expiring'
        ELSE 'expired' END
        OR :state = 'usable' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))
    AND (:test::boolean IS NULL OR test = :test)
    AND (:before::timestamptz IS NULL OR (created_at, id) < (:before, :before_id::uuid))
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: update
UPDATE api_key SET name = :name, expires_at = :expires_at, rate = :rate, burst = :burst, successor_id = :successor_id
WHERE id = :id
RETURNING
    -- include: key_columns

-- name: detach
DELETE FROM key_certificate WHERE key_id = :id AND NOT identity = ANY(:wanted::text[])

-- name: attach
-- A certificate of a key that does not work any more may move to another one.
INSERT INTO key_certificate (identity, key_id) SELECT unnest(:wanted::text[]), :id::uuid
ON CONFLICT (identity) DO UPDATE SET key_id = excluded.key_id
WHERE EXISTS (
    SELECT FROM api_key k
    WHERE k.id = key_certificate.key_id AND (k.revoked_at IS NOT NULL OR k.expires_at <= now())
)

-- name: taken
SELECT identity, key_id FROM key_certificate WHERE identity = ANY(:wanted::text[]) AND key_id <> :id ORDER BY identity

-- name: move_certificates
UPDATE key_certificate SET key_id = :successor_id WHERE key_id = :id

-- name: last_use
SELECT key_id, used_at FROM key_use WHERE key_id = ANY(:ids)

-- name: note_use
INSERT INTO key_use (key_id, used_at) SELECT unnest(:ids::uuid[]), date_trunc('minute', now())
ON CONFLICT (key_id) DO UPDATE SET used_at = greatest(key_use.used_at, excluded.used_at)
