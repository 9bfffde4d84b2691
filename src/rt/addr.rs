//! Addresses to listen on, in the forms that Go programs take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A TCP address to listen on: `:5000` (every address, IPv6 and IPv4), `127.0.0.1:5000`, `[::1]:5000`
/// or `localhost:5000`.
///
/// Other host names are refused: what they resolve to can change, an address to listen on must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    host: Option<IpAddr>,
    port: u16,
}

impl ListenAddr {
    /// Returns the address for loopback of IPv4 with `port`; 0 lets the kernel choose.
    #[must_use]
    pub const fn loopback(port: u16) -> Self {
        Self {
            host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port,
        }
    }

    /// Returns the address that takes connections to every address of this host.
    #[must_use]
    pub const fn any(port: u16) -> Self {
        Self { host: None, port }
    }

    /// Returns the socket address to bind: `[::]` with IPv4 mapped in when no host was given.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(
            self.host.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            self.port,
        )
    }

    /// Returns the address to bind where the host has no IPv6, if that differs.
    #[must_use]
    pub fn without_ipv6(&self) -> Option<SocketAddr> {
        self.host
            .is_none()
            .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.port)))
    }

    /// Says whether a socket that is bound to `bound` is what binding this address could have given.
    #[must_use]
    pub fn is_bound_as(&self, bound: SocketAddr) -> bool {
        let is = |wanted: SocketAddr| {
            wanted.ip() == bound.ip() && (wanted.port() == bound.port() || wanted.port() == 0)
        };
        is(self.socket_addr()) || self.without_ipv6().is_some_and(is)
    }

    /// Says whether only this host can reach the address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.is_some_and(|host| host.is_loopback())
    }

    /// Returns the same address with another port.
    #[must_use]
    pub const fn with_port(self, port: u16) -> Self {
        Self {
            host: self.host,
            port,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(host) => fmt::Display::fmt(&SocketAddr::new(host, self.port), f),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// A text that is not an address to listen on. The operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddrError;

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("want :PORT, IPv4:PORT, [IPv6]:PORT or localhost:PORT")
    }
}

impl std::error::Error for ListenAddrError {}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, ListenAddrError> {
        let (host, port) = text.rsplit_once(':').ok_or(ListenAddrError)?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or(ListenAddrError)?;
        let host = match host {
            "" => None,
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            _ => {
                let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
                Some(match inner {
                    Some(v6) => IpAddr::V6(v6.parse().map_err(|_| ListenAddrError)?),
                    None => IpAddr::V4(host.parse().map_err(|_| ListenAddrError)?),
                })
            }
        };
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_go_programs_take_are_taken() {
        for text in [":5000", "127.0.0.1:5001", "[::1]:443", "0.0.0.0:80"] {
            assert_eq!(text.parse::<ListenAddr>().unwrap().to_string(), text);
        }
        assert!("localhost:1".parse::<ListenAddr>().unwrap().is_loopback());
        assert!(!":1".parse::<ListenAddr>().unwrap().is_loopback());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "5000",
            ":",
            ":+1",
            ":65536",
            "host.example:1",
            "::1:5",
            "[::1]",
            "1.2.3:4",
        ] {
            assert!(text.parse::<ListenAddr>().is_err(), "{text}");
        }
    }
}
