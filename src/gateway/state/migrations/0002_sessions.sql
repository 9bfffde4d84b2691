-- Sessions of the web page.
CREATE TABLE sessions (
    -- SHA-256 of the cookie, in hexadecimal: who reads the database is not logged in by it.
    id       TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    -- Made of the cookie and the account's line in the password file: another password ends the session.
    account  TEXT NOT NULL,
    -- Seconds since the epoch: when it began, and when it was used last (to a minute).
    began    BIGINT NOT NULL,
    seen     BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (username, began);
