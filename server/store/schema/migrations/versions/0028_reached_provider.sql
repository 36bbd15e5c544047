-- Whether the attempt reached its provider; false if it ended before, such as at a template that could not be rendered.
-- Attempts of older versions of Clarion count as if they had.
ALTER TABLE attempt ADD COLUMN reached_provider boolean NOT NULL DEFAULT true;
