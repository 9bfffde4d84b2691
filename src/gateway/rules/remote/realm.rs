//! Which token service is told whose login. Values only.
//!
//! A challenge names the service, so whoever answers for the registry chooses it. A password follows only to where the
//! operator would expect it (CVE-2026-33540 was a cache that sent it anywhere).

use url::Url;

/// What a token service is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The login, if there is one.
    Login,
    /// Nothing, and why.
    Refused(&'static str),
}

/// Says what `realm` may be sent on a challenge of `registry`: its own host, and over https its own domain, such as
/// `auth.docker.io` for `registry-1.docker.io`.
pub(super) fn verdict(registry: &Url, realm: &Url) -> Verdict {
    let (Some(own), Some(other)) = (registry.host_str(), realm.host_str()) else {
        return Verdict::Refused("its token service has no host");
    };
    if !["http", "https"].contains(&realm.scheme())
        || !realm.username().is_empty()
        || realm.password().is_some()
    {
        return Verdict::Refused("its token service has an address that makes no sense");
    }
    if registry.scheme() == "https" && realm.scheme() == "http" {
        return Verdict::Refused("its token service is http, itself https");
    }
    let is_near = realm.scheme() == "https" && realm.domain().is_some() && is_family(own, other);
    match own == other || is_near {
        true => Verdict::Login,
        false => Verdict::Refused("its token service is at another domain: no login was sent"),
    }
}

/// Says whether `other` is in the domain that `own` is a host of.
fn is_family(own: &str, other: &str) -> bool {
    let Some((_, domain)) = own.split_once('.') else {
        return false;
    };
    let is_below = |host: &str| {
        let rest = host.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    domain.contains('.') && is_below(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_to_the_registrys_own_domain() {
        let is_told = |registry: &str, realm: &str| {
            verdict(&registry.parse().unwrap(), &realm.parse().unwrap()) == Verdict::Login
        };
        for (registry, realm) in [
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io/token",
            ),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("https://ghcr.io", "https://ghcr.io/token"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("http://r.example.org", "https://r.example.org/token"),
        ] {
            assert!(is_told(registry, realm), "{realm}");
        }
        for (registry, realm) in [
            ("https://ghcr.io", "https://evil.io/token"),
            ("https://r.example.org", "https://evil.org/token"),
            ("https://r.example.org", "https://evilexample.org/token"),
            ("https://r.example.org", "http://r.example.org/token"),
            ("http://r.example.org", "http://a.example.org/token"),
            ("https://r.example.org", "https://u:p@r.example.org/token"),
            ("https://10.0.0.1", "https://11.0.0.1/token"),
            ("https://r.example.org", "ftp://r.example.org/token"),
        ] {
            assert!(!is_told(registry, realm), "{realm}");
        }
    }
}
