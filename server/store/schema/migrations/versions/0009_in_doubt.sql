-- A new outcome of attempts. NOT VALID: the tables can be large, and no row has had it before.
ALTER TABLE attempt DROP CONSTRAINT attempt_outcome_check,
    ADD CONSTRAINT attempt_outcome_check
        CHECK (outcome IN ('delivered', 'retry', 'dead', 'lost', 'suppressed', 'in_doubt')) NOT VALID;
ALTER TABLE webhook_attempt DROP CONSTRAINT webhook_attempt_outcome_check,
    ADD CONSTRAINT webhook_attempt_outcome_check
        CHECK (outcome IN ('delivered', 'retry', 'dead', 'lost', 'in_doubt')) NOT VALID;
