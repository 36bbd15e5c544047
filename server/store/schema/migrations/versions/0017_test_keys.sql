ALTER TABLE api_key ADD COLUMN test boolean NOT NULL DEFAULT false;

-- Whether a test key triggered it. Then it is never sent, and counts in no statistics.
ALTER TABLE trigger ADD COLUMN test boolean NOT NULL DEFAULT false;
ALTER TABLE dead_letter ADD COLUMN test boolean NOT NULL DEFAULT false;

-- A test stays in the lane of tests, which no provider serves, even if a dispatcher or a command of an older version,
-- which does not know about tests, moves or retries it. Accepting and claiming does not execute these functions: a
-- trigger is accepted without attempts, and a claim does not set the lane.
CREATE FUNCTION keep_test_lane() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lane := OLD.lane;
    RETURN NEW;
END $$;
CREATE TRIGGER queue_keeps_test_lane BEFORE UPDATE OF lane ON queue FOR EACH ROW
    WHEN (OLD.lane LIKE '%/\_test' AND NEW.lane NOT LIKE '%/\_test') EXECUTE FUNCTION keep_test_lane();

CREATE FUNCTION set_test_lane() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lane := coalesce(
        (SELECT t.channel || '/_test' FROM trigger t WHERE t.id = NEW.trigger_id AND t.test), NEW.lane);
    RETURN NEW;
END $$;
CREATE TRIGGER queue_sets_test_lane BEFORE INSERT ON queue FOR EACH ROW
    WHEN (NEW.attempt > 0 AND NEW.lane NOT LIKE '%/\_test') EXECUTE FUNCTION set_test_lane();
