-- Empty and NULL for keys that older versions created.
ALTER TABLE api_key
    ADD COLUMN hint         text NOT NULL DEFAULT '', -- how the secret begins and ends
    ADD COLUMN created_by   text NOT NULL DEFAULT '',
    ADD COLUMN successor_id uuid;

-- When keys were last used, to the minute. In a separate table, so that servers do not reload keys because of it.
CREATE TABLE key_use (
    key_id  uuid PRIMARY KEY,
    used_at timestamptz NOT NULL
);
