//! Answers a next hop's challenge: a token of its realm, or the configured credentials.
//!
//! ```text
//!            ╭ Bearer ─▶ realm allowed? ─▶ token at hand, or asked for ─▶ once more
//! 401 ──────▶┼ Basic, credentials configured ───────────────────────────▶ once more
//!            ╰ neither ─────────────────────────────────────────────────▶ 401 it is
//! ```
//!
//! Source: distribution, spec/auth/token.md; RFC 7617.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use url::Url;

use super::authorization::Authorization;
use super::error::Error;
use super::peer::{authority, shown};
use super::realm::{self, Verdict};
use super::request::Request;
use super::response::Response;
use super::throttle::{self, Backoff};
use super::token::{Purpose, Token, Tokens};
use super::verdict::is_slow;
use super::{Credentials, Hop, Upstream};
use crate::limits::LISTING_BYTES_MAX;
use crate::registry::challenge;

/// What is known of how to be let in.
#[derive(Debug)]
pub(super) struct Keyring {
    tokens: Tokens,
    /// By position of the hop: whether it asked for the credentials themselves.
    wants_basic: Vec<AtomicBool>,
    /// By position of the hop: its token service.
    rests: Vec<Mutex<Rest>>,
}

/// A token service that may have asked to be left alone.
#[derive(Debug)]
struct Rest {
    until: Option<Instant>,
    backoff: Backoff,
}

/// What a `Bearer` challenge asks for.
#[derive(Debug, PartialEq, Eq)]
struct Bearer {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

/// What a 401 asks for, of what can be answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    bearer: Option<Bearer>,
    is_basic: bool,
}

impl Keyring {
    /// Returns a keyring for that many hops.
    pub(super) fn new(hops: usize) -> Self {
        let rest = || Rest {
            until: None,
            backoff: Backoff::new(),
        };
        Self {
            tokens: Tokens::default(),
            wants_basic: (0..hops).map(|_| AtomicBool::new(false)).collect(),
            rests: (0..hops).map(|_| Mutex::new(rest())).collect(),
        }
    }

    /// Returns for how long the token service of a hop is to be left alone.
    fn rest(&self, hop: usize) -> Option<Duration> {
        let until = self.rests[hop].lock().until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Takes note that the token service of a hop asks to be left alone; returns for how long it is.
    fn let_rest(&self, hop: usize, response: &Response) -> Duration {
        let field = response.field("retry-after");
        let asked = field.and_then(|value| throttle::retry_after(value, SystemTime::now()));
        let now = Instant::now();
        let mut rest = self.rests[hop].lock();
        let wait = asked.map_or_else(|| rest.backoff.next(now), throttle::bound);
        rest.until = Some(now + wait);
        wait
    }

    /// Returns what let a request like this in before.
    pub(super) fn find(&self, purpose: &Purpose, hop: &Hop) -> Option<Authorization> {
        if self.wants_basic[purpose.hop].load(Ordering::Relaxed) {
            return purpose.credentials(hop).map(Authorization::basic);
        }
        self.tokens.find(purpose, Instant::now())
    }

    /// Says whether a 403 to what let requests in before may only mean that it has expired: GHCR and ECR say
    /// so instead of 401. A login is what it was, and a token that came in such a one's place is not to
    /// blame.
    pub(super) fn may_have_expired(&self, purpose: &Purpose, refused: &Authorization) -> bool {
        let is_login = self.wants_basic[purpose.hop].load(Ordering::Relaxed);
        !is_login && self.tokens.may_have_expired(purpose, refused)
    }

    /// Takes note that a new token was refused like the old one.
    pub(super) fn has_not_expired(&self, purpose: &Purpose, refused: &Authorization) {
        self.tokens.has_not_expired(purpose, refused);
    }

    /// Takes note that the hop refused it.
    pub(super) fn forget(&self, purpose: &Purpose, refused: &Authorization) {
        self.wants_basic[purpose.hop].store(false, Ordering::Relaxed);
        self.tokens.forget(purpose, refused);
    }
}

impl Purpose {
    /// Returns the name and password that a challenge of `hop` is answered with.
    pub(super) fn credentials<'p>(&'p self, hop: &'p Hop) -> Option<&'p Credentials> {
        self.login.as_deref().or(hop.credentials.as_ref())
    }
}

impl Upstream {
    /// Returns what answers the challenge of `response`; `None` where nothing does, or only what
    /// has just been `refused`.
    ///
    /// # Errors
    /// `Realm` where the realm must not be asked; `Token` where it gave none; `Throttled` where it asks to
    /// slow down; those of an exchange.
    pub(super) async fn authorize(
        &self,
        purpose: &Purpose,
        response: &Response,
        refused: Option<&Authorization>,
    ) -> Result<Option<Authorization>, Error> {
        let asked = read_challenges(response.values("www-authenticate"));
        if let Some(bearer) = asked.bearer {
            return self.token(purpose, &bearer, refused).await;
        }
        let credentials = purpose.credentials(&self.hops[purpose.hop]);
        let basic = credentials.filter(|_| asked.is_basic);
        let basic = basic.map(Authorization::basic);
        let basic = basic.filter(|basic| Some(basic) != refused);
        self.keyring.wants_basic[purpose.hop].store(basic.is_some(), Ordering::Relaxed);
        Ok(basic)
    }

    /// Returns a token, asked for by one request at a time.
    async fn token(
        &self,
        purpose: &Purpose,
        bearer: &Bearer,
        refused: Option<&Authorization>,
    ) -> Result<Option<Authorization>, Error> {
        let tokens = &self.keyring.tokens;
        let _lead = tokens.lead(purpose).await;
        let asked = Instant::now();
        let found = tokens.find(purpose, asked);
        if let Some(found) = found.filter(|found| Some(found) != refused) {
            return Ok(Some(found));
        }
        if let Some(retry_after) = self.keyring.rest(purpose.hop) {
            let host = authority(&self.hops[purpose.hop].url).to_owned();
            return Err(Error::Throttled { host, retry_after });
        }
        let Some(token) = self.ask_realm(purpose, bearer).await? else {
            return Ok(None);
        };
        tokens.keep(purpose.clone(), &token, asked);
        Ok(Some(token.authorization))
    }

    /// Asks a realm for a token; `None` where it refuses one.
    async fn ask_realm(&self, purpose: &Purpose, bearer: &Bearer) -> Result<Option<Token>, Error> {
        let hop = &self.hops[purpose.hop];
        let refused = |realm: String, why| Error::Realm {
            host: authority(&hop.url).to_owned(),
            realm,
            why,
        };
        let mut url = Url::parse(&bearer.realm)
            .map_err(|_| refused("a realm".to_owned(), "it is not a URL"))?;
        let credentials = purpose.credentials(hop);
        let authorization =
            match realm::verdict(&hop.url, &url, credentials.is_some(), &self.realms) {
                Verdict::Credentials => credentials.map(Authorization::basic),
                Verdict::Anonymous => None,
                Verdict::Refused(why) => return Err(refused(shown(&url), why)),
            };
        url.set_fragment(None);
        ask_for(&mut url, bearer, &purpose.scope);
        let request = Request::get(String::new()).head(
            &url,
            authorization.as_ref(),
            None,
            0,
            authority(&url),
        );
        let response = self.exchanger.exchange(&url, &request, false).await?;
        let failed = |why: &str| Error::Token {
            realm: shown(&url),
            why: why.to_owned(),
        };
        match response.status() {
            200 => {}
            status @ (400 | 401 | 403 | 404) => {
                tracing::debug!(realm = shown(&url), status, "a token was refused");
                return Ok(None);
            }
            status if is_slow(&response) => {
                tracing::debug!(
                    realm = shown(&url),
                    status,
                    "a token service asks to slow down"
                );
                let retry_after = self.keyring.let_rest(purpose.hop, &response);
                let host = authority(&url).to_owned();
                return Err(Error::Throttled { host, retry_after });
            }
            status => return Err(failed(&format!("it answered {status}"))),
        }
        let within = self.exchanger.head_timeout.get();
        let reply = response.bytes_within(LISTING_BYTES_MAX, within).await?;
        let token = Token::parse(&reply).ok_or_else(|| failed("its reply holds none"))?;
        Ok(Some(token))
    }
}

/// Adds what is asked for to the query of a realm.
fn ask_for(url: &mut Url, bearer: &Bearer, needed: &str) {
    let mut query = url.query_pairs_mut();
    if let Some(service) = &bearer.service {
        query.append_pair("service", service);
    }
    if let Some(scope) = scope(bearer.scope.as_deref(), needed) {
        query.append_pair("scope", scope);
    }
}

/// Returns the scope to ask for: what the challenge says where that permits what is `needed` and no
/// more, otherwise what is needed.
fn scope<'a>(challenged: Option<&'a str>, needed: &'a str) -> Option<&'a str> {
    if needed.is_empty() {
        // A list of repositories names none; nothing else without a repository needs a scope.
        return challenged.filter(|scope| *scope == "registry:catalog:*");
    }
    let is_equal = |scope: &&str| {
        // The resource type may have a class: `repository(plugin)`.
        let class = scope.strip_prefix("repository(");
        let rest = class.and_then(|rest| rest.split_once("):"));
        rest.is_some_and(|(class, rest)| {
            class.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && needed.strip_prefix("repository:") == Some(rest)
        })
    };
    Some(challenged.filter(is_equal).unwrap_or(needed))
}

/// Reads what a 401 asks for. Of a field line that is malformed nothing is believed.
fn read_challenges<'a>(lines: impl Iterator<Item = &'a str>) -> Asked {
    let mut asked = Asked::default();
    for line in lines {
        let challenges = match challenge::parse(line) {
            Ok(challenges) => challenges,
            Err(error) => {
                tracing::warn!(%error, "a challenge cannot be read");
                continue;
            }
        };
        for challenge in challenges {
            asked.is_basic |= challenge.is("Basic");
            let is_new = asked.bearer.is_none() && challenge.is("Bearer");
            if let Some(realm) = challenge.parameter("realm").filter(|_| is_new) {
                let parameter = |name| challenge.parameter(name).map(ToOwned::to_owned);
                asked.bearer = Some(Bearer {
                    realm: realm.to_owned(),
                    service: parameter("service"),
                    scope: parameter("scope"),
                });
            }
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_the_pull_needs() {
        let needed = "repository:a/b:pull";
        for (challenged, asked) in [
            (None, needed),
            (Some("repository:a/b:pull"), needed),
            (
                Some("repository(plugin):a/b:pull"),
                "repository(plugin):a/b:pull",
            ),
            (Some("repository:a/b:pull,push"), needed),
            (Some("repository:other:pull"), needed),
            (Some("repository:a/b:pull repository:c:pull"), needed),
            (Some("repository(x y):a/b:pull"), needed),
            (Some("registry:catalog:*"), needed),
        ] {
            assert_eq!(scope(challenged, needed), Some(asked), "{challenged:?}");
        }
        assert_eq!(scope(None, ""), None);
        assert_eq!(scope(Some("repository:a:*"), ""), None);
        assert_eq!(
            scope(Some("registry:catalog:*"), ""),
            Some("registry:catalog:*")
        );
    }

    #[test]
    fn the_question_to_a_realm_is_encoded() {
        let mut url = Url::parse("https://a.example/token?x=y").unwrap();
        let bearer = Bearer {
            realm: String::new(),
            service: Some("a&b=c".to_owned()),
            scope: None,
        };
        ask_for(&mut url, &bearer, "repository:a/b:pull");
        let query = url.query().unwrap();
        assert_eq!(
            query,
            "x=y&service=a%26b%3Dc&scope=repository%3Aa%2Fb%3Apull"
        );
    }

    #[test]
    fn bearer_is_found_among_other_challenges() {
        let lines = [
            "Negotiate, Basic realm=\"x, y\"",
            "bearer realm=\"https://a.example/t\",service=\"s\"",
            "Bearer realm=\"https://b.example/t\"",
            "Bearer realm=\"https://c",
        ];
        let asked = read_challenges(lines.into_iter());
        assert!(asked.is_basic);
        let bearer = asked.bearer.unwrap();
        assert_eq!(bearer.realm, "https://a.example/t");
        assert_eq!(bearer.service.as_deref(), Some("s"));
        assert_eq!(bearer.scope, None);
        assert_eq!(
            read_challenges(["Bearer service=x"].into_iter()),
            Asked::default()
        );
    }
}
