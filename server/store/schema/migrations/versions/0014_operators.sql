-- Keys of the admin API. Grants are JSON: [{"role": "admin", "project_id": null}].
CREATE TABLE admin_key (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    hint        text NOT NULL,
    secret_hash bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    grants      jsonb NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    used_at     timestamptz -- to the minute
);

-- Sessions in the portal. A session ends with its admin key.
CREATE TABLE operator_session (
    id         uuid PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    name       text NOT NULL,
    grants     jsonb NOT NULL,
    key_id     uuid REFERENCES admin_key,
    user_agent text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE INDEX operator_session_expiry ON operator_session (expires_at);

-- Every change that an operator makes, written in the transaction of the change.
CREATE TABLE audit_event (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor_kind  text NOT NULL,
    actor       text NOT NULL,
    actor_key   uuid, -- the admin key that authenticated the call or started its session
    session_id  uuid,
    action      text NOT NULL, -- such as `project.update`
    project_id  bigint,        -- NULL: for all projects
    resource    text NOT NULL, -- such as `project/demo`
    before      jsonb,         -- without secrets; NULL: it did not exist
    after       jsonb,
    address     text NOT NULL,
    request_id  text NOT NULL
);
CREATE INDEX audit_event_of_project ON audit_event (project_id, id);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events cannot be changed or deleted';
END $$;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
