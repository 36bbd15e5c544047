-- NULL for triggers that older versions accepted.
ALTER TABLE trigger ADD COLUMN key_id uuid;
