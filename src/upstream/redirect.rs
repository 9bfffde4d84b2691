//! Where a redirect may lead, and whether credentials go along.

use url::Url;

use super::peer::{is_same_origin, is_web};

/// Says whether `status` sends the asker elsewhere with the same request (RFC 9110 §15.4).
pub(super) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Returns where a redirect from `from` leads.
///
/// # Errors
/// Why it is not followed.
pub(super) fn target(from: &Url, location: Option<&str>) -> Result<Url, &'static str> {
    let location = location.ok_or("it has no Location")?;
    let to = from
        .join(location)
        .map_err(|_| "its Location is not a URL")?;
    if !is_web(&to) {
        return Err("its Location is neither http nor https");
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("its Location carries credentials");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err("it leads from https to http");
    }
    Ok(to)
}

/// Says whether what `from` was trusted with may be sent to `to`: scheme, host and port are equal.
///
/// Narrower than Go, which also trusts subdomains (CVE-2023-45289, CVE-2024-45336 were the price).
pub(super) fn keeps_credentials(from: &Url, to: &Url) -> bool {
    is_same_origin(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn credentials_stay_with_scheme_host_and_port() {
        for (from, to, keeps) in [
            ("https://a.example/v2/", "https://a.example/other", true),
            ("https://a.example/", "https://a.example:443/", true),
            ("https://A.example/", "https://a.example/", true),
            ("https://a.example/", "https://a.example:444/", false),
            ("https://a.example/", "https://b.a.example/", false),
            ("https://b.a.example/", "https://a.example/", false),
            ("http://a.example/", "https://a.example/", false),
            ("http://a.example/", "https://a.example:80/", false),
            ("http://127.0.0.1:1/", "http://localhost:1/", false),
            ("https://a.example/", "https://a.example./", false),
        ] {
            assert_eq!(
                keeps_credentials(&url(from), &url(to)),
                keeps,
                "{from} {to}"
            );
        }
    }

    #[test]
    fn a_location_is_joined_or_refused() {
        let from = url("https://a.example/v2/x/blobs/y?z=1");
        for (location, to) in [
            ("/b", "https://a.example/b"),
            ("w?q=2", "https://a.example/v2/x/blobs/w?q=2"),
            ("//b.example/c", "https://b.example/c"),
            ("https://b.example:8443/c?d", "https://b.example:8443/c?d"),
        ] {
            assert_eq!(target(&from, Some(location)).unwrap().as_str(), to);
        }
        for location in [
            None,
            Some("http://a.example/b"),
            Some("ftp://a.example/b"),
            Some("file:///etc/passwd"),
            Some("https://user@b.example/"),
            Some("https://user:word@b.example/"),
            Some("https://:1/"),
        ] {
            assert!(target(&from, location).is_err(), "{location:?}");
        }
        assert!(target(&url("http://a.example/"), Some("https://a.example/")).is_ok());
    }
}
