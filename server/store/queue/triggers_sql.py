"""The queue's SQL.

The statements name their rows by `= ANY` or OFFSET 0, which leaves PostgreSQL only the index to find them
by; see `SESSION` in `queue.py`.
"""

from __future__ import annotations

from .webhooks_sql import TELL

__all__ = ["BURY_EXPIRED", "CLAIM", "FINISH", "LANES", "LOST", "RELEASE"]

LOST = """trigger_id, attempt, coalesce(sent_by, ''), 'lost', claimed_at,
            extract(epoch FROM now() - claimed_at), '',
            'the dispatcher ended before it could record the outcome'"""
"""The columns of the attempt of a claimed row whose lease is over."""

# A row that is due although somebody holds it had a dispatcher that died: its attempt is recorded as lost.
CLAIM = f"""
    WITH due AS (
        SELECT share.lane, q.*
        FROM unnest($1::text[], $2::int4[], $4::timestamptz[]) AS share (lane, slots, floor)
        CROSS JOIN LATERAL (
            SELECT trigger_id, attempt, claimed_by, claimed_at, sent_by, due_at FROM queue
            WHERE queue.lane = share.lane AND due_at <= now() AND due_at >= share.floor
            ORDER BY due_at LIMIT share.slots FOR UPDATE SKIP LOCKED) AS q
    ), claimed AS (
        UPDATE queue SET due_at = now() + make_interval(secs => $5), attempt = queue.attempt + 1,
            claimed_by = $6, claimed_at = now(),
            sent_by = ($3::text[])[array_position($1::text[], queue.lane)]
        WHERE queue.trigger_id = ANY(ARRAY(SELECT trigger_id FROM due))
        RETURNING queue.*
    ), lost AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT {LOST} FROM due WHERE claimed_by IS NOT NULL
        ON CONFLICT (trigger_id, number) DO NOTHING
    )
    SELECT now() AS at, found.*,
        ARRAY(SELECT (SELECT max(due.due_at) FROM due WHERE due.lane = share.lane)
            FROM unnest($1::text[]) WITH ORDINALITY AS share (lane, place) ORDER BY place) AS reached
    FROM (SELECT) AS always LEFT JOIN (
        SELECT claimed.attempt, claimed.lane, claimed.sent_by, claimed.due_at, claimed.tries_from,
            claimed.expires_at, trigger.*, suppression.reason
        FROM claimed
        CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = claimed.trigger_id OFFSET 0) AS trigger
        LEFT JOIN LATERAL (
            SELECT reason FROM suppression AS s WHERE s.project_id = trigger.project_id
                AND s.channel = trigger.channel AND s.address = trigger.address OFFSET 0
        ) AS suppression ON true
    ) AS found ON true
    ORDER BY found.id
"""  # noqa: S608 - constants only

# A dispatcher whose lease ran out may still come back with an outcome. "Delivered" is true whoever holds the
# row now; to retry or to give up is for the present holder alone.
FINISH = f"""
    WITH done AS (
        SELECT * FROM unnest($1::uuid[], $2::int4[], $3::text[], $4::text[], $5::timestamptz[],
            $6::float8[], $7::text[], $8::text[], $9::float8[], $10::text[]) AS f (trigger_id, number,
            provider, outcome, started_at, duration, provider_message_id, error, retry_in, refusal)
    ), recorded AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error
        FROM done
        ON CONFLICT (trigger_id, number) DO UPDATE SET outcome = excluded.outcome,
            duration = excluded.duration, provider_message_id = excluded.provider_message_id,
            error = excluded.error, xid = pg_current_xact_id() -- watchers are told again
        WHERE attempt.outcome = 'lost'
        RETURNING trigger_id, number, outcome, provider, provider_message_id, error
    ), gone AS (
        DELETE FROM queue USING done
        WHERE queue.trigger_id = ANY($1) AND queue.trigger_id = done.trigger_id
            AND (done.outcome = 'delivered' OR
                (done.outcome IN ('dead', 'suppressed')
                    AND queue.attempt = done.number AND queue.claimed_by = $11))
        RETURNING done.trigger_id, done.number, done.outcome, done.provider, done.error
    ), buried AS (
        INSERT INTO dead_letter (trigger_id, error)
        SELECT trigger_id, error FROM gone WHERE outcome = 'dead'
        ON CONFLICT (trigger_id) DO UPDATE SET died_at = now(), error = excluded.error
    ), raised AS (
        DELETE FROM dead_letter USING done
        WHERE dead_letter.trigger_id = ANY($1) AND dead_letter.trigger_id = done.trigger_id
            AND done.outcome = 'delivered'
    ), sent_after_all AS ( -- its lease had ended, and the caller cancelled it since
        DELETE FROM cancellation USING done
        WHERE cancellation.trigger_id = ANY($1) AND cancellation.trigger_id = done.trigger_id
            AND done.outcome = 'delivered'
    ), suppressed AS (
        INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id)
        SELECT DISTINCT ON (t.project_id, t.channel, t.address)
            t.project_id, t.channel, t.address, done.refusal, done.provider, t.id
        FROM done CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = done.trigger_id OFFSET 0) AS t
        WHERE done.refusal <> ''
        ON CONFLICT (project_id, channel, address) DO NOTHING
    ), news AS ( -- "delivered" also when nothing waits any more: it is true, and recorded but once
        SELECT trigger_id, outcome AS state, number AS attempts, provider, provider_message_id, error
        FROM recorded WHERE outcome = 'delivered'
        UNION ALL
        SELECT trigger_id, outcome, number, provider, '', error FROM gone WHERE outcome <> 'delivered'
    ), {TELL}
    UPDATE queue SET due_at = now() + make_interval(secs => done.retry_in), claimed_by = NULL
    FROM done WHERE queue.trigger_id = ANY($1) AND queue.trigger_id = done.trigger_id
        AND done.outcome IN ('retry', 'lost') AND queue.attempt = done.number AND queue.claimed_by = $11
"""  # noqa: S608 - constants only

RELEASE = """
    UPDATE queue SET due_at = now() + make_interval(secs => held.wait), attempt = attempt - 1,
        claimed_by = NULL
    FROM unnest($1::uuid[], $2::int4[], $3::float8[]) AS held (trigger_id, number, wait)
    WHERE queue.trigger_id = ANY($1) AND queue.trigger_id = held.trigger_id
        AND queue.attempt = held.number AND claimed_by = $4
"""

# What nobody claims in time, because its provider is out of order or its window closed. A row under a lease
# is its holder's, who sees that it has expired.
BURY_EXPIRED = f"""
    WITH expired AS (
        DELETE FROM queue WHERE trigger_id = ANY(ARRAY(
            SELECT trigger_id FROM queue
            WHERE expires_at <= now() AND (claimed_by IS NULL OR due_at <= now())
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING trigger_id, attempt, claimed_by, claimed_at, sent_by
    ), recorded AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT {LOST} FROM expired WHERE claimed_by IS NOT NULL
        UNION ALL
        SELECT trigger_id, attempt + 1, '', 'dead', now(), 0, '', $2 FROM expired
        ON CONFLICT (trigger_id, number) DO NOTHING
    ), news AS (
        SELECT trigger_id, 'dead' AS state, attempt + 1 AS attempts, '' AS provider,
            '' AS provider_message_id, $2::text AS error
        FROM expired
    ), {TELL}
    INSERT INTO dead_letter (trigger_id, error) SELECT trigger_id, $2 FROM expired
    ON CONFLICT (trigger_id) DO UPDATE SET died_at = now(), error = excluded.error
    RETURNING trigger_id
"""  # noqa: S608 - constants only

# The distinct lanes by one look into the index for each, however many rows they have.
LANES = """
    WITH RECURSIVE lanes AS (
        (SELECT lane FROM queue ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT queue.lane FROM queue WHERE queue.lane > lanes.lane ORDER BY queue.lane LIMIT 1)
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT lane FROM lanes WHERE lane IS NOT NULL
"""
