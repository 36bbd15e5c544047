-- When the caller wanted it sent; NULL: at once.
ALTER TABLE trigger ADD COLUMN send_at timestamptz;

-- Triggers that were cancelled before they were sent.
CREATE TABLE cancellation (
    trigger_id   uuid PRIMARY KEY,
    cancelled_at timestamptz NOT NULL DEFAULT now(),
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- The order in which watchers receive changes: rows of transactions below pg_snapshot_xmin() are complete and final,
-- so a watcher misses none that commits late. Older rows have no xid and are not sent.
ALTER TABLE attempt ADD COLUMN xid xid8;
ALTER TABLE attempt ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX attempt_log ON attempt (xid);
CREATE INDEX cancellation_log ON cancellation (xid);

-- Lists of a campaign's and of a user's triggers, the newest first.
CREATE INDEX trigger_of_campaign ON trigger (project_id, campaign_id, id);
CREATE INDEX trigger_of_user ON trigger (project_id, external_id, id);
