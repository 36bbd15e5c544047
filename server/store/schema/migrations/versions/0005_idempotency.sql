-- The trigger that an idempotency key belongs to, and the SHA-256 of its content. Written with the trigger, in one
-- commit; forgotten after a day (server.idempotency_ttl).
CREATE TABLE idempotency (
    project_id bigint NOT NULL,
    key        text NOT NULL,
    content    bytea NOT NULL,
    trigger_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);
