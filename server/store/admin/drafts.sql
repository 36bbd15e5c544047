-- name: find
SELECT content, base_version, saved_at, saved_by FROM campaign_draft
WHERE project_id = :project_id AND campaign_id = :campaign_id

-- name: save
INSERT INTO campaign_draft (project_id, campaign_id, content, base_version, saved_at, saved_by)
VALUES (:project_id, :campaign_id, :content, :base_version, now(), :author)
ON CONFLICT (project_id, campaign_id) DO UPDATE SET content = excluded.content, base_version = excluded.base_version,
    saved_at = excluded.saved_at, saved_by = excluded.saved_by
RETURNING content, base_version, saved_at, saved_by

-- name: delete
DELETE FROM campaign_draft WHERE project_id = :project_id AND campaign_id = :campaign_id
