-- Audit events are deleted when their retention time is over, and lose the values that name a person who is erased.
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('clarion.delete_old_audit_events', true) = 'on'
        OR TG_OP = 'UPDATE' AND current_setting('clarion.erase_from_audit', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'audit events cannot be changed or deleted';
END $$;

-- Even then, only the values before and after a change can be written.
CREATE FUNCTION keep_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'before' - 'after' IS DISTINCT FROM to_jsonb(OLD) - 'before' - 'after' THEN
        RAISE EXCEPTION 'audit events cannot be changed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_event_keeps BEFORE UPDATE ON audit_event FOR EACH ROW EXECUTE FUNCTION keep_audit_event();

-- The key of hashed suppressions, random and made when the first person with a suppression is erased.
CREATE TABLE suppression_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key      bytea NOT NULL
);

-- What `suppression.address` has of a person who was erased: no address begins with #. NULL without a key, which costs
-- nothing: STRICT functions are not called then.
CREATE FUNCTION hashed_suppression(key bytea, channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT '#' || encode(sha256(key || sha256(key || convert_to(suppression_address(channel, address), 'UTF8'))), 'hex')
$$;
