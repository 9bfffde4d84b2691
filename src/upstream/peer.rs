//! Who a URL leads to: what connections are kept by, and what errors name.

use url::{Position, Url};

/// A host to connect to, on behalf of one client.
///
/// Clients differ in whom they trust, so connections are not shared between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The number of the client.
    pub(super) client: u64,
    pub(super) is_https: bool,
    /// As the URL has it: lower case, IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Peer {
    /// Returns where `url` leads; `None` where it is not a web address.
    pub(super) fn of(client: u64, url: &Url) -> Option<Self> {
        if !is_web(url) {
            return None;
        }
        Some(Self {
            client,
            is_https: url.scheme() == "https",
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }
}

/// Says whether `url` is of scheme http or https.
pub(super) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Says whether scheme, host and port are equal (RFC 6454 §5).
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Returns `host[:port]`, the port only where it is not the scheme's: what `Host` and errors say.
pub(super) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// Returns `host[:port][/path]`: what metrics call a hop.
pub(super) fn named(url: &Url) -> &str {
    url[Position::BeforeHost..Position::AfterPath].trim_end_matches('/')
}

/// Returns what a log may show of `url`: no credentials, no query, no fragment.
pub(super) fn shown(url: &Url) -> String {
    let path = &url[Position::BeforePath..Position::AfterPath];
    format!("{}://{}{path}", url.scheme(), authority(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_users_are_not_shown() {
        let url = Url::parse("https://u:p@[::1]:8443/blob?sig=s3cret#f").unwrap();
        assert_eq!(shown(&url), "https://[::1]:8443/blob");
        assert_eq!(authority(&url), "[::1]:8443");
        assert_eq!(named(&url), "[::1]:8443/blob");
        let url = Url::parse("https://a.example:443/").unwrap();
        assert_eq!(authority(&url), "a.example");
        assert_eq!(named(&url), "a.example");
    }
}
