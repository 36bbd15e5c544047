-- name: record
INSERT INTO audit_event
    (actor_kind, actor, actor_key, session_id, action, project_id, resource, before, after, address, request_id)
VALUES (
    :actor_kind, :actor, :actor_key, :session_id, :action, :project_id, :resource, :before::text::jsonb,
    :after::text::jsonb, :address, :request_id
)

-- name: list
SELECT
    e.id, e.occurred_at, e.actor_kind, e.actor, e.actor_key, e.session_id, e.action, p.name AS project, e.resource,
    e.before::text, e.after::text, e.address, e.request_id
FROM audit_event e LEFT JOIN project p ON p.id = e.project_id
WHERE (:projects::int8[] IS NULL OR e.project_id = ANY(:projects))
    AND (:actor::text IS NULL OR e.actor = :actor)
    AND (:action::text IS NULL OR e.action = :action)
    AND (:resource::text IS NULL OR e.resource = :resource)
    AND (:since::timestamptz IS NULL OR e.occurred_at >= :since)
    AND (:until::timestamptz IS NULL OR e.occurred_at < :until)
    AND (:last_at::timestamptz IS NULL OR (e.occurred_at, e.id) < (:last_at, :last_id::int8))
ORDER BY e.occurred_at DESC, e.id DESC LIMIT :limit
