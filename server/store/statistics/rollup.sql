-- Counts the record by minute and hour; see rollup.py.

-- fragment: add_counted
-- A CTE that adds the rows of the CTE `counted` to the counts of their minute and their hour: those of their campaign,
-- and those of all campaigns, which have the campaign 0. Sorted, so that the rows are always locked in the same order.
added AS (
    INSERT INTO statistic AS s
        (resolution, starts_at, project_id, campaign_id, channel, provider, kind, bucket, count)
    SELECT resolution, date_bin(resolution * interval '1 s', at, 'epoch'), project_id, coalesce(campaign_id, 0),
        channel, provider, kind, bucket, count(*)
    FROM counted CROSS JOIN unnest(ARRAY[60, 3600]) AS resolution
    GROUP BY resolution, 2, project_id, channel, provider, kind, bucket, ROLLUP (campaign_id)
    ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT (resolution, starts_at, project_id, campaign_id, channel, provider, kind, bucket)
        DO UPDATE SET count = s.count + excluded.count
)

-- name: lock_position
-- Nothing is returned while another process is counting.
SELECT xid, trigger_id, number, accepted_id, now() AS now FROM statistic_position FOR UPDATE SKIP LOCKED

-- name: horizon
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8

-- name: count_changes
-- Counts the next attempts and cancellations, in the order of change_feed.sql, which explains it. An attempt in doubt
-- that was the last one is a failure. An attempt that ended before its provider was called, or of which nothing is known,
-- is counted without the provider. Tests do not count. Times of a dispatcher's clock that are in the future count as now. Buckets are
-- those of `bucket_end` in server/domain/statistics.py.
WITH next AS MATERIALIZED (
    (SELECT xid, trigger_id, number, outcome, error,
            CASE WHEN reached_provider AND outcome <> 'lost' THEN provider ELSE '' END AS provider,
            least(started_at + make_interval(secs => duration), now()) AS at
        FROM attempt
        WHERE xid >= :xid::int8::text::xid8 AND xid < :until::int8::text::xid8
            AND (xid > :xid::int8::text::xid8 OR (trigger_id, number) > (:trigger_id::uuid, :number::int4))
        ORDER BY xid, trigger_id, number LIMIT :limit)
    UNION ALL
    (SELECT xid, trigger_id, :cancelled::int4, 'cancelled', '', '', cancelled_at FROM cancellation
        WHERE xid >= :xid::int8::text::xid8 AND xid < :until::int8::text::xid8
            AND (xid > :xid::int8::text::xid8
                OR (trigger_id, :cancelled::int4) > (:trigger_id::uuid, :number::int4))
        ORDER BY xid, trigger_id LIMIT :limit)
    ORDER BY xid, trigger_id, number LIMIT :limit
), found AS MATERIALIZED (
    SELECT next.*, t.project_id, t.campaign_id, t.channel, greatest(t.accepted_at, t.send_at) AS wanted_at
    FROM next CROSS JOIN LATERAL (
        SELECT project_id, campaign_id, channel, accepted_at, send_at FROM trigger
        WHERE id = next.trigger_id AND NOT test OFFSET 0) AS t
), counted AS (
    SELECT project_id, campaign_id, channel, provider, at,
        CASE
            WHEN outcome IN ('delivered', 'suppressed', 'cancelled') THEN outcome
            WHEN outcome = 'dead' THEN 'failed'
            WHEN outcome = 'in_doubt'
                AND EXISTS (SELECT FROM dead_letter d WHERE d.trigger_id = found.trigger_id OFFSET 0)
                AND NOT EXISTS (SELECT FROM attempt a
                    WHERE a.trigger_id = found.trigger_id AND a.number > found.number) THEN 'failed'
            ELSE 'retried'
        END AS kind,
        CASE WHEN outcome = 'delivered' THEN greatest(0, ceil(:buckets_of_an_octave::float8 / ln(2)
            * ln(greatest(extract(epoch FROM at - wanted_at)::float8 * 1000, 1)::float8))) ELSE 0 END::int2 AS bucket
    FROM found
), results AS (
    INSERT INTO provider_result AS r (provider, error, first_at, last_at, count, trigger_id)
    SELECT provider, error, min(at), max(at), count(*), (array_agg(trigger_id ORDER BY at DESC))[1]
    FROM (
        SELECT provider, at, trigger_id, CASE outcome WHEN 'delivered' THEN '' ELSE left(error, 300) END AS error
        FROM found WHERE provider <> '' AND outcome IN ('delivered', 'retry', 'dead', 'in_doubt')) AS sent
    GROUP BY 1, 2 ORDER BY sent.error <> '', max(at) DESC LIMIT 100 -- error texts may differ with each message
    ON CONFLICT (provider, error) DO UPDATE SET last_at = greatest(r.last_at, excluded.last_at),
        count = r.count + excluded.count, trigger_id = excluded.trigger_id
),
-- include: add_counted
SELECT count(*) OVER () AS rows, xid::text::int8 AS xid, trigger_id, number FROM next
ORDER BY next.xid DESC, trigger_id DESC, number DESC LIMIT 1

-- name: count_accepted
WITH next AS MATERIALIZED (
    SELECT id, project_id, campaign_id, channel, accepted_at AS at, test FROM trigger
    WHERE id > :after::uuid AND id <= :until::uuid ORDER BY id LIMIT :limit
), counted AS (
    SELECT project_id, campaign_id, channel, '' AS provider, at, 'accepted' AS kind, 0::int2 AS bucket FROM next
    WHERE NOT test
),
-- include: add_counted
SELECT count(*) OVER () AS rows, id FROM next ORDER BY id DESC LIMIT 1

-- name: move_position
UPDATE statistic_position SET xid = :xid, trigger_id = :trigger_id, number = :number, accepted_id = :accepted_id

-- name: delete_old
DELETE FROM statistic WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM statistic
    WHERE resolution = :resolution AND starts_at < now() - make_interval(secs => :older_than::float8) LIMIT :limit))
RETURNING 1

-- name: delete_results
-- Errors older than an hour, and all but the newest of each provider. The last success stays.
DELETE FROM provider_result WHERE error <> '' AND (last_at < now() - interval '1 hour' OR (provider, error) IN (
    SELECT provider, error FROM (
        SELECT provider, error, row_number() OVER (PARTITION BY provider ORDER BY last_at DESC) AS place
        FROM provider_result WHERE error <> '') AS ordered
    WHERE place > :most))
