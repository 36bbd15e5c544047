-- The draft of a campaign: content that is not in force. A campaign has one at most.
CREATE TABLE campaign_draft (
    project_id   bigint NOT NULL,
    campaign_id  bigint NOT NULL,
    content      text NOT NULL, -- JSON, as in campaign_version
    base_version bigint NOT NULL, -- the version of the campaign that the draft was made from
    saved_at     timestamptz NOT NULL,
    saved_by     text NOT NULL,
    PRIMARY KEY (project_id, campaign_id)
);
