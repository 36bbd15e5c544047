-- The caller's trace context, so that a delivery's log lines are found from the caller's trace.
ALTER TABLE trigger ADD COLUMN traceparent text NOT NULL DEFAULT '';
