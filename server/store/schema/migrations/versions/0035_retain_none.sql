-- Triggers whose content is removed when their delivery ends. The queue repeats it, so that this costs others nothing.
ALTER TABLE trigger ADD COLUMN retain text NOT NULL DEFAULT '';
ALTER TABLE queue ADD COLUMN retain text NOT NULL DEFAULT '';

-- A delivery ends when its trigger leaves the queue. Whatever deletes the row, also a dispatcher of an older version, removes
-- the content in the same commit.
CREATE FUNCTION remove_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trigger SET address = '', user_data = '', event = '', traceparent = '', test_content = NULL
    WHERE id = OLD.trigger_id;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_removes_secret AFTER DELETE ON queue FOR EACH ROW WHEN (OLD.retain = 'none')
    EXECUTE FUNCTION remove_secret();
