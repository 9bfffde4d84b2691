//! Values of the `Authorization` field, kept out of logs.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Credentials;
use crate::auth::Secret;
use crate::http::grammar::is_value;

/// A whole value of `Authorization`: scheme and secret. `Debug` hides it; nothing displays it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authorization(Arc<str>);

impl Authorization {
    /// Returns the value that presents a token; `None` where the token is not one (RFC 6750 §2.1).
    pub(super) fn bearer(token: &str) -> Option<Self> {
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Self(format!("Bearer {token}").into()))
    }

    /// Returns a client's own value, as it came; `None` where it cannot be part of a head.
    pub(super) fn of_client(value: &Secret) -> Option<Self> {
        is_value(value.expose().as_bytes()).then(|| Self(value.expose().into()))
    }

    /// Returns the value that presents a user name and a password (RFC 7617 §2).
    pub(super) fn basic(credentials: &Credentials) -> Self {
        let pair = format!("{}:{}", credentials.username, credentials.password);
        Self(format!("Basic {}", STANDARD.encode(pair)).into())
    }

    /// Returns the value for the wire, and for nothing else.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_cannot_carry_a_line_end() {
        let value = Authorization::bearer("s3cret").unwrap();
        assert!(!format!("{value:?}").contains("s3cret"));
        for bad in ["", "a b", "a\r\nX: y", "é"] {
            assert!(Authorization::bearer(bad).is_none(), "{bad:?}");
        }
        let basic = Authorization::basic(&Credentials {
            username: "Aladdin".to_owned(),
            password: "open sesame".to_owned(),
        });
        // RFC 7617 §2.
        assert_eq!(basic.expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
