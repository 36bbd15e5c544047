-- Changes of all deliveries that match a filter, made by the servers in steps. A step is one transaction, which locks
-- the row: so one server at a time works on it, and the step of a server that ends is undone and made again.
CREATE TABLE bulk_operation (
    id         uuid PRIMARY KEY, -- version 7
    kind       text NOT NULL CHECK (kind IN ('retry', 'cancel')),
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled', 'failed')),
    filter     jsonb NOT NULL,
    projects   bigint[], -- NULL: all projects
    matching   int NOT NULL,
    changed    int NOT NULL DEFAULT 0,
    after      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- the last trigger that was looked at
    actor_kind text NOT NULL,
    actor      text NOT NULL,
    actor_key  uuid,
    session_id uuid,
    address    text NOT NULL,
    request_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE INDEX bulk_operation_running ON bulk_operation (updated_at) WHERE state = 'running';
