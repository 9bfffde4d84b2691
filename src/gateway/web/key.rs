//! What a session is known by: a random value in a cookie, of which the database has the hash.
//!
//! Invariants
//! - The value has 256 random bits; nobody shows, logs or stores it but the browser.
//! - Over HTTPS the cookie is `__Host-…`, `Secure`: no other host and no plain connection can have set it, and one
//!   without the prefix counts for nothing there.

use std::fmt;

use aws_lc_rs::{hmac, rand};
use axum::http::HeaderMap;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::Secret;
use crate::digest::{Algorithm, Digest};

const BYTES: usize = 32;

/// The cookie's name, for a page over HTTPS and for one over HTTP.
const NAMES: [(bool, &str); 2] = [
    (true, "__Host-transship_session"),
    (false, "transship_session"),
];

/// The value of a session's cookie.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; BYTES]);

impl Key {
    /// Returns a new one; `None` if the system has no random bytes.
    pub(super) fn new() -> Option<Self> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns the one that a request shows.
    pub(super) fn of(headers: &HeaderMap, is_https: bool) -> Option<Self> {
        let jar = CookieJar::from_headers(headers);
        let value = jar.get(name(is_https))?.value();
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Returns what the database knows it by.
    pub(super) fn hash(&self) -> String {
        Digest::of(Algorithm::Sha256, &self.0).hex()
    }

    /// Returns what a page of this session has to show with each change. It is made of the cookie, so that there is
    /// nothing to store, and says nothing of it.
    pub(super) fn csrf(&self) -> Secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, b"transship csrf");
        Secret::new(&URL_SAFE_NO_PAD.encode(tag))
    }

    /// Returns what tells whether an account is still the one that logged in, by the `hash` that the password file has of
    /// it. Who reads the database learns nothing of that.
    pub(super) fn proof(&self, hash: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut account = hmac::Context::with_key(&key);
        account.update(b"transship account ");
        account.update(hash.as_bytes());
        URL_SAFE_NO_PAD.encode(account.sign())
    }

    /// Returns the cookie. Without an age: it ends with the browser, if the session does not end before.
    ///
    /// `Strict`, since nothing that comes from another site has to be done in somebody's name; who follows a link to
    /// the page is logged in nonetheless, see [`super::pages`].
    pub(super) fn cookie(&self, is_https: bool) -> String {
        cookie(URL_SAFE_NO_PAD.encode(self.0), is_https).to_string()
    }
}

/// Returns the cookie that takes a session's away.
pub(super) fn no_cookie(is_https: bool) -> String {
    let mut cookie = cookie(String::new(), is_https);
    cookie.make_removal();
    cookie.to_string()
}

fn cookie(value: String, is_https: bool) -> Cookie<'static> {
    Cookie::build((name(is_https), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(is_https)
        .build()
}

fn name(is_https: bool) -> &'static str {
    let found = NAMES.iter().find(|(https, _)| *https == is_https);
    found.map_or("", |(_, name)| name)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn shown(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, text.parse().unwrap());
        headers
    }

    #[test]
    fn a_key_comes_back_by_its_cookie_alone() {
        let key = Key::new().unwrap();
        for is_https in [true, false] {
            let cookie = key.cookie(is_https);
            let (pair, rest) = cookie.split_once("; ").unwrap();
            assert_eq!(Key::of(&shown(pair), is_https).as_ref(), Some(&key));
            // The other scheme's cookie is not taken: a plain page could have set it.
            assert_eq!(Key::of(&shown(pair), !is_https), None);
            for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
                assert!(rest.contains(part), "{rest}");
            }
            assert!(!rest.contains("Domain"));
            assert_eq!(rest.contains("Secure"), is_https);
            assert_eq!(pair.starts_with("__Host-"), is_https);
        }
        assert!(no_cookie(true).contains("Max-Age=0"));
    }

    #[test]
    fn what_is_no_key_is_none() {
        for value in ["", "=", "AAAA", &"A".repeat(44), &"!".repeat(43)] {
            let headers = shown(&format!("transship_session={value}"));
            assert_eq!(Key::of(&headers, false), None, "{value}");
        }
    }

    #[test]
    fn neither_the_database_nor_a_page_has_the_key() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        let value = URL_SAFE_NO_PAD.encode(key.0);
        assert_ne!(key.hash(), other.hash());
        assert_ne!(key.csrf(), other.csrf());
        assert_eq!(key.csrf(), key.clone().csrf());
        assert!(!key.csrf().expose().contains(&value));
        assert_ne!(key.csrf().expose(), key.hash());
        assert!(!format!("{key:?}").contains(&value));
    }
}
