-- Lists, the newest first.
CREATE INDEX suppression_age ON suppression (created_at, project_id, channel, address);
