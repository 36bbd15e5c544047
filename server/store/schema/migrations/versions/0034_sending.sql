-- Whether dispatchers send. While `held_at` is set, no dispatcher of this version or a later one claims anything.
-- `cluster` and `timeline` are the PostgreSQL server that dispatchers last used.
CREATE TABLE sending (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    held_at  timestamptz,
    held_by  text NOT NULL DEFAULT '',
    reason   text NOT NULL DEFAULT '',
    cluster  bigint,
    timeline int
);
INSERT INTO sending DEFAULT VALUES;

-- Why the database may lack what was sent before; NULL if there is no sign of it. A failover starts a new timeline, too,
-- but the new primary has no recovery target.
CREATE FUNCTION sign_of_restore(known sending, now_in bigint, now_on int) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN known.cluster <> now_in THEN 'the database is in another PostgreSQL cluster than before'
        WHEN known.timeline <> now_on AND target <> ''
            THEN 'PostgreSQL was restored: it is on a new timeline and has a recovery target (' || target || ')'
    END
    FROM (SELECT concat(current_setting('recovery_target'), current_setting('recovery_target_lsn'),
        current_setting('recovery_target_name'), current_setting('recovery_target_time'),
        current_setting('recovery_target_xid'))) AS recovery (target)
$$;

-- Holds sending if the database was restored; returns why, or NULL. Each new connection of a dispatcher calls it before
-- it can claim anything. Where PostgreSQL does not say which server it is, only `clarion hold` holds sending.
CREATE FUNCTION hold_if_restored() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    known sending;
    now_in bigint;
    now_on int;
    sign text;
BEGIN
    BEGIN
        SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
        INTO now_in, now_on FROM pg_control_system();
    EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
        RETURN NULL;
    END;
    SELECT * INTO known FROM sending;
    IF known.cluster = now_in AND known.timeline = now_on THEN
        RETURN NULL;
    END IF;
    SELECT * INTO known FROM sending FOR UPDATE; -- another connection may have been faster
    sign := sign_of_restore(known, now_in, now_on);
    IF sign IS NOT NULL AND known.held_at IS NULL THEN
        UPDATE sending SET held_at = now(), held_by = 'Clarion', reason = sign;
        INSERT INTO audit_event (actor_kind, actor, action, resource, after, address, request_id)
        VALUES ('robot', 'Clarion', 'sending.hold', 'sending', jsonb_build_object('reason', sign), '', '');
    END IF;
    UPDATE sending SET cluster = now_in, timeline = now_on;
    RETURN sign;
END $$;

SELECT hold_if_restored();
