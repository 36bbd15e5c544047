-- The version of the campaign that the attempt used; NULL if there was nothing to render, or if an older version of
-- Clarion made the attempt.
ALTER TABLE attempt ADD COLUMN campaign_version bigint;
