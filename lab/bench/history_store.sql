-- Old triggers and their attempts, in partitions of the past; see history_store.py.

-- name: functions
-- Of this session. The first lets the partitions of an empty table begin at a time in the past. The others exchange an
-- empty partition for a new table, which gets its indexes after its rows.
CREATE FUNCTION pg_temp.begin_at(parent text, starts timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, parent || '_first');
    EXECUTE format('DROP TABLE %I', parent || '_first');
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (%L)',
        parent || '_first', parent, id_at(starts));
END $$;
CREATE FUNCTION pg_temp.detach(parent text, partition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    bounds text := (SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = partition::regclass);
BEGIN
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, partition);
    EXECUTE format('DROP TABLE %I', partition);
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS)',
        'old_' || parent, parent);
    RETURN bounds;
END $$;
CREATE FUNCTION pg_temp.attach(parent text, partition text, bounds text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I RENAME TO %I', 'old_' || parent, partition);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I %s', parent, partition, bounds);
END $$

-- name: begin_at
SELECT pg_temp.begin_at(:parent, date_trunc('day', now(), 'UTC') - make_interval(days => :days))

-- name: add_partitions
SELECT add_partitions(:parent, :key, :days, now() + make_interval(days => 2 * :days + 1))

-- name: partitions
-- The oldest first, without those of the future.
SELECT name, time_of_id(lag(ends) OVER (ORDER BY ends)) AS starts, time_of_id(ends) AS ends
FROM partitions_of('trigger') WHERE ends <= id_at(now() + interval '60 days') ORDER BY ends

-- name: detach
SELECT pg_temp.detach(:parent, :partition)

-- name: attach
SELECT pg_temp.attach(:parent, :partition, :bounds)

-- fragment: each_time
-- A row for each of `rows` triggers, spread over the time between `starts` and `ends`. IDs are UUIDs of version 7.
generate_series(1, :rows::int8) AS n
CROSS JOIN LATERAL (SELECT :starts::timestamptz + n * (:ends::timestamptz - :starts) / (:rows + 1) AS at) AS drawn
CROSS JOIN LATERAL (SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::int8), 12, '0')
    || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id) AS made

-- name: trigger
-- As retention leaves them.
INSERT INTO old_trigger
    (id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event, accepted_at)
SELECT id, :project_id, (:campaigns::int8[])[1 + n % cardinality(:campaigns)], 'email',
    'customer-' || abs(hashint8(n)::int8) % :users::int4, '', 'America/Chicago', 'en', '', '', at
FROM
-- include: each_time

-- name: attempt
INSERT INTO old_attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
SELECT id, 1, 'smtp', 'delivered', at, 0.01, '<' || n || '@clarion.example>', '' FROM
-- include: each_time

-- name: settings
SELECT set_config('maintenance_work_mem', '256MB', false), set_config('synchronous_commit', 'off', false),
    set_config('jit', 'off', false)

-- name: vacuum
VACUUM ANALYZE

-- name: checkpoint
CHECKPOINT

-- name: sizes
SELECT pg_database_size(current_database()) AS size, (SELECT count(*) FROM partitions_of('trigger')) AS partitions

-- name: campaigns
INSERT INTO campaign (project_id, id, name, channel, provider, providers, state, sender, templates, retry, revision)
SELECT :project_id::int8, id, 'campaign ' || id, 'email', 'smtp', '{smtp}', 'active', 'hello@clarion.example', '{}', '{}', 1
FROM unnest(:ids::int8[]) AS id ON CONFLICT DO NOTHING

-- name: project
INSERT INTO project (name) SELECT 'history' WHERE NOT EXISTS (SELECT FROM project)
RETURNING id

-- name: content_removed
-- Of all rows, so that dispatchers do not read them.
INSERT INTO content_removal (days, after) VALUES (30, id_at(now() - interval '30 days'))
ON CONFLICT (days) DO UPDATE SET after = excluded.after

-- name: all_counted
UPDATE statistic_position SET xid = pg_snapshot_xmin(pg_current_snapshot())::text::int8,
    accepted_id = (SELECT id FROM trigger ORDER BY id DESC LIMIT 1)

-- name: oldest
-- The partition that ends first, and the whole days since then.
SELECT name, floor(extract(epoch FROM now() - time_of_id(ends)) / 86400)::int4 AS days
FROM partitions_of('trigger') ORDER BY ends LIMIT 1

-- name: lock_waits
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
