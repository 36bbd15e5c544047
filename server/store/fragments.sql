-- Fragments that statements in several folders include; see sql.py.

-- fragment: wait_for_replicas
-- Makes the transaction wait until the synchronous replicas have everything that it could read. PostgreSQL waits only
-- at the end of a transaction that has an ID and wrote to the WAL, and then for the WAL up to its commit record. A
-- transaction becomes visible after its commit record is written, so what was read comes earlier in the WAL. This
-- empty message is such a write: it needs no table, lock or privilege, and standbys ignore it.
pg_logical_emit_message(true, 'clarion', ''::text)

-- fragment: is_held
-- Whether sending is held. NULL, which also stops claims, if the row is missing.
(SELECT held_at IS NOT NULL FROM sending WHERE only_row)

-- fragment: lost_attempt
-- The columns of `attempt` for a claimed row of `queue` whose lease has ended.
trigger_id, attempt, coalesce(sent_by, ''), 'lost', claimed_at, extract(epoch FROM now() - claimed_at), '',
'the dispatcher ended before it could record the outcome'

-- fragment: event_id
-- The ID of the message to the endpoint `subscribed` about a row of `news`: a UUID of version 8 (RFC 9562) made of the
-- SHA-256 of the event's identity. So an event that is reported twice, such as by a dispatcher whose lease had ended,
-- is one message. A trigger can become dead again after a redrive, so that event's identity includes the attempt.
overlay(overlay(substr(encode(sha256(convert_to(
    concat_ws('/', subscribed.id, news.trigger_id, news.state, CASE news.state WHEN 'dead' THEN news.attempts END),
    'UTF8')), 'hex'), 1, 32) PLACING '8' FROM 13) PLACING '8' FROM 17)::uuid

-- fragment: webhook_messages
-- Two CTEs that queue a message about each row of the CTE `news` for every subscribed endpoint. `news` has trigger_id,
-- state, attempts, provider, provider_message_id and error (without the recipient). If there are no endpoints, `news` is
-- not read.
notified AS (
    INSERT INTO webhook_message (id, webhook_id, trigger_id, type, body)
    SELECT
        -- include: event_id
    , subscribed.id, t.id, 'trigger.' || news.state, json_build_object(
        'type', 'trigger.' || news.state,
        'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', json_build_object(
            'trigger_id', t.id, 'campaign_id', t.campaign_id, 'channel', t.channel,
            'external_id', t.external_id, 'state', news.state, 'attempts', news.attempts,
            'provider', nullif(news.provider, ''),
            'provider_message_id', nullif(news.provider_message_id, ''),
            'error', nullif(news.error, ''), 'test', t.test,
            'accepted_at', to_char(t.accepted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text
    FROM news
    CROSS JOIN LATERAL (
        SELECT * FROM trigger WHERE id = news.trigger_id AND id >= :first_id AND id < :end_id OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT id FROM webhook WHERE webhook.project_id = t.project_id AND state = 'active'
            AND 'trigger.' || news.state = ANY(events) OFFSET 0) AS subscribed
    WHERE (SELECT EXISTS (SELECT FROM webhook))
    ON CONFLICT (id) DO NOTHING
    RETURNING id, webhook_id
), queued_messages AS (
    INSERT INTO webhook_queue (message_id, webhook_id, expires_at)
    SELECT id, webhook_id, now() + make_interval(secs => :message_ttl) FROM notified
)

-- fragment: lanes
-- A recursive CTE of the distinct lanes of `queue`, with one index look-up for each, regardless of the number of rows.
-- Its last row is NULL.
lanes AS (
    (SELECT lane FROM queue ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT queue.lane FROM queue WHERE queue.lane > lanes.lane ORDER BY queue.lane LIMIT 1)
    FROM lanes WHERE lanes.lane IS NOT NULL
)

-- fragment: lane_of_campaign
-- The lane of the trigger `t` of the campaign `c`, as `Campaign.lane_for` in server/domain/campaign.py.
c.channel || '/' || CASE WHEN t.test THEN '_test' ELSE array_to_string(c.providers, ',') END

-- fragment: current_lane
-- The lane that the campaign of a row of `queue` has now. If the campaign does not exist, or an author sends its content
-- as a test, the lane does not change.
coalesce((
    SELECT
        -- include: lane_of_campaign
    FROM trigger t JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id
    WHERE t.id = queue.trigger_id AND t.test_content IS NULL), queue.lane)

-- fragment: was_delivered
-- Whether the trigger `t` has been delivered. A cancellation or a last failure can be written at the same moment as
-- "delivered", neither transaction seeing the other; "delivered" then takes precedence.
'delivered' = ANY(ARRAY(SELECT a.outcome FROM attempt a WHERE a.trigger_id = t.id))

-- fragment: delivery_state
-- The state of the trigger `t`, from its rows q of queue, d of dead_letter, c of cancellation, and its attempts; see
-- `join_attempts`. "Delivered" takes precedence as in `was_delivered`.
CASE
    WHEN q.claimed_by IS NOT NULL AND q.due_at > now() THEN 'sending' -- after due_at, the lease has ended
    WHEN q.trigger_id IS NOT NULL AND q.attempt > 0 THEN 'retrying'
    WHEN q.trigger_id IS NOT NULL THEN 'pending'
    WHEN tried.was_delivered THEN 'delivered'
    WHEN d.trigger_id IS NOT NULL THEN 'dead'
    WHEN c.trigger_id IS NOT NULL THEN 'cancelled'
    WHEN last.outcome = 'suppressed' THEN 'suppressed'
    ELSE 'delivered'
END

-- fragment: join_last_attempt
LEFT JOIN LATERAL (
    SELECT number, provider, outcome, started_at, error FROM attempt a WHERE a.trigger_id = t.id
    ORDER BY a.number DESC LIMIT 1) AS last ON true

-- fragment: id_in_range
-- Whether `id` is in a range of which either end may be NULL; see id_ranges.py.
(:first_id::uuid IS NULL OR id >= :first_id) AND (:end_id::uuid IS NULL OR id < :end_id)

-- fragment: join_attempts
-- Joins the attempts of the trigger `t`, which are read once. The range is that of the triggers: PostgreSQL then plans
-- only for the partitions of attempts that are of the same time.
CROSS JOIN LATERAL (
    SELECT array_agg(a ORDER BY a.number) AS attempts, bool_or(a.outcome = 'delivered') AS was_delivered,
        (array_agg(a ORDER BY a.number DESC))[1] AS newest
    FROM attempt a WHERE a.trigger_id = t.id AND (:first_id::uuid IS NULL OR a.trigger_id >= :first_id)
        AND (:end_id::uuid IS NULL OR a.trigger_id < :end_id)) AS tried
CROSS JOIN LATERAL (SELECT (tried.newest).*) AS last

-- fragment: error_group
-- The last error without what differs between messages of the same cause.
regexp_replace(coalesce(last.error, (SELECT error FROM dead_letter WHERE trigger_id = t.id)), '[0-9]+', '#', 'g')

-- fragment: matches_admin_filter
-- Whether the trigger `t` of project `p` with its last attempt matches; a parameter that is NULL matches all.
(:campaign_id::int8 IS NULL OR t.campaign_id = :campaign_id) AND (:channel::text IS NULL OR t.channel = :channel)
AND (:external_id::text IS NULL OR t.external_id = :external_id)
AND (:since::timestamptz IS NULL OR t.accepted_at >= :since)
AND (:error::text IS NULL OR last.error ILIKE :error) AND (:project::text IS NULL OR p.name = :project)
AND (:visible::int8[] IS NULL OR t.project_id = ANY(:visible))
AND (:before::timestamptz IS NULL OR t.accepted_at < :before) AND (:address::text IS NULL OR t.address = :address)
AND (:provider::text IS NULL OR last.provider = :provider)
AND (:error_group::text IS NULL OR
    -- include: error_group
    = :error_group)

-- fragment: delivery_columns
-- The columns of a Delivery. One statement reads them all, so that they are consistent.
t.id, t.project_id, t.campaign_id, t.channel, t.external_id, t.accepted_at, t.send_at, t.key_id, t.test, q.due_at,
CASE WHEN tried.was_delivered IS NOT TRUE THEN c.cancelled_at END AS cancelled_at,
-- include: delivery_state
AS state,
coalesce(tried.attempts, '{}') AS attempts

-- fragment: join_records
-- Joins the other records of the trigger `t`. Each row is looked up separately, so that no table is scanned.
LEFT JOIN LATERAL (SELECT * FROM queue WHERE trigger_id = t.id OFFSET 0) AS q ON true
LEFT JOIN LATERAL (SELECT * FROM dead_letter WHERE trigger_id = t.id OFFSET 0) AS d ON true
LEFT JOIN LATERAL (SELECT * FROM cancellation WHERE trigger_id = t.id OFFSET 0) AS c ON true
-- include: join_attempts

-- fragment: without_content
-- Assignments that remove the content of a trigger.
address = '', user_data = '', event = '', traceparent = '', test_content = NULL

-- fragment: suppression_key
-- The key of hashed suppressions; NULL as long as there are none. Read once in a statement.
(SELECT key FROM suppression_key WHERE only_row)
