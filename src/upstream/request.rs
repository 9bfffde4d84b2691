//! What is asked of a next hop, and how it looks on the wire.

use std::fmt;
use std::time::Duration;

use url::{Position, Url};

use super::authority::Authority;
use super::authorization::Authorization;
use super::error::Error;
use super::peer::authority;
use super::trail::Trail;
use crate::digest::Digest;
use crate::http::grammar::{is_target, is_value};
use crate::http::range::is_strong_etag;

/// Methods that a pull needs; both may be repeated without harm (RFC 9110 §9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Head and body.
    Get,
    /// Head alone.
    Head,
}

/// A request to whichever next hop answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET or HEAD.
    pub method: Method,
    /// Path and query, from the hop's base path on: begins with `/`, already percent-encoded.
    pub path: String,
    /// What is asked for, where that has a digest: it may have a hop of its own.
    pub digest: Option<Digest>,
    /// What the request passed that this one is made for.
    pub trail: Trail,
    /// The repository that a token is asked for, if it comes to that.
    pub repository: Option<String>,
    /// In whose name.
    pub authority: Authority,
    /// Value of `Accept`; anything where not given.
    pub accept: Option<String>,
    /// Value of `If-None-Match`.
    pub if_none_match: Option<String>,
    /// Which bytes; all where not given.
    pub range: Option<Span>,
    /// What the range must be of, else the hop sends all: a validator of an earlier answer.
    pub if_range: Option<Validator>,
    /// The hop, as [`Response::hop`] names it, that is asked only if no other one answers: it has just refused
    /// this very thing, or made no sense.
    ///
    /// [`Response::hop`]: super::Response::hop
    pub avoid: Option<String>,
    /// Who waits for it.
    pub urgency: Urgency,
    /// How long the answer may take in all; `None` is as long as the operator allows a client to wait.
    pub patience: Option<Duration>,
}

/// Bytes of a blob, as `Range` names them (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From the first byte to before the second, which lies behind it.
    Within(u64, u64),
    /// From this byte to the end.
    From(u64),
    /// The last bytes, so many.
    Last(u64),
}

impl fmt::Display for Span {
    /// The value of a `Range` field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(first, end) => write!(f, "bytes={first}-{}", end.saturating_sub(1)),
            Self::From(first) => write!(f, "bytes={first}-"),
            Self::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

/// A strong validator of what one hop has sent (RFC 9110 §8.8.3). To another hop it means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// The hop, as [`Response::hop`] names it.
    ///
    /// [`Response::hop`]: super::Response::hop
    pub hop: String,
    /// The value of its `ETag`, quotes and all.
    pub etag: String,
}

/// Who waits for an answer: whoever does goes before whoever does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A client.
    Client,
    /// Nobody: what clients may want later.
    Background,
}

impl Request {
    /// Returns a GET of `path` in the cache's own name, without any conditions.
    #[must_use]
    pub fn get(path: String) -> Self {
        Self {
            method: Method::Get,
            path,
            digest: None,
            trail: Trail::default(),
            repository: None,
            authority: Authority::Cache,
            accept: None,
            if_none_match: None,
            range: None,
            if_range: None,
            avoid: None,
            urgency: Urgency::Client,
            patience: None,
        }
    }

    /// Returns the scope of a token that permits this request and no more; empty where none is needed.
    ///
    /// Source: distribution, spec/auth/scope.md.
    pub(super) fn scope(&self) -> String {
        let scope = |name| format!("repository:{name}:pull");
        self.repository.as_ref().map_or_else(String::new, scope)
    }

    /// Returns where the request goes at the hop `base`.
    ///
    /// # Errors
    /// `Request` when a value could change the shape of the request, or the path would climb.
    pub(super) fn address(&self, base: &Url) -> Result<Url, Error> {
        let values = [&self.accept, &self.if_none_match];
        if !values.into_iter().flatten().all(|v| is_value(v.as_bytes())) {
            return Err(Error::Request("a field value with control characters"));
        }
        let etag = self.if_range.as_ref().map(|validator| &validator.etag);
        if !etag.is_none_or(|etag| is_strong_etag(etag.as_bytes())) {
            return Err(Error::Request("a validator that is not a strong one"));
        }
        if !self.path.starts_with('/') || !is_target(self.path.as_bytes()) {
            return Err(Error::Request("not a path"));
        }
        let prefix = base.as_str().trim_end_matches('/');
        let mut url = Url::parse(&format!("{prefix}{}", self.path))
            .map_err(|_| Error::Request("not a path"))?;
        let path = self.path.split('?').next().unwrap_or_default();
        // Parsing takes out dot segments, in all their spellings.
        if !url.path().ends_with(path) {
            return Err(Error::Request("a path with dot segments"));
        }
        if let Some(token) = self.authority.token() {
            url.query_pairs_mut().append_pair("token", token.expose());
        }
        Ok(url)
    }

    /// Returns the request head for `url`. Values were looked at by [`Request::address`].
    ///
    /// - `span`: the id of this request within its trace, if it has one.
    /// - `hop`: to whom it goes, though `url` may be where that redirects to.
    pub(super) fn head(
        &self,
        url: &Url,
        authorization: Option<&Authorization>,
        via: Option<&str>,
        span: u64,
        hop: &str,
    ) -> Vec<u8> {
        let method = match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        };
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: transship/{}\r\nAccept: {}\r\n\
             Accept-Encoding: identity\r\n",
            &url[Position::BeforePath..Position::AfterQuery],
            authority(url),
            env!("CARGO_PKG_VERSION"),
            self.accept.as_deref().unwrap_or("*/*"),
        );
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        if let Some(via) = via {
            field("Via", via);
        }
        if let Some(trace) = self.trail.trace() {
            let (parent, state) = trace.write(span);
            field("traceparent", &parent);
            if !state.is_empty() {
                field("tracestate", state);
            }
        }
        if let Some(tags) = &self.if_none_match {
            field("If-None-Match", tags);
        }
        if let Some(span) = self.range {
            field("Range", &span.to_string());
            // To anybody else the tag means nothing, or something else.
            if let Some(validator) = self.if_range.as_ref().filter(|one| one.hop == hop) {
                field("If-Range", &validator.etag);
            }
        }
        if let Some(authorization) = authorization {
            field("Authorization", authorization.expose());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    #[test]
    fn a_head_says_what_was_asked() {
        let request = Request {
            accept: Some("a/b, c/d".to_owned()),
            if_none_match: Some("\"x\"".to_owned()),
            range: Some(Span::From(5)),
            ..Request::get("/v2/a/blobs/x?ns=y".to_owned())
        };
        let base = Url::parse("http://h.example:5000/base/").unwrap();
        let url = request.address(&base).unwrap();
        let head = String::from_utf8(request.head(&url, None, Some("1.1 us"), 0, "h.example:5000"))
            .unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            head,
            format!(
                "GET /base/v2/a/blobs/x?ns=y HTTP/1.1\r\nHost: h.example:5000\r\n\
                 User-Agent: transship/{version}\r\nAccept: a/b, c/d\r\n\
                 Accept-Encoding: identity\r\nVia: 1.1 us\r\nIf-None-Match: \"x\"\r\nRange: bytes=5-\r\n\r\n"
            )
        );
    }

    /// Another hop's tag would make the answer all of the blob, or worse, another blob's range.
    #[test]
    fn a_tag_goes_back_to_whoever_gave_it_and_only_with_a_range() {
        let base = Url::parse("http://h.example/").unwrap();
        let head = |range, hop: &str| {
            let request = Request {
                range,
                if_range: Some(Validator {
                    hop: "h.example".to_owned(),
                    etag: "\"x\"".to_owned(),
                }),
                ..Request::get("/v2/a/blobs/x".to_owned())
            };
            let url = request.address(&base).unwrap();
            String::from_utf8(request.head(&url, None, None, 0, hop)).unwrap()
        };
        let range = Some(Span::From(5));
        let sent = head(range, "h.example");
        assert!(sent.contains("\r\nIf-Range: \"x\"\r\n"), "{sent}");
        for (range, hop) in [(range, "h.example:5000"), (None, "h.example")] {
            assert!(!head(range, hop).contains("If-Range"), "{hop}");
        }
    }

    #[test]
    fn a_signed_request_carries_its_token_to_the_next_hop_and_nothing_else_does() {
        let base = Url::parse("http://h.example/base").unwrap();
        let token = Secret::new("a.b-_.c&x=y");
        for (authority, query) in [
            (Authority::Cache, None),
            (Authority::Client(token.clone()), None),
            (Authority::Signed(token), Some("token=a.b-_.c%26x%3Dy")),
        ] {
            let request = Request {
                authority,
                ..Request::get("/v2/a/blobs/x".to_owned())
            };
            assert_eq!(request.address(&base).unwrap().query(), query);
        }
    }

    #[test]
    fn what_would_change_the_requests_shape_is_refused() {
        let base = Url::parse("http://h.example/base").unwrap();
        for path in [
            "",
            "v2/",
            "/a b",
            "/a\r\nX: y",
            "/../x",
            "/v2/%2e%2e/%2E./x",
            "/v2/./x",
            "/a#b",
            "/a\\b",
        ] {
            let refused = Request::get(path.to_owned()).address(&base);
            assert!(matches!(refused, Err(Error::Request(_))), "{path:?}");
        }
        let request = Request {
            accept: Some("a\r\nX: y".to_owned()),
            ..Request::get("/v2/".to_owned())
        };
        assert!(request.address(&base).is_err());
        for etag in ["\"x\"\r\nX: y", "W/\"x\"", "x"] {
            let request = Request {
                if_range: Some(Validator {
                    hop: "h.example".to_owned(),
                    etag: etag.to_owned(),
                }),
                ..Request::get("/v2/".to_owned())
            };
            assert!(request.address(&base).is_err(), "{etag:?}");
        }
    }
}
