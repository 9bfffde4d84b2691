-- Sessions of the web page.
CREATE TABLE sessions (
    -- SHA-256 of the cookie, in hexadecimal: who reads the database is not logged in by it.
    id       TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    csrf     TEXT NOT NULL,
    -- Seconds since the epoch.
    ends     BIGINT NOT NULL
);
