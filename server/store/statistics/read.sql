-- Reads the counts; see read.py.

-- fragment: matches
-- Whether a row matches; a parameter that is NULL matches all.
(:project_id::int8 IS NULL OR project_id = :project_id) AND (:visible::int8[] IS NULL OR project_id = ANY(:visible))
AND (:campaign_id::int8 IS NULL OR campaign_id = :campaign_id) AND (:channel::text IS NULL OR channel = :channel)
AND (:campaign_ids::int8[] IS NULL OR campaign_id = ANY(:campaign_ids))

-- fragment: counted
-- The counts of each hour or minute. Those of single campaigns are read only if they matter; the others have the campaign 0.
-- Accepted triggers that are not counted yet are counted here, except if counting is far behind.
WITH counted AS (
    SELECT starts_at, project_id, campaign_id, channel, provider, kind, bucket, count FROM statistic
    WHERE resolution = :resolution AND starts_at >= :start AND starts_at < :end
        AND CASE WHEN :campaign_id::int8 IS NULL AND :group_by::text <> 'campaign' THEN campaign_id = 0 ELSE campaign_id <> 0 END
        AND (:provider::text IS NULL OR provider = :provider) AND
        -- include: matches
    UNION ALL
    SELECT accepted_at, project_id, campaign_id, channel, '', 'accepted', 0, 1 FROM trigger
    WHERE id > greatest(:recent::uuid, (SELECT accepted_id FROM statistic_position))
        AND NOT test AND accepted_at >= :start AND accepted_at < :end AND :provider::text IS NULL AND
        -- include: matches
)

-- name: largest_campaigns
-- The campaigns with the most messages, and how many have any. So `series` groups only the rows of these.
-- include: counted
SELECT campaign_id, count(*) OVER () AS groups
FROM counted GROUP BY project_id, campaign_id ORDER BY sum(count) DESC, project_id, campaign_id LIMIT :most

-- name: series
-- The counts of each step of the largest groups, which `place` orders. A column that does not group is the same for all
-- rows. The result is not ordered: without sorting (see READING), each group would be compared with all rows.
-- include: counted
, grouped AS (
    SELECT date_bin(:step * interval '1 s', starts_at, :start) AS at, kind, bucket,
        CASE WHEN :group_by = 'channel' THEN channel ELSE '' END AS channel,
        CASE WHEN :group_by = 'provider' THEN provider ELSE '' END AS provider,
        CASE WHEN :group_by IN ('campaign', 'project') THEN project_id ELSE 0 END AS project_id,
        CASE WHEN :group_by = 'campaign' THEN campaign_id ELSE 0 END AS campaign_id,
        sum(count)::int8 AS count
    FROM counted GROUP BY 1, 2, 3, 4, 5, 6, 7
), largest AS (
    SELECT channel, provider, project_id, campaign_id, count(*) OVER () AS groups,
        row_number() OVER (ORDER BY sum(count) DESC, channel, provider, project_id, campaign_id) AS place
    FROM grouped GROUP BY channel, provider, project_id, campaign_id ORDER BY place LIMIT :most
)
SELECT place, groups, largest.channel, largest.provider, project_id, campaign_id, at,
    (SELECT name FROM project WHERE id = project_id) AS project,
    array_agg(kind) AS kinds, array_agg(bucket) AS buckets, array_agg(count) AS counts
FROM largest JOIN grouped USING (channel, provider, project_id, campaign_id)
GROUP BY place, groups, largest.channel, largest.provider, project_id, campaign_id, at

-- name: now
SELECT now()

-- name: oldest_due
-- For each channel, seconds since its oldest due trigger of the projects became due. It is searched among the first of
-- each lane, because lanes are not divided by projects.
SELECT split_part(lane, '/', 1) AS channel, extract(epoch FROM now() - min(oldest))::float8 AS age
FROM unnest(:lanes::text[]) AS lane CROSS JOIN LATERAL (
    SELECT first.due_at AS oldest FROM (
        SELECT trigger_id, due_at FROM queue WHERE queue.lane = lane.lane AND due_at <= now()
        ORDER BY due_at LIMIT :most) AS first
    WHERE EXISTS (SELECT FROM trigger WHERE id = first.trigger_id AND NOT test
        AND (:project_id::int8 IS NULL OR project_id = :project_id)
        AND (:visible::int8[] IS NULL OR project_id = ANY(:visible)) OFFSET 0)
    ORDER BY first.due_at LIMIT 1) AS front
GROUP BY 1

-- name: dead_letters
-- The dead letters of the projects among the newest, without tests.
SELECT count(*) FROM (SELECT trigger_id FROM dead_letter WHERE NOT test ORDER BY died_at DESC LIMIT :most) AS newest
CROSS JOIN LATERAL (SELECT project_id FROM trigger WHERE id = newest.trigger_id OFFSET 0) AS t
WHERE (:project_id::int8 IS NULL OR t.project_id = :project_id) AND (:visible::int8[] IS NULL OR t.project_id = ANY(:visible))

-- name: provider_counts
-- What each provider did in the last hour.
SELECT provider, kind, sum(count)::int8 AS count FROM statistic
WHERE resolution = 60 AND starts_at > now() - interval '1 hour' AND campaign_id = 0 AND provider <> '' GROUP BY 1, 2

-- name: provider_results
SELECT provider, error, first_at, last_at, count, trigger_id FROM (
    SELECT *, row_number() OVER (PARTITION BY provider ORDER BY last_at DESC, error) AS place FROM provider_result
    WHERE error <> '' AND last_at > now() - interval '1 hour'
    UNION ALL SELECT *, 0 FROM provider_result WHERE error = '') AS ordered
WHERE place <= :most ORDER BY provider, place
