-- When a process started, how far its clock is ahead of the database's, and how long its last report took, in seconds.
-- Older versions of Clarion report none of them.
ALTER TABLE server_process ADD COLUMN started_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN clock_offset float8, ADD COLUMN write_seconds float8;
