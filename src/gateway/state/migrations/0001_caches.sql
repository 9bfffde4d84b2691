-- Content caches, as the API shows them, and what each user chose. Both SQLite and PostgreSQL read this.
CREATE TABLE content_caches (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    host        TEXT NOT NULL,
    -- CIDR networks whose clients are sent here when they chose nothing: a JSON list of texts.
    networks    TEXT NOT NULL DEFAULT '[]',
    is_default  INTEGER NOT NULL DEFAULT 0,
    -- Admin API of the cache, for warming.
    admin_url   TEXT,
    admin_token TEXT
);
-- One cache at most is for all who chose nothing.
CREATE UNIQUE INDEX content_caches_default ON content_caches (is_default) WHERE is_default = 1;
CREATE TABLE user_settings (
    username         TEXT PRIMARY KEY,
    -- Deleting a cache leaves its users without a choice.
    content_cache_id TEXT REFERENCES content_caches (id) ON DELETE SET NULL
);
CREATE INDEX user_settings_by_cache ON user_settings (content_cache_id);
-- Grows by one in each transaction that changes the two tables above, before anything else is done in it: gateways see
-- by one row that something is new, and writers take turns.
CREATE TABLE revision (
    number BIGINT NOT NULL
);
INSERT INTO revision (number) VALUES (1);
-- Public keys of all gateways that share this database.
CREATE TABLE signing_keys (
    kid     TEXT PRIMARY KEY,
    jwk     TEXT NOT NULL,
    -- Seconds since the epoch; what it signed counts no longer after `ends`.
    made    BIGINT NOT NULL,
    ends    BIGINT NOT NULL
);
