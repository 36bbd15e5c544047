-- A campaign's providers in the order of preference. `provider` stays and is the first of them.
ALTER TABLE campaign
    ADD COLUMN providers       text[] NOT NULL DEFAULT '{}',
    ADD COLUMN send_window     text NOT NULL DEFAULT 'null', -- JSON
    ADD COLUMN unsubscribe_url text NOT NULL DEFAULT '',
    ADD COLUMN undefined       text NOT NULL DEFAULT 'empty' CHECK (undefined IN ('empty', 'strict'));
UPDATE campaign SET providers = ARRAY[provider];

-- The time zone of users whose own is unknown.
ALTER TABLE project ADD COLUMN timezone text NOT NULL DEFAULT 'UTC';

-- A lane is what one claim can serve: a channel and the providers in their order, `email/smtp,backup`. So no
-- claims are wasted on a provider that does not work, and the oldest trigger of each channel is one look-up.
ALTER TABLE queue RENAME COLUMN provider TO lane;
UPDATE queue SET lane = trigger.channel || '/' || queue.lane FROM trigger WHERE trigger.id = queue.trigger_id;
ALTER TABLE queue
    ADD COLUMN sent_by    text, -- the provider that the holder of the lease uses
    ADD COLUMN tries_from integer NOT NULL DEFAULT 0, -- attempts before the last redrive count for no policy
    ADD COLUMN expires_at timestamptz; -- when the trigger expires
CREATE INDEX queue_expiring ON queue (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE attempt DROP CONSTRAINT attempt_outcome_check,
    ADD CONSTRAINT attempt_outcome_check
        CHECK (outcome IN ('delivered', 'retry', 'dead', 'lost', 'suppressed')) NOT VALID;
CREATE INDEX attempt_suppressed ON attempt (trigger_id) WHERE outcome = 'suppressed';
CREATE INDEX dead_letter_died ON dead_letter (died_at);

-- Recipients that a provider refused for good. No campaign of the project sends to them any more.
CREATE TABLE suppression (
    project_id bigint NOT NULL REFERENCES project,
    channel    text NOT NULL,
    address    text NOT NULL,
    reason     text NOT NULL, -- the provider's words, without the address
    provider   text NOT NULL,
    trigger_id uuid NOT NULL, -- the trigger that was refused
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, channel, address)
);

-- Servers share the callers' limits, dispatchers the providers' rates.
ALTER TABLE server_process ADD COLUMN role text NOT NULL DEFAULT 'server';
