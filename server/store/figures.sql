-- Figures of the queue and the database.

-- name: queued
-- Counts at most :most rows of each lane and state, so that a large queue costs no more than that. One index look-up
-- finds the first row.
SELECT split_part(share.lane, '/', 1) AS channel, sum(due) AS due, sum(later) AS later, sum(sending) AS sending
FROM unnest(:lanes::text[]) AS share (lane)
CROSS JOIN LATERAL (SELECT count(*) AS due FROM (
    SELECT FROM queue WHERE queue.lane = share.lane AND due_at <= now() LIMIT :most) AS found) AS due
CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE NOT claimed) AS later, count(*) FILTER (WHERE claimed) AS sending
    FROM (SELECT claimed_by IS NOT NULL AS claimed FROM queue
        WHERE queue.lane = share.lane AND due_at > now() ORDER BY due_at LIMIT :most) AS found) AS other
GROUP BY 1

-- name: database
-- Needs no privileges. Without pg_read_all_stats, transactions of other users are not seen.
SELECT (SELECT sum(numbackends)::int8 FROM pg_stat_database) AS connections,
    current_setting('max_connections')::int8 AS max_connections,
    pg_database_size(current_database()) AS size,
    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal,
    coalesce((SELECT extract(epoch FROM max(now() - xact_start)) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'), 0)::float8 AS oldest_transaction

-- name: rows
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables
WHERE relid = ANY(ARRAY[to_regclass('queue'), to_regclass('webhook_queue')]::oid[])

-- name: crowds
-- Whose triggers are due first in each lane, and whose are due last. The number of look-ups does not depend on the
-- length of the queue; OFFSET 0 makes PostgreSQL look up each trigger.
WITH near AS (
    SELECT share.lane, found.* FROM unnest(:lanes::text[]) AS share (lane) CROSS JOIN LATERAL (
        (SELECT trigger_id, true AS first FROM queue WHERE queue.lane = share.lane AND due_at <= now()
            ORDER BY due_at LIMIT :most)
        UNION ALL
        (SELECT trigger_id, false FROM queue WHERE queue.lane = share.lane AND due_at <= now()
            ORDER BY due_at DESC LIMIT :most)) AS found
)
SELECT near.lane, project.name AS project, count(*) FILTER (WHERE near.first) AS first
FROM near
CROSS JOIN LATERAL (SELECT project_id FROM trigger WHERE id = near.trigger_id OFFSET 0) AS trigger
JOIN project ON project.id = trigger.project_id
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
