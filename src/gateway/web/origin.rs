//! Whether a request that changes something comes from our own page.
//!
//! Browsers say so in `Sec-Fetch-Site`, which no page can forge; those that do not, or that reach us over plain HTTP,
//! say at least where the page is from. Programs say neither, and show credentials that no browser adds for them.
//!
//! Source: Fetch Metadata Request Headers, W3C; RFC 6454, section 7.

use axum::http::{HeaderMap, Method};
use url::{Origin, Url};

/// Says whether a request comes from a page that is not ours.
pub(super) fn is_foreign(headers: &HeaderMap, own: Option<&Url>) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !["same-origin", "none"].contains(&site),
        (None, Some(origin)) => !is_own(origin, own),
        (None, None) => false,
    }
}

fn is_own(origin: &str, own: Option<&Url>) -> bool {
    let (Ok(said), Some(own)) = (Url::parse(origin), own) else {
        return false;
    };
    // `null` and the like are nobody's, not even their own.
    matches!(said.origin(), Origin::Tuple(..)) && said.origin() == own.origin()
}

/// Says whether a method may change something (RFC 9110, section 9.2.1).
pub(super) fn changes(method: &Method) -> bool {
    !method.is_safe()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let own = Url::parse("http://registry.example.org:5000/").unwrap();
        is_foreign(&headers, Some(&own))
    }

    #[test]
    fn only_our_own_page_and_programs_are_not_foreign() {
        assert!(!foreign(&[]));
        for (site, is) in [
            ("same-origin", false),
            ("none", false),
            ("same-site", true),
            ("cross-site", true),
            ("", true),
            ("same-origin, cross-site", true),
        ] {
            assert_eq!(foreign(&[("sec-fetch-site", site)]), is, "{site}");
        }
        for (origin, is) in [
            ("http://registry.example.org:5000", false),
            ("http://registry.example.org", true),
            ("https://registry.example.org:5000", true),
            ("http://registry.example.org:5000.evil.example", true),
            ("http://evil.example", true),
            ("null", true),
            ("", true),
            ("data:,", true),
        ] {
            assert_eq!(foreign(&[("origin", origin)]), is, "{origin}");
        }
        // What the browser says of itself counts before what it says of the page.
        let both = [
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://registry.example.org:5000"),
        ];
        assert!(foreign(&both));
    }

    #[test]
    fn who_does_not_know_its_own_name_trusts_no_origin() {
        let mut headers = HeaderMap::new();
        headers.insert("origin", "http://a.example".parse().unwrap());
        assert!(is_foreign(&headers, None));
    }
}
