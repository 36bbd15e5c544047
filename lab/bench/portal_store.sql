-- Fills a database with what a large installation has after a month; see portal_store.py.

-- name: projects
INSERT INTO project (name) SELECT 'shop-' || n FROM generate_series(1, 4) AS n

-- fragment: numbered_projects
(SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM project) AS p

-- name: campaigns
-- The n-th campaign (from 0) has the ID 1000 + n; two of four are emails.
INSERT INTO campaign
SELECT (json_populate_record(demo, json_build_object('project_id', p.id, 'id', 1000 + n, 'name', demo.name || ' ' || n))).*
FROM generate_series(0, :number::int4 - 1) AS n
JOIN
-- include: numbered_projects
ON p.place = n % 5
JOIN campaign AS demo ON demo.id = 44 + greatest(0, n / 5 % 4 - 1)

-- name: versions
INSERT INTO campaign_version (project_id, campaign_id, number, content, created_at, created_by)
SELECT project_id, id, revision, to_json(c)::text, now(), 'command line' FROM campaign c
ON CONFLICT DO NOTHING

-- name: plan
-- The triggers with the numbers `first` to `last`, of `total` in 30 days: their states, and h to draw the rest from.
CREATE TEMP TABLE plan ON COMMIT DROP AS
SELECT n, made.id, made.at, made.h, c.project_id, c.id AS campaign_id, c.channel, CASE
    WHEN n > :total * 0.99 THEN 'queued'
    WHEN n % :dead_every::int8 = 0 THEN 'dead'
    WHEN made.h % 100 < 3 THEN 'suppressed'
    WHEN made.h % 100 < 4 THEN 'cancelled'
    ELSE 'delivered' END AS state
FROM generate_series(:first::int8, :last::int8) AS n
CROSS JOIN LATERAL (SELECT hashint8(n)::int8 & 2147483647 AS h,
    now() - interval '30 days' * (:total::int8 - n) / :total - interval '1 minute' AS at) AS drawn
CROSS JOIN LATERAL (SELECT drawn.*, (lpad(to_hex((extract(epoch FROM drawn.at) * 1000)::int8), 12, '0')
    || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id) AS made -- a UUID of version 7
JOIN campaign AS c ON c.id = 1000
    + made.h / 100 % CASE WHEN made.h / 7 % 20 = 0 THEN :campaigns::int4 ELSE least(:campaigns, 50) END

-- fragment: provider
CASE WHEN h % 10 = 0 THEN 'backup' ELSE 'sandbox' END

-- fragment: error
(ARRAY['SMTP 550 5.1.1 mailbox 12345 unavailable', 'SMTP 554 5.7.1 rejected by policy 77', 'timeout after 30 s',
    'HTTP 429, retry after 17 s', 'HTTP 500 from 10.0.0.17', 'connection refused', 'certificate expired 12 days ago',
    'template: undefined variable'])[1 + h / 1000 % 8] || ' (' || n || ')'

-- name: triggers
INSERT INTO trigger
    (id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event, accepted_at)
SELECT id, project_id, campaign_id, channel,
    'customer-' || CASE WHEN h % 97 = 0 THEN 0 ELSE h / 3 % 200000 END,
    CASE channel WHEN 'text' THEN '+1202555' || lpad((h % 10000)::text, 4, '0')
        ELSE 'user-' || h / 3 % 200000 || '@example.com' END,
    'America/Chicago', 'en', '', '{"random_field": "value"}', at
FROM plan

-- name: first_attempts
INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
SELECT id, 1,
    -- include: provider
    , 'retry', at + interval '1 s', 0.2, '',
    -- include: error
FROM plan WHERE state = 'dead' OR (state IN ('delivered', 'queued') AND h % 8 = 0)

-- name: last_attempts
INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
SELECT id, 2,
    -- include: provider
    , CASE state WHEN 'queued' THEN 'retry' ELSE state END, at + interval '10 s', 0.2,
    CASE state WHEN 'delivered' THEN '<' || n || '@clarion.example>' ELSE '' END,
    CASE state WHEN 'delivered' THEN '' WHEN 'suppressed' THEN 'the recipient is suppressed' ELSE
        -- include: error
    END
FROM plan WHERE state IN ('delivered', 'dead', 'suppressed') OR (state = 'queued' AND h % 8 = 0)

-- name: dead_letters
INSERT INTO dead_letter (trigger_id, died_at, error)
SELECT id, at + interval '10 s',
    -- include: error
FROM plan WHERE state = 'dead'

-- name: cancellations
INSERT INTO cancellation (trigger_id, cancelled_at) SELECT id, at + interval '1 s' FROM plan WHERE state = 'cancelled'

-- name: queue
INSERT INTO queue (trigger_id, lane, due_at, attempt)
SELECT id, channel || '/sandbox', now() + interval '1 day', CASE WHEN h % 8 = 0 THEN 2 ELSE 0 END
FROM plan WHERE state = 'queued'

-- name: suppressions
INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id, created_at)
SELECT p.id, 'email', 'gone-' || n || '@example.com', 'SMTP 550 5.1.1 no such user (' || n % 9 || ')',
    CASE WHEN n % 10 = 0 THEN '' ELSE 'sandbox' END, gen_random_uuid(), now() - n * interval '26 s'
FROM generate_series(1, :number::int4) AS n JOIN
-- include: numbered_projects
ON p.place = n % 5

-- name: audit_events
INSERT INTO audit_event
    (occurred_at, actor_kind, actor, action, project_id, resource, before, after, address, request_id)
SELECT now() - (:number - n) * interval '26 s', 'person', 'operator-' || n % 40 || '@example.com',
    (ARRAY['campaign.update', 'key.create', 'key.revoke', 'deliveries.retry', 'suppressions.add'])[1 + n % 5],
    p.id, 'campaign/' || 1000 + n % 10000, '{"state": "active"}', '{"state": "paused"}', '192.0.2.1', 'r-' || n
FROM generate_series(1, :number::int4) AS n JOIN
-- include: numbered_projects
ON p.place = n % 5

-- name: webhooks
-- Not of the first project, whose triggers the benchmarks send.
INSERT INTO webhook (project_id, url, events, secret, created_at)
SELECT p.id, 'https://hooks.example.com/' || n, '{trigger.delivered,trigger.dead}', 'whsec_' || n,
    now() - n * interval '1 day'
FROM generate_series(1, least(100, :number::int4)) AS n JOIN
-- include: numbered_projects
ON p.place = 1 + n % 4

-- name: webhook_messages
-- To one endpoint.
WITH message AS (
    INSERT INTO webhook_message (webhook_id, trigger_id, type, body, created_at, failed_at)
    SELECT w.id, t.id, 'trigger.delivered', '{"type": "trigger.delivered"}', t.accepted_at,
        CASE WHEN hashtext(t.id::text) % 20 = 0 THEN t.accepted_at END
    FROM (SELECT id, accepted_at FROM trigger ORDER BY id DESC LIMIT :number::int4) AS t
    CROSS JOIN (SELECT id FROM webhook ORDER BY created_at DESC LIMIT 1) AS w
    RETURNING id, created_at, failed_at
)
INSERT INTO webhook_attempt (message_id, number, outcome, status, started_at, duration, error, answer)
SELECT id, 1, CASE WHEN failed_at IS NULL THEN 'delivered' ELSE 'dead' END,
    CASE WHEN failed_at IS NULL THEN 204 ELSE 410 END, created_at, 0.1, '', ''
FROM message

-- name: api_keys
INSERT INTO api_key (id, project_id, name, secret_hash, scopes, created_at, revoked_at)
SELECT gen_random_uuid(), p.id, 'service-' || n, sha256(n::text::bytea), '{trigger}', now() - n * interval '1 h',
    CASE WHEN n % 5 = 0 THEN now() END
FROM generate_series(1, least(1000, :number::int4)) AS n JOIN
-- include: numbered_projects
ON p.place = n % 5

-- name: admin_keys
INSERT INTO admin_key (id, name, hint, secret_hash, grants, created_by, expires_at)
SELECT gen_random_uuid(), 'robot-' || n, 'ak_1…', sha256(('robot' || n)::bytea), '[{"role": "viewer"}]',
    'command line', now() + interval '90 days'
FROM generate_series(1, least(100, :number::int4)) AS n

-- name: sessions
INSERT INTO operator_session (id, token_hash, name, grants, user_agent, expires_at)
SELECT gen_random_uuid(), sha256(('session' || n)::bytea), 'operator-' || n, '[{"role": "viewer"}]', 'Firefox',
    now() + interval '12 h'
FROM generate_series(1, least(100, :number::int4)) AS n

-- name: operations
INSERT INTO bulk_operation (id, kind, state, filter, matching, changed, actor_kind, actor, address, request_id, ended_at)
SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000 - n)::int8), 12, '0')
        || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
    'retry', 'done', '{"campaign_id": 1001}', 500, 500, 'person', 'operator-1', '192.0.2.1', 'r', now()
FROM generate_series(1, least(1000, :number::int4)) AS n

-- fragment: count_rows
-- Counts the CTE `counted` as server/store/statistics/rollup.sql does, in the order of time.
INSERT INTO statistic (resolution, starts_at, project_id, campaign_id, channel, provider, kind, bucket, count)
SELECT resolution, date_bin(resolution * interval '1 s', accepted_at, 'epoch') AS starts_at, project_id, coalesce(campaign_id, 0),
    channel, provider, kind, bucket, count(*)
FROM counted CROSS JOIN unnest(ARRAY[60, 3600]) AS resolution
WHERE resolution = 3600 OR accepted_at > now() - interval '3 days'
GROUP BY resolution, 2, project_id, channel, provider, kind, bucket, ROLLUP (campaign_id) ORDER BY starts_at

-- name: count_accepted
WITH counted AS (SELECT *, '' AS provider, 'accepted' AS kind, 0 AS bucket FROM trigger)
-- include: count_rows

-- name: count_attempts
WITH counted AS (
    SELECT t.*, a.provider,
        CASE a.outcome WHEN 'retry' THEN 'retried' WHEN 'dead' THEN 'failed' ELSE a.outcome END AS kind,
        CASE a.outcome WHEN 'delivered' THEN 20 + abs(hashtext(t.id::text)) % 10 ELSE 0 END AS bucket
    FROM attempt a JOIN trigger t ON t.id = a.trigger_id
)
-- include: count_rows

-- name: provider_results
INSERT INTO provider_result (provider, error, first_at, last_at, count, trigger_id)
SELECT provider, error, now() - interval '30 min', now() - row_number() OVER () * interval '1 s', count, trigger_id
FROM (
    SELECT a.provider, a.error, count(*), (array_agg(a.trigger_id))[1] AS trigger_id
    FROM (SELECT * FROM attempt ORDER BY trigger_id DESC LIMIT 1000) AS a GROUP BY 1, 2 LIMIT 100) AS newest

-- name: all_counted
UPDATE statistic_position SET xid = pg_snapshot_xmin(pg_current_snapshot())::text::int8,
    accepted_id = (SELECT id FROM trigger ORDER BY id DESC LIMIT 1)

-- name: analyze
VACUUM ANALYZE

-- name: checkpoint
CHECKPOINT

-- name: examples
-- Rows that exist, and have as many others around them as possible.
SELECT t.id::text AS trigger_id, p.name AS project, t.campaign_id::text, t.external_id AS user, t.address,
    (SELECT id::text FROM webhook ORDER BY created_at DESC LIMIT 1) AS webhook_id,
    (SELECT id::text FROM api_key WHERE hint = '' AND revoked_at IS NULL LIMIT 1) AS key_id,
    (SELECT id::text FROM operator_session LIMIT 1) AS session_id,
    (SELECT id::text FROM admin_key LIMIT 1) AS admin_key_id,
    (SELECT id::text FROM bulk_operation LIMIT 1) AS operation_id,
    (SELECT max(id)::text FROM campaign) AS rare_id,
    to_char(t.accepted_at - interval '14 days', 'YYYY-MM-DD"T"HH24:MI') AS middle,
    replace(regexp_replace(d.error, '[0-9]+', '#', 'g'), '#', '%23') AS error_group
FROM dead_letter d JOIN trigger t ON t.id = d.trigger_id JOIN project p ON p.id = t.project_id
ORDER BY d.trigger_id DESC LIMIT 1
