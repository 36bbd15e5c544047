-- The counts of all campaigns together have the campaign 0, so that the overview need not read those of each campaign.
INSERT INTO statistic (resolution, starts_at, project_id, campaign_id, channel, provider, kind, bucket, count)
SELECT resolution, starts_at, project_id, 0, channel, provider, kind, bucket, sum(count)
FROM statistic GROUP BY resolution, starts_at, project_id, channel, provider, kind, bucket;

-- Whether `matching` counts only the newest deliveries.
ALTER TABLE bulk_operation ADD COLUMN is_partial boolean NOT NULL DEFAULT false;
