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
CREATE TABLE user_settings (
    username         TEXT PRIMARY KEY,
    -- Deleting a cache leaves its users without a choice.
    content_cache_id TEXT REFERENCES content_caches (id) ON DELETE SET NULL
);
-- Public keys of all gateways that share this database.
CREATE TABLE signing_keys (
    kid     TEXT PRIMARY KEY,
    jwk     TEXT NOT NULL,
    -- Seconds since the epoch; what it signed counts no longer after `ends`.
    made    BIGINT NOT NULL,
    ends    BIGINT NOT NULL
);
