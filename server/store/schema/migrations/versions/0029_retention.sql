-- How long data is kept. First, what `clarion migrate` and the housekeeping of dispatchers call to partition the tables that grow with each trigger, by
-- ranges of their ID: a UUID of version 7, which begins with the time. See server/store/schema/partitions.py.

-- The first ID of a moment.
CREATE FUNCTION id_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::int8), 12, '0') || repeat('0', 20))::uuid
$$;

-- The moment of an ID.
CREATE FUNCTION time_of_id(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::int8 / 1000.0)
$$;

-- The partitions of a table with the first ID after each, without that of IDs in no range.
CREATE FUNCTION partitions_of(parent regclass) RETURNS TABLE (name text, ends uuid) LANGUAGE sql STABLE AS $$
    SELECT relname::text, (regexp_match(pg_get_expr(relpartbound, oid), 'TO \(''([0-9a-f-]+)''\)'))[1]::uuid
    FROM pg_class JOIN pg_inherits ON inhrelid = oid
    WHERE inhparent = parent AND pg_get_expr(relpartbound, oid) <> 'DEFAULT'
$$;

-- Says that all IDs of a plain table are below `ends`. Rows are checked by the next function, which blocks no writer.
CREATE FUNCTION announce_partitions(plain text, key text, ends uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS before_partitions,
        ADD CONSTRAINT before_partitions CHECK (%I < %L) NOT VALID', plain, key, ends);
END $$;

CREATE FUNCTION validate_constraints(plain text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = plain::regclass AND NOT convalidated LOOP
        EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT %I', plain, name);
    END LOOP;
END $$;

-- Puts a partitioned table in the place of a plain one, which becomes its first partition. No row is read: the caller
-- has validated the constraint `before_partitions`, which says that all IDs are below `ends`, and all others.
CREATE FUNCTION partition_table(plain text, key text, ends uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent oid;
    child oid := plain::regclass;
    first text := plain || '_first';
    constraints text[] := ARRAY(
        SELECT format('ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE conrelid = child AND contype IN ('p', 'c') AND conname <> 'before_partitions');
    indexes text[] := ARRAY(
        SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = child AND NOT indisprimary);
    statement text;
BEGIN
    EXECUTE format('ALTER TABLE %I RENAME TO %I', plain, first);
    FOR statement IN
        SELECT format('ALTER INDEX %s RENAME TO %I', indexrelid::regclass, 'first_' || relname)
        FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = child
    LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE) PARTITION BY RANGE (%I)',
        plain, first, key);
    parent := plain::regclass;
    EXECUTE format('ALTER TABLE %I %s', plain, array_to_string(constraints, ', '));
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', plain || '_rest', plain);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', plain, first, ends);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT before_partitions', first);
    FOREACH statement IN ARRAY indexes LOOP -- those of the first partition are attached, not built
        EXECUTE statement;
    END LOOP;
    FOR statement IN
        SELECT format('GRANT %s ON %I TO %s', privilege_type, plain,
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
        FROM pg_class, aclexplode(relacl) WHERE oid = child AND grantee <> relowner
    LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('ALTER TABLE %I OWNER TO %I', plain, (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = child));
END $$;

-- Adds partitions of `days` days to a partitioned table, one after the other, until they reach `until`; returns how many.
-- Rows that are already in such a range, because no process added it in time, are moved from the rest.
CREATE FUNCTION add_partitions(parent text, key text, days int, until timestamptz) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    starts uuid;
    ends uuid;
    name text;
    added int := 0;
BEGIN
    LOOP
        starts := coalesce((SELECT p.ends FROM partitions_of(parent::regclass) AS p ORDER BY p.ends DESC LIMIT 1),
            id_at(date_trunc('day', now(), 'UTC')));
        EXIT WHEN time_of_id(starts) >= until;
        ends := id_at(time_of_id(starts) + make_interval(days => days));
        name := parent || to_char(time_of_id(starts) AT TIME ZONE 'UTC', '_YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
        EXECUTE format('LOCK TABLE %I', parent || '_rest');
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *)
            INSERT INTO %I SELECT * FROM moved', parent || '_rest', key, starts, key, ends, name);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, starts, ends);
        added := added + 1;
    END LOOP;
    RETURN added;
END $$;

-- Deletes the oldest partition of a table if all of its IDs are older than `before`; returns its name.
CREATE FUNCTION drop_partition(parent text, before timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    oldest text := (SELECT p.name FROM partitions_of(parent::regclass) AS p
        WHERE p.ends <= id_at(before) ORDER BY p.ends LIMIT 1);
BEGIN
    IF oldest IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I', oldest);
    END IF;
    RETURN oldest;
END $$;

-- Audit events are only deleted when their retention time is over.
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('clarion.delete_old_audit_events', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'audit events cannot be changed or deleted';
END $$;

-- Up to which trigger the content has been removed of those whose project keeps it for `days`.
CREATE TABLE content_removal (
    days       int PRIMARY KEY,
    after      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    started_at timestamptz NOT NULL DEFAULT now() -- when it last began with the oldest trigger
);

-- Triggers that were still queued at that time. Their content is removed once they are not.
CREATE TABLE content_due (
    trigger_id uuid PRIMARY KEY,
    due_at     timestamptz NOT NULL
);
CREATE INDEX content_due_at ON content_due (due_at);

-- For how many days a project keeps the content of triggers by channel, such as {"email": 7}; what is missing has the
-- default of the settings. A shorter time takes effect a day after the change, until when `content_days_before` holds.
ALTER TABLE project
    ADD COLUMN content_days            jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN content_days_before     jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN content_days_changed_at timestamptz;

-- For how many days the content of a project's triggers of a channel is kept now.
CREATE FUNCTION days_of_content(p project, channel text, standard int) RETURNS int LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p.content_days_changed_at > now() - interval '1 day'
        THEN greatest(coalesce((p.content_days_before->>channel)::int, standard), days) ELSE days END
    FROM (SELECT coalesce((p.content_days->>channel)::int, standard)) AS current (days)
$$;
