-- fragment: key_columns
id, name, hint, grants, created_by, created_at, expires_at, revoked_at, used_at

-- fragment: session_columns
id, name, grants, created_at, expires_at, used_at, user_agent, key_id, identity

-- fragment: is_current
session.revoked_at IS NULL AND session.expires_at > now() AND session.used_at > now() - :idle::interval
AND NOT EXISTS (
    SELECT FROM admin_key WHERE admin_key.id = session.key_id AND (revoked_at IS NOT NULL OR expires_at <= now())
)

-- fragment: is_managed
-- Whether an admin of these projects, NULL for all, is an admin of everything that the grants cover.
(:managed::int8[] IS NULL OR NOT EXISTS (
    SELECT FROM jsonb_array_elements(grants) AS one
    WHERE coalesce((one ->> 'project_id')::int8 <> ALL(:managed), true)
))

-- name: keys_by_hash
SELECT secret_hash AS hash,
    -- include: key_columns
FROM admin_key WHERE secret_hash = ANY(:hashes::bytea[]) AND revoked_at IS NULL AND expires_at > now()

-- name: sessions_by_hash
SELECT token_hash AS hash,
    -- include: session_columns
FROM operator_session AS session WHERE token_hash = ANY(:hashes::bytea[]) AND
    -- include: is_current

-- name: create_key
INSERT INTO admin_key (id, name, hint, secret_hash, grants, created_by, expires_at)
VALUES (:id, :name, :hint, :secret_hash, :grants::text::jsonb, :created_by, :expires_at)
RETURNING
    -- include: key_columns

-- name: list_keys
SELECT
    -- include: key_columns
FROM admin_key WHERE (:before::timestamptz IS NULL OR (created_at, id) < (:before, :before_id::uuid)) AND
    -- include: is_managed
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: find_key
SELECT
    -- include: key_columns
FROM admin_key WHERE id = :id AND
    -- include: is_managed

-- name: lock_key
SELECT
    -- include: key_columns
FROM admin_key WHERE id = :id AND
    -- include: is_managed
FOR UPDATE

-- name: revoke_key
UPDATE admin_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id
RETURNING
    -- include: key_columns

-- name: lock_owner
-- Sessions of one owner start one after another.
SELECT pg_advisory_xact_lock(hashtextextended('operator_session ' || :owner::uuid, 0))

-- name: create_session
-- Dated after `lock_owner`, so that the last one to start is the newest.
INSERT INTO operator_session (
    id, token_hash, name, grants, key_id, user_agent, created_at, used_at, expires_at, identity, token_used, owner
)
VALUES (
    :id, :token_hash, :name, :grants::text::jsonb, :key_id, :user_agent, clock_timestamp(), clock_timestamp(),
    :expires_at, :identity::text::jsonb, :token_used, :owner
)
ON CONFLICT (token_used) DO NOTHING
RETURNING
    -- include: session_columns

-- name: recent_sign_ins
-- How many sessions of an owner started within the window, and the seconds until one more may; those that ended are kept
-- for longer than that.
SELECT count(*) AS started, extract(epoch FROM min(created_at) + :window::interval - clock_timestamp())::float8 AS wait
FROM (SELECT created_at FROM operator_session WHERE owner = :owner AND created_at > clock_timestamp() - :window::interval
    ORDER BY created_at DESC LIMIT :most) AS newest

-- name: end_oldest_sessions
UPDATE operator_session SET revoked_at = now(), expires_at = least(expires_at, now()) WHERE id IN (
    SELECT id FROM operator_session WHERE owner = :owner AND revoked_at IS NULL
    ORDER BY created_at DESC OFFSET :newest
) RETURNING id

-- name: delete_ended_sessions
-- Later than their ID tokens can be used again.
DELETE FROM operator_session WHERE id IN (
    SELECT id FROM operator_session WHERE expires_at < now() - interval '1 hour'
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)

-- name: list_sessions
SELECT
    -- include: session_columns
FROM operator_session AS session
WHERE (:before::timestamptz IS NULL OR (created_at, id) < (:before, :before_id::uuid)) AND
    -- include: is_managed
    AND
    -- include: is_current
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: find_session
SELECT
    -- include: session_columns
FROM operator_session AS session WHERE id = :id AND (id = :own::uuid OR
    -- include: is_managed
) AND
    -- include: is_current

-- name: revoke_session
UPDATE operator_session SET revoked_at = now(), expires_at = least(expires_at, now())
WHERE id = :id AND revoked_at IS NULL
RETURNING id

-- name: touch_key
UPDATE admin_key SET used_at = now() WHERE id = :id

-- name: touch_session
UPDATE operator_session SET used_at = now() WHERE id = :id
