//! Values of the `Authorization` field, kept out of logs.

use std::fmt;
use std::sync::Arc;

use super::Credentials;

/// A whole value of `Authorization`: scheme and secret. `Debug` hides it; nothing displays it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authorization(Arc<str>);

impl Authorization {
    /// Returns the value that presents a token; `None` where the token is not one (RFC 6750 §2.1).
    pub(super) fn bearer(token: &str) -> Option<Self> {
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Self(format!("Bearer {token}").into()))
    }

    /// Returns the value that presents a user name and a password (RFC 7617 §2).
    pub(super) fn basic(credentials: &Credentials) -> Self {
        let pair = format!("{}:{}", credentials.username, credentials.password);
        Self(format!("Basic {}", base64(pair.as_bytes())).into())
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

/// Encodes with the standard alphabet and padding (RFC 4648 §4). Input is a few bytes at start-up, so
/// this is written for brevity.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, index| {
            bits << 8 | usize::from(group.get(index).copied().unwrap_or(0))
        });
        for index in 0..4 {
            text.push(if index <= group.len() {
                char::from(ALPHABET[bits >> (18 - 6 * index) & 63])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_shows_it() {
        // RFC 4648 §10.
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

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
