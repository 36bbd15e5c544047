-- fragment: campaign_columns
project_id, id, name, channel, provider, providers, state, sender, templates, retry, send_window, unsubscribe_url,
undefined, revision, managed_by, archived_at

-- name: all
SELECT
    -- include: campaign_columns
FROM campaign

-- name: all_without_templates
SELECT project_id, id, name, channel, provider, providers, state, sender, '{}' AS templates, retry, send_window,
    unsubscribe_url, undefined, revision, managed_by, archived_at
FROM campaign

-- name: find
SELECT
    -- include: campaign_columns
FROM campaign WHERE project_id = :project_id AND id = :id

-- name: list
SELECT
    -- include: campaign_columns
FROM campaign
WHERE (:project_id::int8 IS NULL OR project_id = :project_id) AND id > :after
ORDER BY id, project_id LIMIT :limit

-- name: apply
-- An unchanged campaign keeps its revision, and returns no row.
INSERT INTO campaign (
    -- include: campaign_columns
) VALUES (:project_id, :id, :name, :channel, :provider, :providers, :state, :sender, :templates, :retry, :send_window,
    :unsubscribe_url, :undefined, 1, :managed_by, NULL)
ON CONFLICT (project_id, id) DO UPDATE SET revision = campaign.revision + 1,
    name = excluded.name, channel = excluded.channel, provider = excluded.provider, providers = excluded.providers,
    state = excluded.state, sender = excluded.sender, templates = excluded.templates, retry = excluded.retry,
    send_window = excluded.send_window, unsubscribe_url = excluded.unsubscribe_url, undefined = excluded.undefined,
    managed_by = excluded.managed_by, archived_at = CASE WHEN excluded.state = 'paused' THEN campaign.archived_at END
WHERE (campaign.name, campaign.channel, campaign.provider, campaign.providers, campaign.state, campaign.sender,
        campaign.templates, campaign.retry, campaign.send_window, campaign.unsubscribe_url, campaign.undefined, campaign.managed_by)
    IS DISTINCT FROM (excluded.name, excluded.channel, excluded.provider, excluded.providers, excluded.state,
        excluded.sender, excluded.templates, excluded.retry, excluded.send_window, excluded.unsubscribe_url,
        excluded.undefined, excluded.managed_by)
RETURNING revision

-- name: lock
SELECT
    -- include: campaign_columns
FROM campaign WHERE project_id = :project_id AND id = :id FOR UPDATE

-- name: page
SELECT project_id, id, name, channel, provider, providers, state, sender, '{}' AS templates, retry, send_window,
    unsubscribe_url, undefined, revision, managed_by, archived_at
FROM campaign
WHERE (:projects::int8[] IS NULL OR project_id = ANY(:projects)) AND (project_id, id) > (:after_project, :after)
    AND (:id::int8 IS NULL OR id = :id)
    AND CASE WHEN :state::text IS NULL THEN archived_at IS NULL OR :id IS NOT NULL
        ELSE :state = CASE WHEN archived_at IS NULL THEN state ELSE 'archived' END END
    AND (:channel::text IS NULL OR channel = :channel)
    AND (:name::text IS NULL OR strpos(lower(name), lower(:name)) > 0)
ORDER BY project_id, id LIMIT :limit

-- name: keep_version
INSERT INTO campaign_version (project_id, campaign_id, number, content, created_at, created_by)
SELECT project_id, id, revision, to_json(c)::text, now(), :author FROM campaign c
WHERE project_id = :project_id AND id = :id
ON CONFLICT (project_id, campaign_id, number) DO NOTHING

-- name: set_state
UPDATE campaign SET state = :state, managed_by = coalesce(:managed_by, managed_by), revision = revision + 1,
    archived_at = CASE WHEN :archived::boolean THEN coalesce(archived_at, now()) END
WHERE project_id = :project_id AND id = :id
RETURNING
    -- include: campaign_columns

-- name: versions
SELECT number, content, created_at, created_by FROM campaign_version
WHERE project_id = :project_id AND campaign_id = :campaign_id AND (:before::int8 IS NULL OR number < :before)
ORDER BY number DESC LIMIT :limit

-- name: version
SELECT number, content, created_at, created_by FROM campaign_version
WHERE project_id = :project_id AND campaign_id = :campaign_id AND number = :number
