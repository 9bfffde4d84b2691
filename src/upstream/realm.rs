//! Which token realm may be asked, and whether it is told who asks.
//!
//! A challenge names the realm, so whoever answers for the next hop chooses it. Credentials follow
//! only to where the operator would expect them (CVE-2026-33540 was a cache that sent them anywhere).

use url::Url;

use super::peer::is_web;

/// Next hops whose realm is known to be on another host.
const KNOWN_REALMS: [(&str, &str); 1] = [("registry-1.docker.io", "auth.docker.io")];

/// What a realm may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The configured credentials.
    Credentials,
    /// A request without credentials: none are configured.
    Anonymous,
    /// Nothing, and why.
    Refused(&'static str),
}

/// Says what `realm` may be sent on a challenge of `hop`.
///
/// - `has_credentials`: whether some are configured for `hop`.
/// - `allowed`: hosts, each with or without a port, that the operator lists as realms.
pub(super) fn verdict(
    hop: &Url,
    realm: &Url,
    has_credentials: bool,
    allowed: &[String],
) -> Verdict {
    if !is_web(realm) || realm.host_str().is_none() {
        return Verdict::Refused("it is neither http nor https");
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Verdict::Refused("it carries credentials");
    }
    if hop.scheme() == "https" && realm.scheme() == "http" {
        return Verdict::Refused("it is http, the upstream https");
    }
    if !has_credentials {
        return Verdict::Anonymous;
    }
    let is_own = hop.host_str() == realm.host_str();
    if realm.scheme() == "http" && !is_own {
        return Verdict::Refused("it is http on another host; credentials were not sent");
    }
    if is_own || is_known(hop, realm) || allowed.iter().any(|host| names(host, realm)) {
        Verdict::Credentials
    } else {
        Verdict::Refused(
            "credentials were not sent to another host; \
             if it is right, list the host in `transship.upstream.realms`",
        )
    }
}

fn is_known(hop: &Url, realm: &Url) -> bool {
    KNOWN_REALMS
        .iter()
        .any(|(host, known)| hop.host_str() == Some(host) && realm.host_str() == Some(known))
}

/// Says whether `entry` is the realm's host, or its host and port.
fn names(entry: &str, realm: &Url) -> bool {
    let host = realm.host_str().unwrap_or_default();
    if entry.eq_ignore_ascii_case(host) {
        return true;
    }
    let port = realm.port_or_known_default().unwrap_or_default();
    entry.eq_ignore_ascii_case(&format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_where_the_operator_expects_them_and_nowhere_else() {
        let hub = "https://registry-1.docker.io";
        for (hop, realm, sent) in [
            ("https://a.example", "https://a.example/token", true),
            ("https://a.example:5000", "https://a.example:5001/t", true),
            ("http://a.example:5000", "http://a.example/token", true),
            ("http://a.example:5000", "https://a.example/token", true),
            (hub, "https://auth.docker.io/token", true),
            ("https://a.example", "https://listed.example/token", true),
            ("https://a.example", "https://LISTED.example/token", true),
            ("https://a.example", "https://ported.example:8443/t", true),
            ("https://a.example", "https://ported.example/token", false),
            ("https://a.example", "https://auth.docker.io/token", false),
            (hub, "https://auth.docker.io.evil.example/", false),
            ("https://a.example", "https://evil.example/token", false),
            ("https://a.example", "https://b.a.example/token", false),
            ("https://b.a.example", "https://a.example/token", false),
            ("https://a.example", "http://a.example/token", false),
            ("https://a.example", "http://listed.example/token", false),
            ("http://a.example", "http://listed.example/token", false),
            ("http://a.example", "http://evil.example/token", false),
            ("https://a.example", "https://u:p@a.example/token", false),
            ("https://a.example", "ftp://a.example/token", false),
            ("https://a.example", "data:a.example", false),
        ] {
            let allowed = [
                "listed.example".to_owned(),
                "ported.example:8443".to_owned(),
            ];
            let (hop, realm) = (Url::parse(hop).unwrap(), Url::parse(realm).unwrap());
            let verdict = verdict(&hop, &realm, true, &allowed);
            assert_eq!(verdict == Verdict::Credentials, sent, "{hop} {realm}");
            assert_ne!(verdict, Verdict::Anonymous);
        }
    }

    #[test]
    fn an_anonymous_token_may_come_from_anywhere_but_from_https_to_http() {
        for (hop, realm, asked) in [
            ("https://a.example", "https://b.example/token", true),
            ("http://a.example", "http://b.example/token", true),
            ("http://a.example", "https://b.example/token", true),
            ("https://a.example", "http://b.example/token", false),
            ("https://a.example", "http://a.example/token", false),
        ] {
            let (hop, realm) = (Url::parse(hop).unwrap(), Url::parse(realm).unwrap());
            let is_asked = verdict(&hop, &realm, false, &[]) == Verdict::Anonymous;
            assert_eq!(is_asked, asked, "{hop} {realm}");
        }
    }
}
