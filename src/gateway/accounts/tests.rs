//! Files, logins and rights.
