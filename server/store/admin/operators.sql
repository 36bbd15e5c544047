-- fragment: key_columns
id, name, hint, grants, created_by, created_at, expires_at, revoked_at, used_at

-- fragment: session_columns
id, name, grants, created_at, expires_at, used_at, user_agent, key_id, identity

-- fragment: is_current
session.revoked_at IS NULL AND session.expires_at > now() AND session.used_at > now() - :idle::interval
AND NOT EXISTS (
    SELECT FROM admin_key WHERE admin_key.id = session.key_id AND (revoked_at IS NOT NULL OR expires_at <= now())
)

-- name: key_by_hash
SELECT
    -- include: key_columns
FROM admin_key WHERE secret_hash = :hash AND revoked_at IS NULL AND expires_at > now()

-- name: session_by_hash
SELECT
    -- include: session_columns
FROM operator_session AS session WHERE token_hash = :hash AND
    -- include: is_current

-- name: create_key
INSERT INTO admin_key (id, name, hint, secret_hash, grants, created_by, expires_at)
VALUES (:id, :name, :hint, :secret_hash, :grants::text::jsonb, :created_by, :expires_at)
RETURNING
    -- include: key_columns

-- name: list_keys
SELECT
    -- include: key_columns
FROM admin_key ORDER BY created_at DESC, id

-- name: find_key
SELECT
    -- include: key_columns
FROM admin_key WHERE id = :id FOR UPDATE

-- name: revoke_key
UPDATE admin_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id
RETURNING
    -- include: key_columns

-- name: create_session
INSERT INTO operator_session (
    id, token_hash, name, grants, key_id, user_agent, expires_at, identity, token_used
)
VALUES (
    :id, :token_hash, :name, :grants::text::jsonb, :key_id, :user_agent, :expires_at, :identity::text::jsonb, :token_used
)
ON CONFLICT (token_used) DO NOTHING
RETURNING
    -- include: session_columns

-- name: list_sessions
SELECT
    -- include: session_columns
FROM operator_session AS session WHERE
    -- include: is_current
ORDER BY created_at DESC, id

-- name: find_session
SELECT
    -- include: session_columns
FROM operator_session AS session WHERE id = :id AND
    -- include: is_current

-- name: revoke_session
UPDATE operator_session SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL
RETURNING id

-- name: touch_key
UPDATE admin_key SET used_at = now() WHERE id = :id

-- name: touch_session
UPDATE operator_session SET used_at = now() WHERE id = :id
