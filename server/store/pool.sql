-- name: require_durable_commits
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') IN ('off', 'local')

-- name: apply_settings
SELECT set_config(name, value, false) FROM unnest(:names::text[], :values::text[]) AS given (name, value)

-- name: apply_local_settings
-- Until the end of the transaction.
SELECT set_config(name, value, true) FROM unnest(:names::text[], :values::text[]) AS given (name, value)

-- name: backend
SELECT pg_backend_pid()
