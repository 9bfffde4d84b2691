//! Who may use the API: a value from a request head, decided without I/O.
//!
//! - Over the Unix socket: whoever its mode lets connect.
//! - With a token (`transship.admin.token`): whoever shows it.
//! - Without one: whoever is on this host, by an address of it. A name in `Host` could be one that a web page
//!   had resolve to this host ("DNS rebinding"), so only addresses and `localhost` count there.
//!
//! A browser says in `Origin` on whose behalf it asks: a page of another place is refused. What changes
//! something wants a media type or a field that no page can send without asking first.

use std::net::{IpAddr, SocketAddr};

use super::page::Page;
use crate::auth::Secret;
use crate::http::{Method, Request};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The Unix socket.
    Local,
    /// An address that only this host reaches.
    Loopback,
    /// An address that others reach.
    Network,
}

impl Door {
    /// Returns the door that a socket listening at `addr` is. Every address of the host is not loopback alone.
    pub(super) fn of(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical().is_loopback() {
            true => Self::Loopback,
            false => Self::Network,
        }
    }
}

/// The field that stands for a media type, where there is no body.
const OWN_FIELD: &str = "x-transship-admin";

/// Says why a request to the API is refused, if it is.
pub(super) fn refuse(door: Door, token: Option<&Secret>, request: &Request<'_>) -> Option<Page> {
    let forbidden = |code, message| Some(Page::error(403, code, message));
    if let Some(origin) = field(request, "origin") {
        let host = request.host.unwrap_or_default();
        let is_own = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme) == Some(host));
        if !is_own {
            return forbidden("FOREIGN_ORIGIN", "a page of another origin asks");
        }
    }
    // A page's GET without CORS brings no `Origin`; browsers of today say this instead.
    if field(request, "sec-fetch-site").is_some_and(|site| site.eq_ignore_ascii_case("cross-site"))
    {
        return forbidden("FOREIGN_ORIGIN", "a page of another site asks");
    }
    match (door, token) {
        (Door::Local, _) => {}
        (_, Some(token)) if !shows(request, token) => {
            return Some(Page::error(
                401,
                "UNAUTHORIZED",
                "the admin token is wanted",
            ));
        }
        (_, Some(_)) => {}
        (Door::Network, None) => {
            return forbidden(
                "TOKEN_NOT_SET",
                "others reach this address: set transship.admin.token, or use the Unix socket",
            );
        }
        (Door::Loopback, None) if !is_address(request.host.unwrap_or_default()) => {
            return forbidden(
                "FOREIGN_HOST",
                "without a token Host must be an address or localhost",
            );
        }
        (Door::Loopback, None) => {}
    }
    let is_change = !matches!(request.method, Method::Get | Method::Head | Method::Options);
    let is_json = field(request, "content-type").is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/json")
    });
    if is_change && !is_json && field(request, OWN_FIELD).is_none() {
        return Some(Page::error(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "a change wants Content-Type: application/json, or the field X-Transship-Admin",
        ));
    }
    None
}

fn field<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    let mut fields = request.fields();
    let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    // What is no text is nobody's origin and no media type, and must not pass for absent.
    Some(str::from_utf8(value).unwrap_or("\u{fffd}"))
}

fn shows(request: &Request<'_>, token: &Secret) -> bool {
    let shown = request
        .authorization
        .and_then(|value| str::from_utf8(value).ok());
    let shown = shown.and_then(|value| value.split_once(' '));
    shown.is_some_and(|(scheme, shown)| {
        scheme.eq_ignore_ascii_case("bearer") && Secret::new(shown.trim()) == *token
    })
}

/// Says whether a `Host` is an address or `localhost`, whatever its port.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    fn status(door: Door, token: Option<&str>, head: &str) -> Option<u16> {
        let head = format!("{head}\r\n\r\n");
        let request = parse(head.as_bytes()).unwrap();
        let token = token.map(Secret::new);
        refuse(door, token.as_ref(), &request).map(|page| page.status)
    }

    #[test]
    fn who_is_on_the_host_is_let_in_and_a_name_in_host_is_not() {
        let get = |host: &str| format!("GET /v1/status HTTP/1.1\r\nHost: {host}");
        for host in ["127.0.0.1:5001", "localhost", "[::1]:5001", "LOCALHOST:1"] {
            assert_eq!(status(Door::Loopback, None, &get(host)), None, "{host}");
        }
        for host in [
            "evil.example:5001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(
                status(Door::Loopback, None, &get(host)),
                Some(403),
                "{host}"
            );
            assert_eq!(status(Door::Local, None, &get(host)), None, "{host}");
        }
        assert_eq!(status(Door::Network, None, &get("10.0.0.1")), Some(403));
    }

    #[test]
    fn only_an_address_of_loopback_is_a_door_of_this_host() {
        for (addr, door) in [
            ("127.0.0.1:1", Door::Loopback),
            ("[::1]:1", Door::Loopback),
            ("[::ffff:127.0.0.1]:1", Door::Loopback),
            ("0.0.0.0:1", Door::Network),
            ("[::]:1", Door::Network),
            ("10.0.0.1:1", Door::Network),
        ] {
            assert_eq!(Door::of(addr.parse().unwrap()), door, "{addr}");
        }
    }

    #[test]
    fn a_token_is_wanted_everywhere_but_at_the_socket() {
        let get = |more: &str| format!("GET /v1/status HTTP/1.1\r\nHost: cache.example{more}");
        for door in [Door::Loopback, Door::Network] {
            for (more, wanted) in [
                ("", Some(401)),
                ("\r\nAuthorization: Bearer wrong", Some(401)),
                ("\r\nAuthorization: Basic s3cret", Some(401)),
                ("\r\nAuthorization: Bearer s3cret", None),
                ("\r\nAuthorization: bearer s3cret", None),
            ] {
                assert_eq!(status(door, Some("s3cret"), &get(more)), wanted, "{more}");
            }
        }
        assert_eq!(status(Door::Local, Some("s3cret"), &get("")), None);
    }

    #[test]
    fn a_page_of_another_place_changes_nothing_and_reads_nothing() {
        let own = "\r\nContent-Type: application/json";
        for (method, more, wanted) in [
            ("POST", "", Some(415)),
            ("POST", "\r\nContent-Type: text/plain", Some(415)),
            (
                "POST",
                "\r\nContent-Type: application/json; charset=utf-8",
                None,
            ),
            ("DELETE", "\r\nX-Transship-Admin: 1", None),
            (
                "DELETE",
                &format!("\r\nOrigin: http://evil.example{own}"),
                Some(403),
            ),
            ("DELETE", &format!("\r\nOrigin: null{own}"), Some(403)),
            (
                "POST",
                &format!("\r\nOrigin: http://127.0.0.1:1{own}"),
                None,
            ),
            ("GET", "\r\nOrigin: http://127.0.0.1:2", Some(403)),
            ("GET", "\r\nSec-Fetch-Site: cross-site", Some(403)),
            ("GET", "\r\nSec-Fetch-Site: same-origin", None),
            ("GET", "\r\nSec-Fetch-Site: none", None),
            ("GET", "", None),
        ] {
            let head = format!("{method} /v1/drain HTTP/1.1\r\nHost: 127.0.0.1:1{more}");
            assert_eq!(
                status(Door::Loopback, None, &head),
                wanted,
                "{method} {more}"
            );
        }
    }
}
