"""The SQL of webhooks' messages: how they come to be, and their queue.

As in `queue_statements.py`, the statements name their rows by `= ANY` or OFFSET 0.
"""

from __future__ import annotations

from ...domain.webhook import POLICY

__all__ = ["BURY_EXPIRED", "CLAIM", "FINISH", "RELEASE", "SEND_TEST", "TELL", "TTL", "WAITING"]

_MOMENT = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
TTL = f"interval '{POLICY.ttl:.0f} s'"

TELL = f"""told AS (
        INSERT INTO webhook_message (webhook_id, trigger_id, type, body)
        SELECT hears.id, t.id, 'trigger.' || news.state, json_build_object(
            'type', 'trigger.' || news.state,
            'timestamp', to_char(now() AT TIME ZONE 'UTC', {_MOMENT}),
            'data', json_build_object(
                'trigger_id', t.id, 'campaign_id', t.campaign_id, 'channel', t.channel,
                'external_id', t.external_id, 'state', news.state, 'attempts', news.attempts,
                'provider', nullif(news.provider, ''),
                'provider_message_id', nullif(news.provider_message_id, ''),
                'error', nullif(news.error, ''),
                'accepted_at', to_char(t.accepted_at AT TIME ZONE 'UTC', {_MOMENT})))::text
        FROM news
        CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = news.trigger_id OFFSET 0) AS t
        CROSS JOIN LATERAL (
            SELECT id FROM webhook WHERE webhook.project_id = t.project_id AND state = 'active'
                AND 'trigger.' || news.state = ANY(events) OFFSET 0) AS hears
        WHERE (SELECT EXISTS (SELECT FROM webhook))
        RETURNING id, webhook_id
    ), to_tell AS (
        INSERT INTO webhook_queue (message_id, webhook_id, expires_at)
        SELECT id, webhook_id, now() + {TTL} FROM told
    )"""  # noqa: S608 - constants only
"""Two parts of a WITH that tell endpoints what stands in its part `news`.

That has trigger_id, state, attempts, provider, provider_message_id and error (without the recipient). While
no project has an endpoint, `news` is not even read.
"""

SEND_TEST = f"""
    WITH message AS (
        INSERT INTO webhook_message (webhook_id, type, body)
        SELECT id, $2, json_build_object('type', $2::text,
            'timestamp', to_char(now() AT TIME ZONE 'UTC', {_MOMENT}),
            'data', json_build_object('webhook_id', id))::text
        FROM webhook WHERE id = $1 AND state = 'active'
        RETURNING id, webhook_id
    )
    INSERT INTO webhook_queue (message_id, webhook_id, expires_at)
    SELECT id, webhook_id, now() + {TTL} FROM message RETURNING message_id
"""  # noqa: S608 - constants only

_LOST = """message_id, attempt, 'lost', NULL::int4, claimed_at, extract(epoch FROM now() - claimed_at),
            'the dispatcher ended before it could record the outcome', ''"""

CLAIM = f"""
    WITH due AS (
        SELECT q.*
        FROM unnest($1::uuid[], $2::int4[], $3::timestamptz[]) AS share (webhook_id, slots, floor)
        CROSS JOIN LATERAL (
            SELECT message_id, webhook_id, attempt, claimed_by, claimed_at, due_at FROM webhook_queue
            WHERE webhook_queue.webhook_id = share.webhook_id AND due_at <= now() AND due_at >= share.floor
            ORDER BY due_at LIMIT share.slots FOR UPDATE SKIP LOCKED) AS q
    ), claimed AS (
        UPDATE webhook_queue SET due_at = now() + make_interval(secs => $4), attempt = attempt + 1,
            claimed_by = $5, claimed_at = now()
        WHERE message_id = ANY(ARRAY(SELECT message_id FROM due))
        RETURNING *
    ), lost AS (
        INSERT INTO webhook_attempt
            (message_id, number, outcome, status, started_at, duration, error, answer)
        SELECT {_LOST} FROM due WHERE claimed_by IS NOT NULL
        ON CONFLICT (message_id, number) DO NOTHING
    )
    SELECT now() AS at, found.*,
        ARRAY(SELECT (SELECT max(due.due_at) FROM due WHERE due.webhook_id = share.webhook_id)
            FROM unnest($1::uuid[]) WITH ORDINALITY AS share (webhook_id, place) ORDER BY place) AS reached
    FROM (SELECT) AS always LEFT JOIN (
        SELECT claimed.attempt, claimed.tries_from, claimed.expires_at, message.*
        FROM claimed
        CROSS JOIN LATERAL (
            SELECT * FROM webhook_message WHERE id = claimed.message_id OFFSET 0) AS message
    ) AS found ON true
    ORDER BY found.created_at
"""  # noqa: S608 - constants only

# An outcome of somebody whose lease had ended: as in the queue of triggers.
FINISH = """
    WITH done AS (
        SELECT * FROM unnest($1::uuid[], $2::int4[], $3::text[], $4::int4[], $5::timestamptz[], $6::float8[],
            $7::text[], $8::text[], $9::float8[], $10::uuid[]) AS f (message_id, number, outcome, status,
            started_at, duration, error, answer, retry_in, webhook_id)
    ), recorded AS (
        INSERT INTO webhook_attempt
            (message_id, number, outcome, status, started_at, duration, error, answer)
        SELECT message_id, number, outcome, status, started_at, duration, error, answer FROM done
        ON CONFLICT (message_id, number) DO UPDATE SET outcome = excluded.outcome, status = excluded.status,
            duration = excluded.duration, error = excluded.error, answer = excluded.answer
        WHERE webhook_attempt.outcome = 'lost'
    ), gone AS (
        DELETE FROM webhook_queue USING done
        WHERE webhook_queue.message_id = ANY($1) AND webhook_queue.message_id = done.message_id
            AND (done.outcome = 'delivered' OR (done.outcome = 'dead'
                AND webhook_queue.attempt = done.number AND webhook_queue.claimed_by = $11))
        RETURNING done.message_id, done.outcome
    ), failed AS (
        UPDATE webhook_message SET failed_at = now()
        WHERE id = ANY(ARRAY(SELECT message_id FROM gone WHERE outcome = 'dead'))
    ), raised AS (
        UPDATE webhook_message SET failed_at = NULL
        WHERE id = ANY(ARRAY(SELECT message_id FROM done WHERE outcome = 'delivered'))
            AND failed_at IS NOT NULL
    ), left_us AS (
        UPDATE webhook SET state = 'disabled', disabled_because = 'it answered 410 Gone'
        WHERE id = ANY(ARRAY(SELECT webhook_id FROM done WHERE status = 410)) AND state = 'active'
    )
    UPDATE webhook_queue SET due_at = now() + make_interval(secs => done.retry_in), claimed_by = NULL
    FROM done WHERE webhook_queue.message_id = ANY($1) AND webhook_queue.message_id = done.message_id
        AND done.outcome IN ('retry', 'lost') AND webhook_queue.attempt = done.number
        AND webhook_queue.claimed_by = $11
"""

RELEASE = """
    UPDATE webhook_queue SET due_at = now() + make_interval(secs => held.wait), attempt = attempt - 1,
        claimed_by = NULL
    FROM unnest($1::uuid[], $2::int4[], $3::float8[]) AS held (message_id, number, wait)
    WHERE webhook_queue.message_id = ANY($1) AND webhook_queue.message_id = held.message_id
        AND webhook_queue.attempt = held.number AND claimed_by = $4
"""

BURY_EXPIRED = f"""
    WITH expired AS (
        DELETE FROM webhook_queue WHERE message_id = ANY(ARRAY(
            SELECT message_id FROM webhook_queue
            WHERE expires_at <= now() AND (claimed_by IS NULL OR due_at <= now())
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING message_id, attempt, claimed_by, claimed_at
    ), recorded AS (
        INSERT INTO webhook_attempt
            (message_id, number, outcome, status, started_at, duration, error, answer)
        SELECT {_LOST} FROM expired WHERE claimed_by IS NOT NULL
        UNION ALL
        SELECT message_id, attempt + 1, 'dead', NULL, now(), 0, $2, '' FROM expired
        ON CONFLICT (message_id, number) DO NOTHING
    )
    UPDATE webhook_message SET failed_at = now()
    WHERE id = ANY(ARRAY(SELECT message_id FROM expired)) RETURNING id
"""  # noqa: S608 - constants only

WAITING = "SELECT count(*) FROM webhook_queue"
