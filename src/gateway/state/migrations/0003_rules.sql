-- What rules have to do and have done: one row for an image and where it goes.
CREATE TABLE rule_runs (
    id         TEXT PRIMARY KEY,
    -- `warm`, `mirror`, or `schedule`: look which images there are, and warm each.
    kind       TEXT NOT NULL,
    -- Of a schedule: the rule's globs.
    repository TEXT NOT NULL,
    reference  TEXT NOT NULL,
    -- Name of the cache, or address of the other registry.
    target     TEXT NOT NULL,
    -- `waiting`, `running`, `done`, `failed`, `cancelled`.
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    -- What came of the last attempt, or how far this one is.
    message    TEXT NOT NULL DEFAULT '',
    -- Seconds since the epoch.
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    -- When the next attempt is due; while it runs, when whoever runs it is taken for dead.
    due        BIGINT NOT NULL,
    -- Who runs it: a new random text for each attempt.
    holder     TEXT NOT NULL DEFAULT ''
);
CREATE INDEX rule_runs_by_due ON rule_runs (state, due);
CREATE INDEX rule_runs_by_time ON rule_runs (created);
-- What is pushed again while it waits is done once.
CREATE UNIQUE INDEX rule_runs_waiting ON rule_runs (kind, repository, reference, target) WHERE state = 'waiting';
CREATE INDEX rule_runs_by_image ON rule_runs (kind, repository, reference, target, state);
