-- Accepts triggers, in one commit with their positions in the queue and their idempotency keys. The fragments
-- `trigger_columns`, `given_triggers`, `queue_retain` and `given_retain` come from the fields of Trigger; see statements.py.

-- fragment: given_places
unnest(:id::uuid[], :lanes::text[], :due_at::timestamptz[], :expires_at::timestamptz[]
        -- include: given_retain
    ) AS place (id, lane, due_at, expires_at
        -- include: queue_retain
    )

-- fragment: queue_columns
trigger_id, lane, due_at, expires_at
-- include: queue_retain

-- fragment: place_columns
id, lane, greatest(due_at, now()), expires_at
-- include: queue_retain

-- name: insert
WITH accepted AS (
    INSERT INTO trigger (
        -- include: trigger_columns
    )
    SELECT
        -- include: trigger_columns
    FROM
        -- include: given_triggers
)
INSERT INTO queue (
    -- include: queue_columns
)
SELECT
    -- include: place_columns
FROM
    -- include: given_places

-- name: insert_again
-- After a connection was lost in a commit, it is unknown whether the commit took effect. The ids are made by the
-- server, so the same entries can be sent again: rows that exist stay as they are and are not queued a second time. If
-- all exist, nothing is inserted, but the commit that wrote them may not be on the replicas yet.
WITH accepted AS (
    INSERT INTO trigger (
        -- include: trigger_columns
    )
    SELECT
        -- include: trigger_columns
    FROM
        -- include: given_triggers
    ON CONFLICT (id) DO NOTHING RETURNING id
), queued AS (
    INSERT INTO queue (
        -- include: queue_columns
    )
    SELECT
        -- include: place_columns
    FROM accepted JOIN
        -- include: given_places
        USING (id)
)
SELECT
    -- include: wait_for_replicas

-- fragment: claim_keys
-- If two entries have the same key, even in different processes, the second waits for the first to commit and then
-- reads its row: the update without effect makes RETURNING include existing rows. A key older than its lifetime is
-- reassigned. The statement can be sent again, because the key's row then refers to the same trigger. Because it always
-- writes, the commit also waits until the replicas have the rows that it found. The sort order prevents deadlocks
-- between commits that share keys.
INSERT INTO idempotency AS known (project_id, key, content, trigger_id)
SELECT project_id, key, content, id FROM given WHERE key IS NOT NULL ORDER BY project_id, key
ON CONFLICT (project_id, key) DO UPDATE SET
    content = CASE WHEN known.created_at < now() - make_interval(secs => :lifetime)
        THEN excluded.content ELSE known.content END,
    trigger_id = CASE WHEN known.created_at < now() - make_interval(secs => :lifetime)
        THEN excluded.trigger_id ELSE known.trigger_id END,
    created_at = CASE WHEN known.created_at < now() - make_interval(secs => :lifetime)
        THEN now() ELSE known.created_at END
RETURNING project_id, key, content, trigger_id

-- name: insert_with_keys
-- For entries of which at least one has an idempotency key.
WITH given AS (
    SELECT * FROM unnest(:id::uuid[], :project_id::int8[], :keys::text[], :contents::bytea[])
        AS entry (id, project_id, key, content)
), claimed AS (
    -- include: claim_keys
), fresh AS (
    SELECT given.id FROM given LEFT JOIN claimed USING (project_id, key)
    WHERE given.key IS NULL OR claimed.trigger_id = given.id
), accepted AS (
    INSERT INTO trigger (
        -- include: trigger_columns
    )
    SELECT
        -- include: trigger_columns
    FROM
        -- include: given_triggers
    WHERE given_trigger.id = ANY(ARRAY(SELECT id FROM fresh)) ON CONFLICT (id) DO NOTHING RETURNING id
), queued AS (
    INSERT INTO queue (
        -- include: queue_columns
    )
    SELECT
        -- include: place_columns
    FROM accepted JOIN
        -- include: given_places
        USING (id)
)
SELECT project_id, key, claimed.trigger_id, claimed.content
FROM given JOIN claimed USING (project_id, key) WHERE claimed.trigger_id <> given.id

-- name: claim_keys
-- Claims the keys of many triggers, which COPY then inserts. The values are joined by spaces, which neither ids nor
-- keys contain, because the driver takes 2 µs for each element of an array.
WITH given AS (
    SELECT id, project_id, key, decode(hexadecimal, 'hex') AS content
    FROM unnest(
        string_to_array(:ids, ' ')::uuid[], string_to_array(:project_ids, ' ')::int8[],
        string_to_array(:keys, ' '), string_to_array(:contents, ' ')
    ) AS entry (id, project_id, key, hexadecimal)
), claimed AS (
    -- include: claim_keys
)
SELECT project_id, key, claimed.trigger_id, claimed.content
FROM given JOIN claimed USING (project_id, key) WHERE claimed.trigger_id <> given.id

-- name: queue
INSERT INTO queue (
    -- include: queue_columns
)
SELECT
    -- include: place_columns
FROM
    -- include: given_places

-- name: find_earlier
SELECT project_id, key, trigger_id, content
FROM unnest(:project_ids::int8[], :keys::text[]) AS given (project_id, key)
JOIN idempotency USING (project_id, key)
WHERE created_at >= now() - make_interval(secs => :lifetime)

-- name: notify
SELECT pg_notify(:channel, '')
