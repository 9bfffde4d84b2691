-- What rules have to do and have done: one row for an image and where it goes.
CREATE TABLE rule_runs (
    id         TEXT PRIMARY KEY,
    -- `warm` or `mirror`.
    kind       TEXT NOT NULL,
    repository TEXT NOT NULL,
    reference  TEXT NOT NULL,
    -- Name of the cache, or address of the other registry.
    target     TEXT NOT NULL,
    -- `waiting`, `running`, `done`, `failed`.
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    -- What came of the last attempt.
    message    TEXT NOT NULL DEFAULT '',
    -- Seconds since the epoch.
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    -- When the next attempt is due.
    due        BIGINT NOT NULL
);
CREATE INDEX rule_runs_by_due ON rule_runs (state, due);
