"""The SQL that accepts triggers, and the columns that it takes."""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.placement import ValidTrigger

__all__ = [
    "CLAIM",
    "COLUMNS",
    "EARLIER",
    "INSERT",
    "INSERT_AGAIN",
    "INSERT_ONCE",
    "QUEUE",
    "claims",
    "columns",
    "keys",
    "places",
]

COLUMNS = (
    "id", "project_id", "campaign_id", "channel", "external_id", "address", "timezone", "locale", "user_data",
    "event", "traceparent", "send_at",
)  # fmt: skip
"""Of the table `trigger`: the first fields of a Trigger, in their order."""
_NAMES = ", ".join(COLUMNS)
_ROWS = (
    "unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[],"
    " $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[])"
)
_PLACES = (
    "unnest($1::uuid[], $13::text[], $14::timestamptz[], $15::timestamptz[])"
    " AS place (id, lane, due_at, expires_at)"
)
INSERT = f"""
    WITH accepted AS (INSERT INTO trigger ({_NAMES}) SELECT * FROM {_ROWS})
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, greatest(due_at, now()), expires_at FROM {_PLACES}
"""  # noqa: S608 - constants only
# After a connection died in a commit, nobody knows whether it took effect. The ids are ours, so the same
# batch can be sent again: rows that are there stay as they are, and are not queued a second time.
INSERT_AGAIN = f"""
    WITH accepted AS (
        INSERT INTO trigger ({_NAMES}) SELECT * FROM {_ROWS} ON CONFLICT (id) DO NOTHING RETURNING id)
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, greatest(due_at, now()), expires_at FROM accepted JOIN {_PLACES} USING (id)
"""  # noqa: S608 - constants only

# For a batch in which a trigger has an idempotency key. Who comes second, also from another process, waits
# for the first one's commit and reads what it wrote; the pointless update makes that row come back. A key
# past its time is taken over. This may be sent again, too: the key's row then names this very trigger. The
# order keeps two that have keys in common from waiting for each other.
_CLAIM = """
    INSERT INTO idempotency AS known (project_id, key, content, trigger_id)
    SELECT project_id, key, content, id FROM given WHERE key IS NOT NULL ORDER BY project_id, key
    ON CONFLICT (project_id, key) DO UPDATE SET
        content = CASE WHEN {old} THEN excluded.content ELSE known.content END,
        trigger_id = CASE WHEN {old} THEN excluded.trigger_id ELSE known.trigger_id END,
        created_at = CASE WHEN {old} THEN now() ELSE known.created_at END
    RETURNING project_id, key, content, trigger_id
"""
INSERT_ONCE = f"""
    WITH given AS (
        SELECT * FROM unnest($1::uuid[], $2::int8[], $16::text[], $17::bytea[])
            AS one (id, project_id, key, content)
    ), claimed AS ({_CLAIM.format(old="known.created_at < now() - make_interval(secs => $18)")}
    ), fresh AS (
        SELECT given.id FROM given LEFT JOIN claimed USING (project_id, key)
        WHERE given.key IS NULL OR claimed.trigger_id = given.id
    ), accepted AS (
        INSERT INTO trigger ({_NAMES}) SELECT row.* FROM {_ROWS} AS row ({_NAMES})
        WHERE row.id = ANY(ARRAY(SELECT id FROM fresh)) ON CONFLICT (id) DO NOTHING RETURNING id
    ), queued AS (
        INSERT INTO queue (trigger_id, lane, due_at, expires_at)
        SELECT id, lane, greatest(due_at, now()), expires_at FROM accepted JOIN {_PLACES} USING (id)
    )
    SELECT project_id, key, claimed.trigger_id, claimed.content
    FROM given JOIN claimed USING (project_id, key) WHERE claimed.trigger_id <> given.id
"""  # noqa: S608 - constants only

# The parts of the same for many triggers at once, which are copied. What the keys need comes as text with
# spaces between, which neither ids nor keys hold: the driver takes 2 µs to write one element of an array.
CLAIM = f"""
    WITH given AS (
        SELECT id, project_id, key, decode(hexadecimal, 'hex') AS content
        FROM unnest(
            string_to_array($1, ' ')::uuid[], string_to_array($2, ' ')::int8[],
            string_to_array($3, ' '), string_to_array($4, ' ')
        ) AS one (id, project_id, key, hexadecimal)
    ), claimed AS ({_CLAIM.format(old="known.created_at < now() - make_interval(secs => $5)")})
    SELECT project_id, key, claimed.trigger_id, claimed.content
    FROM given JOIN claimed USING (project_id, key) WHERE claimed.trigger_id <> given.id
"""  # noqa: S608 - constants only
QUEUE = """
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, greatest(due_at, now()), expires_at
    FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[])
        AS place (id, lane, due_at, expires_at)
"""

EARLIER = """
    SELECT project_id, key, trigger_id, content
    FROM unnest($1::int8[], $2::text[]) AS asked (project_id, key) JOIN idempotency USING (project_id, key)
    WHERE created_at >= now() - make_interval(secs => $3)
"""


def columns(entries: Sequence[ValidTrigger]) -> list[list[object]]:
    """Return what the statements take that insert: a list for each column."""
    rows = [
        (
            t.id,
            t.project_id,
            t.campaign_id,
            t.channel.value,
            t.external_id,
            t.address,
            t.timezone,
            t.locale,
            t.user_data,
            t.event,
            t.traceparent,
            t.send_at,
            place.lane,
            place.due_at,
            place.expires_at,
        )
        for t, place, _ in entries
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def keys(entries: Sequence[ValidTrigger]) -> tuple[list[object], list[object]]:
    """Return keys and contents: two further columns."""
    return [once and once.key for _, _, once in entries], [once and once.content for _, _, once in entries]


def claims(entries: Sequence[ValidTrigger]) -> list[str]:
    """Return what CLAIM takes of entries with keys: ids, projects, keys and contents."""
    rows = [
        (str(trigger.id), str(trigger.project_id), once.key, once.content.hex())
        for trigger, _, once in entries
        if once
    ]
    return [" ".join(column) for column in zip(*rows, strict=True)]


def places(entries: Sequence[ValidTrigger]) -> list[list[object]]:
    """Return the columns that QUEUE takes."""
    rows = [(trigger.id, place.lane, place.due_at, place.expires_at) for trigger, place, _ in entries]
    return [list(column) for column in zip(*rows, strict=True)]
