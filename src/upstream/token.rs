//! Tokens of next hops, kept until shortly before they expire and shared by all cores.
//!
//! Source: distribution, spec/auth/token.md, "Token Response Fields".

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Deserialize;

use super::Credentials;
use super::authorization::Authorization;
use crate::rt::Notify;

/// Lifetime of a token whose reply does not say (distribution, spec/auth/token.md).
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
/// Longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token is given up this much before it expires, or a quarter of its life if that is less.
const MARGIN: Duration = Duration::from_secs(15);
/// Most tokens kept: one a repository that is being pulled.
const TOKENS_MAX: usize = 4096;

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Purpose {
    /// Position of the hop.
    pub(super) hop: usize,
    /// What the request needs, empty where it has no repository.
    pub(super) scope: String,
    /// In whose name, where it is not the cache's own.
    pub(super) login: Option<Arc<Credentials>>,
}

/// A token as a realm gave it. It has no `Debug`, so that it cannot be logged.
pub(super) struct Token {
    pub(super) authorization: Authorization,
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct Reply {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

impl Token {
    /// Reads a realm's reply; `None` if it holds no token that could be sent.
    ///
    /// What serde_json would say is lost with purpose: it quotes the reply.
    pub(super) fn parse(reply: &[u8]) -> Option<Self> {
        let reply: Reply = serde_json::from_slice(reply).ok()?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = given(reply.token).or_else(|| given(reply.access_token))?;
        let seconds = reply.expires_in.as_ref().and_then(seconds);
        let lifetime = seconds.map_or(LIFETIME_DEFAULT, Duration::from_secs);
        Some(Self {
            authorization: Authorization::bearer(&token)?,
            lifetime: lifetime.min(LIFETIME_MAX),
        })
    }
}

/// Some realms write the number as a string or with a fraction.
fn seconds(value: &serde_json::Value) -> Option<u64> {
    match value {
        serde_json::Value::String(text) => text.parse().ok(),
        serde_json::Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the cast saturates"
            )]
            let whole = |float: f64| float as u64;
            number.as_u64().or_else(|| number.as_f64().map(whole))
        }
        _ => None,
    }
}

/// The tokens at hand.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    kept: Mutex<HashMap<Purpose, Kept>>,
    asked: Mutex<HashSet<Purpose>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Kept {
    authorization: Authorization,
    until: Instant,
    /// It was asked for because of a 403, and got the same: a 403 is the hop's word on the request.
    is_blameless: bool,
}

impl Tokens {
    /// Returns the token for `purpose` if there is one that can be used at `now`.
    pub(super) fn find(&self, purpose: &Purpose, now: Instant) -> Option<Authorization> {
        let kept = self.kept.lock();
        let token = kept.get(purpose).filter(|token| now < token.until)?;
        Some(token.authorization.clone())
    }

    /// Keeps a token that was asked for at `asked`; makes room by the ones that end soonest.
    pub(super) fn keep(&self, purpose: Purpose, token: &Token, asked: Instant) {
        let life = token.lifetime - MARGIN.min(token.lifetime / 4);
        let mut kept = self.kept.lock();
        if kept.len() >= TOKENS_MAX && !kept.contains_key(&purpose) {
            kept.retain(|_, token| asked < token.until);
            let soonest = kept.iter().min_by_key(|(_, token)| token.until);
            let soonest = soonest.map(|(purpose, _)| purpose.clone());
            if let Some(purpose) = soonest.filter(|_| kept.len() >= TOKENS_MAX) {
                kept.remove(&purpose);
            }
        }
        let authorization = token.authorization.clone();
        let until = asked + life;
        kept.insert(
            purpose,
            Kept {
                authorization,
                until,
                is_blameless: false,
            },
        );
    }

    /// Drops a token that was refused, unless another has taken its place.
    pub(super) fn forget(&self, purpose: &Purpose, refused: &Authorization) {
        let mut kept = self.kept.lock();
        if kept
            .get(purpose)
            .is_some_and(|token| token.authorization == *refused)
        {
            kept.remove(purpose);
        }
    }

    /// Says whether a new token might do what one that got a 403 did not: it has not been tried yet.
    pub(super) fn may_have_expired(&self, purpose: &Purpose, refused: &Authorization) -> bool {
        let kept = self.kept.lock();
        let is_blameless = |token: &Kept| token.authorization == *refused && token.is_blameless;
        !kept.get(purpose).is_some_and(is_blameless)
    }

    /// Takes note that a token asked for because of a 403 got one too.
    pub(super) fn has_not_expired(&self, purpose: &Purpose, refused: &Authorization) {
        let mut kept = self.kept.lock();
        let token = kept.get_mut(purpose);
        if let Some(token) = token.filter(|token| token.authorization == *refused) {
            token.is_blameless = true;
        }
    }

    /// Returns the right to ask for a token, or waits for whoever has it and returns `None`.
    ///
    /// Who waited in vain asks without it, at once with all others, so that a realm that hangs costs
    /// everyone its time twice at most.
    pub(super) async fn lead(&self, purpose: &Purpose) -> Option<Lead<'_>> {
        if self.asked.lock().insert(purpose.clone()) {
            return Some(Lead {
                tokens: self,
                purpose: purpose.clone(),
            });
        }
        let over = || (!self.asked.lock().contains(purpose)).then_some(());
        self.arrived.wait(over).await;
        None
    }
}

/// The right to ask for a token, given back on drop.
pub(super) struct Lead<'t> {
    tokens: &'t Tokens,
    purpose: Purpose,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.tokens.asked.lock().remove(&self.purpose);
        self.tokens.arrived.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(scope: &str) -> Purpose {
        let scope = scope.to_owned();
        Purpose {
            hop: 0,
            scope,
            login: None,
        }
    }

    fn parse(reply: &str) -> Option<(String, u64)> {
        let token = Token::parse(reply.as_bytes())?;
        let value = token.authorization.expose().to_owned();
        Some((value, token.lifetime.as_secs()))
    }

    #[test]
    fn replies_are_read_as_registries_write_them() {
        for (reply, expected) in [
            (r#"{"token":"a"}"#, Some(("Bearer a", 60))),
            (
                r#"{"access_token":"b","expires_in":300}"#,
                Some(("Bearer b", 300)),
            ),
            (r#"{"token":"","access_token":"b"}"#, Some(("Bearer b", 60))),
            (
                r#"{"token":"a","access_token":"b","x":{}}"#,
                Some(("Bearer a", 60)),
            ),
            (r#"{"token":"a","expires_in":"90"}"#, Some(("Bearer a", 90))),
            (r#"{"token":"a","expires_in":90.5}"#, Some(("Bearer a", 90))),
            (r#"{"token":"a","expires_in":-1}"#, Some(("Bearer a", 0))),
            (r#"{"token":"a","expires_in":null}"#, Some(("Bearer a", 60))),
            (
                r#"{"token":"a","expires_in":1e300}"#,
                Some(("Bearer a", 86400)),
            ),
            (r#"{"token":"a\r\nX: y"}"#, None),
            (r#"{"token":5}"#, None),
            (r"{}", None),
            (r"[]", None),
            ("", None),
        ] {
            let found = parse(reply);
            let found = found.as_ref().map(|(value, life)| (value.as_str(), *life));
            assert_eq!(found, expected, "{reply}");
        }
    }

    #[test]
    fn a_token_is_used_until_shortly_before_it_expires() {
        let (tokens, start) = (Tokens::default(), Instant::now());
        let token = |text, seconds| Token {
            authorization: Authorization::bearer(text).unwrap(),
            lifetime: Duration::from_secs(seconds),
        };
        let at =
            |scope, seconds| tokens.find(&purpose(scope), start + Duration::from_secs(seconds));
        tokens.keep(purpose("a"), &token("one", 60), start);
        tokens.keep(purpose("b"), &token("two", 20), start);
        tokens.keep(purpose("c"), &token("three", 0), start);
        assert!(at("a", 44).is_some());
        assert!(at("a", 45).is_none());
        assert!(at("b", 14).is_some());
        assert!(at("b", 15).is_none());
        assert!(at("c", 0).is_none());
        assert!(at("d", 0).is_none());
        let other = Purpose {
            hop: 1,
            ..purpose("a")
        };
        assert!(tokens.find(&other, start).is_none());
        let login = Purpose {
            login: Some(Arc::new(Credentials {
                username: "u".to_owned(),
                password: "p".to_owned(),
            })),
            ..purpose("a")
        };
        let found = tokens.find(&login, start);
        assert!(found.is_none(), "somebody else's right");
        tokens.forget(&purpose("a"), &Authorization::bearer("old").unwrap());
        assert!(at("a", 0).is_some());
        tokens.forget(&purpose("a"), &Authorization::bearer("one").unwrap());
        assert!(at("a", 0).is_none());
    }

    #[test]
    fn the_token_that_ends_soonest_makes_room() {
        let (tokens, start) = (Tokens::default(), Instant::now());
        for index in 0..=TOKENS_MAX {
            let token = Token {
                authorization: Authorization::bearer("x").unwrap(),
                lifetime: Duration::from_secs(1000 + index as u64),
            };
            tokens.keep(purpose(&index.to_string()), &token, start);
        }
        assert_eq!(tokens.kept.lock().len(), TOKENS_MAX);
        assert!(tokens.find(&purpose("0"), start).is_none());
        assert!(tokens.find(&purpose("1"), start).is_some());
    }
}
