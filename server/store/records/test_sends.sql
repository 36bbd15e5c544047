-- name: lock_project
SELECT FROM project WHERE id = :project_id FOR NO KEY UPDATE

-- name: recent
SELECT count(*) AS sent, extract(epoch FROM min(occurred_at) + make_interval(secs => :window) - now())::float8 AS wait
FROM audit_event WHERE project_id = :project_id AND action = :action
    AND occurred_at > now() - make_interval(secs => :window)

-- name: accept
WITH accepted AS (
    INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event,
        test_content)
    VALUES (:id, :project_id, :campaign_id, :channel, :external_id, :address, :timezone, :locale, :user_data, :event,
        :content)
)
INSERT INTO queue (trigger_id, lane, due_at, expires_at) VALUES (:id, :lane, now(), :expires_at)
