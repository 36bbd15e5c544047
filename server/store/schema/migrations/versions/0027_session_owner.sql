-- Whose session it is: the admin key that started it, or an ID of the person. NULL: a version before this started it.
ALTER TABLE operator_session ADD COLUMN owner uuid;
UPDATE operator_session SET owner = key_id WHERE key_id IS NOT NULL;
CREATE INDEX operator_session_of_owner ON operator_session (owner, created_at) WHERE revoked_at IS NULL;
CREATE INDEX operator_session_current ON operator_session (created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX admin_key_age ON admin_key (created_at, id);
