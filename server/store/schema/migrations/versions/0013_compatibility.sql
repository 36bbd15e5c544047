-- The schema of the oldest version of Clarion that can use this one; see server/store/schema/version.py.
CREATE TABLE schema_compatibility (oldest text NOT NULL);
INSERT INTO schema_compatibility VALUES ('0013');
