-- Each filter of the audit log, in the order of its pages.
CREATE INDEX audit_event_time ON audit_event (occurred_at, id);
CREATE INDEX audit_event_project_time ON audit_event (project_id, occurred_at, id);
CREATE INDEX audit_event_actor ON audit_event (actor, occurred_at, id);
CREATE INDEX audit_event_action ON audit_event (action, occurred_at, id);
CREATE INDEX audit_event_resource ON audit_event (resource, occurred_at, id);
DROP INDEX audit_event_of_project;
