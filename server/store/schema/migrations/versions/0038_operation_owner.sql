-- The admin key or person whose running operations are counted together: names of people are not unique. NULL for operations
-- that an older version starts.
ALTER TABLE bulk_operation ADD COLUMN owner text;
