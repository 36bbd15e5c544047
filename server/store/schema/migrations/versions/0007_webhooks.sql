-- Endpoints that receive events. Secrets are stored in plain text because they sign messages.
CREATE TABLE webhook (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id       bigint NOT NULL REFERENCES project,
    url              text NOT NULL,
    events           text[] NOT NULL,
    secret           text NOT NULL,
    previous_secret  text NOT NULL DEFAULT '',
    previous_until   timestamptz, -- until then, the previous secret signs too
    state            text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    disabled_because text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_of_project ON webhook (project_id);
-- For each row: the statement that records attempts could change an endpoint, but hardly ever does.
CREATE TRIGGER webhook_changed AFTER INSERT OR UPDATE OR DELETE ON webhook
    FOR EACH ROW EXECUTE FUNCTION bump_catalog_version();

-- The messages to endpoints: written in the commit that changes the trigger's state, and deleted after a while
-- (webhooks.keep). No foreign keys: each message would lock its endpoint's row.
CREATE TABLE webhook_message (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id uuid NOT NULL,
    trigger_id uuid, -- NULL: a test
    type       text NOT NULL,
    body       text NOT NULL, -- exactly as it is sent, each time
    created_at timestamptz NOT NULL DEFAULT now(),
    failed_at  timestamptz -- given up, until an operator retries it
);
CREATE INDEX webhook_message_age ON webhook_message (created_at);
CREATE INDEX webhook_message_of ON webhook_message (webhook_id, created_at);
CREATE INDEX webhook_message_failed ON webhook_message (webhook_id, created_at) WHERE failed_at IS NOT NULL;

-- What is still to be sent; as `queue` is for triggers.
CREATE TABLE webhook_queue (
    message_id uuid PRIMARY KEY,
    webhook_id uuid NOT NULL,
    due_at     timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    attempt    integer NOT NULL DEFAULT 0,
    tries_from integer NOT NULL DEFAULT 0,
    claimed_by uuid,
    claimed_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX webhook_queue_due ON webhook_queue (webhook_id, due_at);
CREATE INDEX webhook_queue_expiring ON webhook_queue (expires_at);

-- The delivery log.
CREATE TABLE webhook_attempt (
    message_id uuid NOT NULL,
    number     integer NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('delivered', 'retry', 'dead', 'lost')),
    status     integer, -- NULL: there was no answer
    started_at timestamptz NOT NULL,
    duration   double precision NOT NULL, -- seconds
    error      text NOT NULL,
    answer     text NOT NULL, -- how the answer's body begins
    PRIMARY KEY (message_id, number)
);
