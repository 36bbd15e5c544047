-- name: record
INSERT INTO audit_event
    (actor_kind, actor, actor_key, session_id, action, project_id, resource, before, after, address, request_id)
VALUES (
    :actor_kind, :actor, :actor_key, :session_id, :action, :project_id, :resource, :before::text::jsonb,
    :after::text::jsonb, :address, :request_id
)
