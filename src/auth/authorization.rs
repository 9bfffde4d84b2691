//! Reads a client's `Authorization`.
//!
//! Refuses nothing by itself: what is not a well-formed `Basic` or `Bearer` is somebody's whom this cache
//! does not know. Strict, so that no two readers disagree: canonical base64 with padding, UTF-8, no control
//! characters.
//!
//! Source: RFC 9110 §11.4, RFC 7617 §2, RFC 6750 §2.1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Secret;
use crate::limits::TOKEN_BYTES_MAX;

/// Who a client says it is. `Debug` hides passwords and tokens.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization<'a> {
    /// A user name and a password.
    Basic {
        /// The user's name; may be empty.
        user: String,
        /// The password; may be empty.
        password: Secret,
    },
    /// A token, not yet looked at.
    Bearer(&'a str),
    /// Another scheme, or credentials that are malformed or longer than [`TOKEN_BYTES_MAX`].
    Other,
}

impl<'a> Authorization<'a> {
    /// Reads a field's value. O(length); allocates for `Basic`.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Self {
        Self::read(value).unwrap_or(Self::Other)
    }

    fn read(value: &'a [u8]) -> Option<Self> {
        let value = str::from_utf8(value).ok()?;
        let (scheme, rest) = value.split_once(' ')?;
        let credentials = rest.trim_matches(' ');
        if credentials.len() > TOKEN_BYTES_MAX || !is_token68(credentials) {
            return None;
        }
        if scheme.eq_ignore_ascii_case("Bearer") {
            return Some(Self::Bearer(credentials));
        }
        if !scheme.eq_ignore_ascii_case("Basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
        if pair.chars().any(char::is_control) {
            return None;
        }
        let (user, password) = pair.split_once(':')?;
        Some(Self::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        })
    }
}

/// Says whether `text` is what both schemes carry (RFC 9110 §11.2).
fn is_token68(text: &str) -> bool {
    let words = text.trim_end_matches('=');
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !words.is_empty() && words.bytes().all(word)
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user:?}, …)"),
            Self::Bearer(_) => f.write_str("Bearer(…)"),
            Self::Other => f.write_str("Other"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body of a fuzz target: what is read can be written again and reads the same.
    pub(crate) fn check_authorization(bytes: &[u8]) {
        match Authorization::parse(bytes) {
            Authorization::Basic { user, password } => {
                let pair = format!("{user}:{}", password.expose());
                assert!(!user.contains(':') && !pair.chars().any(char::is_control));
                let again = format!("Basic {}", STANDARD.encode(&pair));
                let expected = Authorization::Basic { user, password };
                assert_eq!(Authorization::parse(again.as_bytes()), expected);
            }
            Authorization::Bearer(token) => {
                assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
                let again = format!("bearer {token}");
                assert_eq!(
                    Authorization::parse(again.as_bytes()),
                    Authorization::Bearer(token)
                );
            }
            Authorization::Other => {}
        }
    }

    fn basic<'a>(user: &str, password: &str) -> Authorization<'a> {
        Authorization::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn credentials_are_read_as_clients_send_them() {
        for (value, expected) in [
            // RFC 7617 §2.
            (
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
                basic("Aladdin", "open sesame"),
            ),
            ("bASIC   Og== ", basic("", "")),
            ("Basic YTpiOmM=", basic("a", "b:c")),
            ("Basic dGVzdDoxMjPCow==", basic("test", "123£")),
            (
                "Bearer abc.def-_~+/==",
                Authorization::Bearer("abc.def-_~+/=="),
            ),
            ("bearer x", Authorization::Bearer("x")),
        ] {
            assert_eq!(Authorization::parse(value.as_bytes()), expected, "{value}");
            check_authorization(value.as_bytes());
        }
    }

    #[test]
    fn what_is_malformed_is_nobodys() {
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
        for value in [
            "",
            "Basic",
            "Basic ",
            "Bearer",
            "Bearer  ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
            "Bearer\ta",
            "Bearer é",
            "Digest username=\"a\"",
            "Negotiate abc",
            // Without padding, with trailing bits, of the other alphabet, without a colon.
            "Basic Og",
            "Basic Oh==",
            "Basic YT8_Og==",
            "Basic YWJj",
            // A line end, a NUL, not UTF-8.
            "Basic YTpiCmM=",
            "Basic YToA",
            "Basic YTr/",
            &long,
        ] {
            assert_eq!(
                Authorization::parse(value.as_bytes()),
                Authorization::Other,
                "{value}"
            );
        }
        assert_eq!(Authorization::parse(b"Bearer \xff"), Authorization::Other);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let basic = Authorization::parse(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{basic:?}"), "Basic(\"Aladdin\", …)");
        assert_eq!(
            format!("{:?}", Authorization::parse(b"Bearer s3cret")),
            "Bearer(…)"
        );
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            value in "(Basic|Bearer) {1,2}[A-Za-z0-9+/=. é]{0,20}",
        ) {
            check_authorization(&bytes);
            check_authorization(value.as_bytes());
        }
    }
}
