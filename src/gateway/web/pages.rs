//! The documents: log in, and the rest. Each is one static file without a figure in it, which asks the API.
//!
//! What a browser may do with them is as narrow as it goes: the one script and the one style sheet within, known by
//! their hashes, and questions to this address; and, to see how far they are, to the caches.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::digest::{Algorithm, Digest};

const STYLE: &str = include_str!("assets/style.css");

/// Who logs in.
pub(super) static LOGIN: LazyLock<Document> = LazyLock::new(|| {
    let html = include_str!("assets/login.html");
    Document::new(html, include_str!("assets/login.js").to_owned())
});

/// Who is logged in.
pub(super) static HOME: LazyLock<Document> = LazyLock::new(|| {
    let scripts = [
        include_str!("assets/common.js"),
        include_str!("assets/home.js"),
        include_str!("assets/admin.js"),
    ];
    Document::new(include_str!("assets/home.html"), scripts.concat())
});

/// Who came by a link of another site, so that the browser has not shown the cookie: our own page asks once more.
pub(super) static AGAIN: LazyLock<Document> =
    LazyLock::new(|| Document::new(include_str!("assets/again.html"), String::new()));

/// A page, with its script and style put in.
#[derive(Debug)]
pub(super) struct Document {
    html: String,
    /// The part of its policy that names what is within.
    policy: String,
}

impl Document {
    fn new(html: &str, script: String) -> Self {
        let hash = |text: &str| {
            let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
            STANDARD.encode(digest.raw())
        };
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'; connect-src 'self'",
            hash(&script),
            hash(STYLE),
        );
        let html = html
            .replace("{{style}}", &format!("<style>{STYLE}</style>"))
            .replace("{{script}}", &format!("<script>{script}</script>"));
        Self { html, policy }
    }

    /// Returns the page, which may ask these hosts besides its own.
    pub(super) fn response<'a>(
        &self,
        hosts: impl Iterator<Item = &'a Url>,
        is_https: bool,
    ) -> Response {
        let mut policy = self.policy.clone();
        for source in hosts.filter_map(source) {
            policy.push(' ');
            policy.push_str(&source);
        }
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        let mut response = (StatusCode::OK, self.html.clone()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        secured(response, is_https)
    }
}

/// Fields of every answer of ours.
const FIELDS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Adds the fields that keep an answer where it belongs.
pub(super) fn secured(mut response: Response, is_https: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if is_https {
        let age = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, age);
    }
    response
}

/// Returns what a policy calls a host. One with other letters is left out: a `;` would begin another directive, and
/// an IPv6 address is none of the names that a policy knows.
fn source(host: &Url) -> Option<String> {
    let name = host.host_str()?;
    let is_plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    let is_web = ["http", "https"].contains(&host.scheme());
    (is_plain && is_web && !name.is_empty()).then(|| host.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(document: &Document, hosts: &[&str]) -> String {
        let hosts: Vec<Url> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let response = document.response(hosts.iter(), false);
        let policy = &response.headers()[header::CONTENT_SECURITY_POLICY];
        policy.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_page_is_one_document_that_needs_nothing_from_outside() {
        for (name, document) in [("login", &*LOGIN), ("home", &*HOME), ("again", &*AGAIN)] {
            let html = &document.html;
            assert!(!html.contains("{{"), "{name}");
            assert_eq!(html.matches("<style").count(), 1, "{name}");
            assert!(html.matches("<script").count() <= 1, "{name}");
            // The hashes would not cover an attribute with code or style in it.
            for word in [
                " style=",
                " onclick=",
                " onerror=",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
                " src=",
                "http://",
                "@import",
                "url(",
            ] {
                assert!(!html.contains(word), "{name}: {word}");
            }
        }
    }

    #[test]
    fn what_a_page_may_ask_is_its_own_host_and_the_caches() {
        let hosts = ["https://asia.example:5000/", "http://10.0.0.1/"];
        let policy = policy(&HOME, &hosts);
        let asked = policy
            .split("; ")
            .find(|part| part.starts_with("connect-src"));
        let want = "connect-src 'self' https://asia.example:5000 http://10.0.0.1";
        assert_eq!(asked, Some(want), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn a_host_with_other_letters_does_not_write_the_policy() {
        let plain = policy(&HOME, &[]);
        let odd = [
            "https://a;sandbox/",
            "https://a,b/",
            "https://'none'/",
            "https://[::1]:5000/",
            "https://*/",
        ];
        assert_eq!(policy(&HOME, &odd), plain);
    }

    #[test]
    fn transport_security_is_promised_over_https_alone() {
        for is_https in [true, false] {
            let response = LOGIN.response(std::iter::empty(), is_https);
            let headers = response.headers();
            let promised = headers.contains_key(header::STRICT_TRANSPORT_SECURITY);
            assert_eq!(promised, is_https);
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}
