-- How often something happened to messages, in each minute and each hour. Written by server/store/statistics/rollup.py.
CREATE TABLE statistic (
    resolution  integer NOT NULL, -- seconds: 60 or 3600
    starts_at   timestamptz NOT NULL,
    project_id  bigint NOT NULL,
    campaign_id bigint NOT NULL,
    channel     text NOT NULL,
    provider    text NOT NULL, -- empty for what no provider took part in
    kind        text NOT NULL, -- accepted, delivered, failed, retried, suppressed or cancelled
    bucket      smallint NOT NULL, -- of the time to delivery, see server/domain/statistics.py; otherwise 0
    count       bigint NOT NULL,
    PRIMARY KEY (resolution, starts_at, project_id, campaign_id, channel, provider, kind, bucket)
) WITH (fillfactor = 70);

-- Up to where the record has been counted. Changed in the transaction that adds the counts.
CREATE TABLE statistic_position (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    xid         bigint NOT NULL, -- of attempts and cancellations
    trigger_id  uuid NOT NULL,
    number      integer NOT NULL,
    accepted_id uuid NOT NULL -- of triggers
);
-- Counting starts now: counting all that was recorded before could take hours.
INSERT INTO statistic_position (xid, trigger_id, number, accepted_id)
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8, '00000000-0000-0000-0000-000000000000', 0,
    (lpad(to_hex((extract(epoch FROM now()) * 1000)::int8), 12, '0') || repeat('0', 20))::uuid;

-- The recent errors of each provider and its last success, whose error is empty.
CREATE TABLE provider_result (
    provider   text NOT NULL,
    error      text NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    count      bigint NOT NULL, -- since first_at
    trigger_id uuid NOT NULL, -- the last one
    PRIMARY KEY (provider, error)
);
