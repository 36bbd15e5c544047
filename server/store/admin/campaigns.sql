-- fragment: campaign_columns
project_id, id, name, channel, provider, providers, state, sender, templates, retry, send_window, unsubscribe_url,
undefined, revision

-- name: all
SELECT
    -- include: campaign_columns
FROM campaign

-- name: all_without_templates
SELECT project_id, id, name, channel, provider, providers, state, sender, '{}' AS templates, retry, send_window,
    unsubscribe_url, undefined, revision
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
    :unsubscribe_url, :undefined, 1)
ON CONFLICT (project_id, id) DO UPDATE SET revision = campaign.revision + 1,
    name = excluded.name, channel = excluded.channel, provider = excluded.provider, providers = excluded.providers,
    state = excluded.state, sender = excluded.sender, templates = excluded.templates, retry = excluded.retry,
    send_window = excluded.send_window, unsubscribe_url = excluded.unsubscribe_url, undefined = excluded.undefined
WHERE (campaign.name, campaign.channel, campaign.provider, campaign.providers, campaign.state, campaign.sender,
        campaign.templates, campaign.retry, campaign.send_window, campaign.unsubscribe_url, campaign.undefined)
    IS DISTINCT FROM (excluded.name, excluded.channel, excluded.provider, excluded.providers, excluded.state,
        excluded.sender, excluded.templates, excluded.retry, excluded.send_window, excluded.unsubscribe_url,
        excluded.undefined)
RETURNING revision
