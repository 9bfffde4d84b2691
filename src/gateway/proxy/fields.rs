//! Which fields go on to the backend and back, and where the backend's addresses become the gateway's own.
//!
//! Values only. Invariants
//! - What is not named here stays behind: credentials, cookies, hop-by-hop fields.
//! - No address of the backend reaches a client.

use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use url::Url;

use super::query::Query;
use super::target::Target;
use crate::registry::{Name, NextPage};

/// Of a request. A body's length and type go with it.
const ASKED: [HeaderName; 10] = [
    header::ACCEPT,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// Of a request, for the backend's log.
const TOLD: [HeaderName; 1] = [header::USER_AGENT];

/// Of an answer.
const ANSWERED: [&str; 22] = [
    "accept-ranges",
    "age",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "docker-content-digest",
    "docker-upload-uuid",
    "etag",
    "expires",
    "last-modified",
    "oci-chunk-max-length",
    "oci-chunk-min-length",
    "oci-filters-applied",
    "oci-subject",
    "oci-tag",
    "range",
    "retry-after",
    "vary",
    "warning",
];

/// Returns the fields that the backend is asked with.
pub(super) fn for_backend(asked: &HeaderMap, via: Option<HeaderValue>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for name in ASKED.iter().chain(&TOLD) {
        for value in asked.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    if let Some(via) = via {
        fields.insert(header::VIA, via);
    }
    fields
}

/// Returns the fields of a backend's answer that the client gets as they are.
pub(super) fn for_client(answered: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for name in ANSWERED {
        for value in answered.get_all(name) {
            fields.append(HeaderName::from_static(name), value.clone());
        }
    }
    fields
}

/// Returns what a `Location` of the backend is here: an address of the same repository, without scheme and host.
///
/// The host is not compared: a registry writes the one that it believes to have. `None` for an address that is not of
/// the API, or of another repository.
///
/// - `asked`: the address that it is relative to.
pub(super) fn location(value: &HeaderValue, asked: &Url, name: Name<'_>) -> Option<HeaderValue> {
    let url = asked.join(value.to_str().ok()?).ok()?;
    let target = Target::parse(url.path()).ok()?;
    let is_made = matches!(
        target,
        Target::Upload(..) | Target::Blob(..) | Target::Manifest(..)
    );
    if !is_made || target.name() != Some(name) {
        return None;
    }
    written(&target, url.query())
}

/// Returns the `Link` to the next page of a listing, if the backend has one.
pub(super) fn link(value: &HeaderValue, target: &Target<'_>) -> Option<HeaderValue> {
    let next = NextPage::parse(value.to_str().ok()?)?;
    let here = written(target, next.query)?;
    let text = format!("<{}>; rel=\"next\"", here.to_str().ok()?);
    HeaderValue::from_str(&text).ok()
}

fn written(target: &Target<'_>, query: Option<&str>) -> Option<HeaderValue> {
    let query = Query::parse(query).ok()?.for_backend(None);
    let path = target.path();
    let text = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn rewritten(value: &str) -> Option<String> {
        let asked = "http://backend:5000/v2/a/b/blobs/uploads/".parse().unwrap();
        let name = Name::parse("a/b").unwrap();
        let found = location(&value.parse().unwrap(), &asked, name)?;
        Some(found.to_str().unwrap().to_owned())
    }

    #[test]
    fn addresses_of_the_backend_become_our_own() {
        let upload = "/v2/a/b/blobs/uploads/12-34?_state=x-_%3D&n=1";
        for value in [
            upload,
            &format!("http://backend:5000{upload}"),
            &format!("https://public.example{upload}"),
            "12-34?_state=x-_%3D&n=1",
        ] {
            assert_eq!(rewritten(value).as_deref(), Some(upload), "{value}");
        }
        let blob = format!("/v2/a/b/blobs/{DIGEST}");
        assert_eq!(rewritten(&format!("http://x{blob}")), Some(blob));
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_dropped() {
        for value in [
            "/",
            "/v2/",
            "/v2/a/b/tags/list",
            "/v2/a/blobs/uploads/1",
            "/v2/a/b/c/blobs/uploads/1",
            "/v2/a/b/blobs/uploads/",
            "/v2/a/b/blobs/uploads/1?x=1&x=2",
            "/artifacts-uploads/a/b/1",
            "http://",
            "/v2/a/b/blobs/uploads/../../../c/blobs/uploads/1",
        ] {
            assert_eq!(rewritten(value), None, "{value}");
        }
    }

    #[test]
    fn the_next_page_is_at_the_gateway() {
        let target = Target::parse("/v2/a/tags/list").unwrap();
        let page = |value: &str| link(&value.parse().unwrap(), &target);
        let wanted = "</v2/a/tags/list?last=b&n=2>; rel=\"next\"";
        for value in [
            wanted,
            "<http://backend/v2/a/tags/list?last=b&n=2>; rel=next",
            "<http://backend/v2/other/tags/list?last=b&n=2>; rel=next",
        ] {
            assert_eq!(page(value).unwrap(), wanted);
        }
        assert_eq!(page("</v2/a/tags/list>; rel=prev"), None);
    }

    #[test]
    fn credentials_cookies_and_hop_by_hop_fields_stay_behind() {
        let stay = [
            "authorization",
            "cookie",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "host",
            "transfer-encoding",
            "proxy-authorization",
            "x-forwarded-for",
            "accept-encoding",
            "forwarded",
        ];
        let mut fields = HeaderMap::new();
        for name in stay {
            fields.insert(name, HeaderValue::from_static("x"));
        }
        fields.append("accept", HeaderValue::from_static("a"));
        fields.append("accept", HeaderValue::from_static("b"));
        let passed = for_backend(&fields, Some(HeaderValue::from_static("1.1 me")));
        let names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "via"]);
        assert_eq!(passed.get_all("accept").iter().count(), 2);
        for name in [
            "set-cookie",
            "www-authenticate",
            "location",
            "link",
            "server",
        ] {
            fields.insert(name, HeaderValue::from_static("x"));
        }
        assert!(for_client(&fields).is_empty());
    }
}
