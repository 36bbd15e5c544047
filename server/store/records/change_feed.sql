-- The log of changes: rows of `attempt` and `cancellation` in the order of their transactions; see change_feed.py.

-- name: horizon
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8

-- name: summarize
-- The projects whose triggers changed in the transaction `since` or later.
SELECT horizon::text::int8 AS horizon, news.rows, news.projects
FROM pg_snapshot_xmin(pg_current_snapshot()) AS horizon CROSS JOIN LATERAL (
    SELECT count(*) AS rows, coalesce(array_agg(DISTINCT t.project_id), '{}') AS projects
    FROM (
        (SELECT trigger_id FROM attempt
            WHERE xid >= :since::int8::text::xid8 AND xid < horizon LIMIT :limit)
        UNION ALL
        (SELECT trigger_id FROM cancellation
            WHERE xid >= :since::int8::text::xid8 AND xid < horizon LIMIT :limit)
    ) AS changed CROSS JOIN LATERAL (
        SELECT project_id FROM trigger WHERE id = changed.trigger_id OFFSET 0) AS t
) AS news

-- name: read
-- The next rows of the log, of any project, so that the number of rows read is bounded. A cancellation has the number
-- `cancelled`, which sorts it after all attempts of its transaction.
WITH next AS (
    (SELECT xid, trigger_id, number FROM attempt
        WHERE xid >= :xid::int8::text::xid8 AND xid < :until::int8::text::xid8
            AND (xid > :xid::int8::text::xid8 OR (trigger_id, number) > (:trigger_id::uuid, :number::int4))
        ORDER BY xid, trigger_id, number LIMIT :limit)
    UNION ALL
    (SELECT xid, trigger_id, :cancelled::int4 FROM cancellation
        WHERE xid >= :xid::int8::text::xid8 AND xid < :until::int8::text::xid8
            AND (xid > :xid::int8::text::xid8
                OR (trigger_id, :cancelled::int4) > (:trigger_id::uuid, :number::int4))
        ORDER BY xid, trigger_id LIMIT :limit)
    ORDER BY xid, trigger_id, number LIMIT :limit
)
SELECT next.xid::text::int8 AS xid, next.trigger_id, next.number, t.id IS NOT NULL AS wanted
FROM next LEFT JOIN LATERAL (
    SELECT id FROM trigger WHERE id = next.trigger_id AND project_id = :project_id
        AND (:campaign_id::int8 IS NULL OR campaign_id = :campaign_id)
        AND (:external_id::text IS NULL OR external_id = :external_id)
        AND (:test::boolean IS NULL OR test = :test)
        AND (:ids::uuid[] IS NULL OR id = ANY(:ids)) OFFSET 0) AS t ON true
ORDER BY next.xid, next.trigger_id, next.number
