//! Making one check. Blocks for as long as its timeout at most, but for what the resolver takes.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use url::{Position, Url};

use super::{Check, Target};

/// Most bytes of a status line that are read.
const LINE_BYTES_MAX: usize = 1024;

/// Makes a check.
///
/// # Errors
/// Why it fails, for an operator's eyes.
pub(super) fn probe(check: &Check) -> Result<(), String> {
    let end = Instant::now() + check.timeout;
    match &check.target {
        Target::File(path) => match std::fs::symlink_metadata(path) {
            Ok(_) => Err("file exists".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        Target::Tcp(addr) => connect(addr, end)
            .map(drop)
            .map_err(|error| format!("connection to {addr} failed: {error}")),
        Target::Http {
            uri,
            headers,
            status,
        } => match ask(uri, headers, end) {
            Ok(found) if found == *status => Ok(()),
            Ok(found) => Err(format!("status {found}, not {status}")),
            Err(error) => Err(format!("no answer: {error}")),
        },
    }
}

/// Returns what is left of the time.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn connect(addr: &str, end: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in addr.to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, left(end)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends a HEAD and returns the status of the answer. Redirects are answers.
fn ask(uri: &Url, headers: &[(String, String)], end: Instant) -> io::Result<u16> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
    let host = uri.host_str().ok_or_else(|| invalid("no host"))?;
    let port = uri
        .port_or_known_default()
        .ok_or_else(|| invalid("no port"))?;
    let timed = Timed {
        stream: connect(&format!("{host}:{port}"), end)?,
        end,
    };
    let head = head(uri, headers);
    if uri.scheme() == "http" {
        return exchange(timed, &head);
    }
    // An address in brackets is none as a server's name.
    let name = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(|_| invalid("no name of a server"))?;
    let session = ClientConnection::new(client()?, name).map_err(io::Error::other)?;
    exchange(StreamOwned::new(session, timed), &head)
}

fn client() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = builder.with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

fn head(uri: &Url, headers: &[(String, String)]) -> String {
    let mut head = format!(
        "HEAD {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: transship/{}\r\nConnection: close\r\n",
        &uri[Position::BeforePath..Position::AfterQuery],
        &uri[Position::BeforeHost..Position::AfterPort],
        env!("CARGO_PKG_VERSION"),
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// Sends `head` and reads the status line.
fn exchange(mut stream: impl Read + Write, head: &str) -> io::Result<u16> {
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let (mut line, mut byte) = (Vec::new(), [0; 1]);
    while line.len() < LINE_BYTES_MAX && stream.read(&mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    status(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not HTTP"))
}

/// Returns the status that a status line says (RFC 9112 §4).
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (digits, rest) = rest.get(2..)?.split_at_checked(3)?;
    let is_over = rest.first().is_none_or(|byte| b" \r".contains(byte));
    let is_number = digits.iter().all(u8::is_ascii_digit) && rest_of_version(line);
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|_| is_over && is_number)
}

fn rest_of_version(line: &[u8]) -> bool {
    line.get(7).is_some_and(u8::is_ascii_digit) && line.get(8) == Some(&b' ')
}

/// A connection all of whose reads and writes share one deadline.
struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.end)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.end)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_what_is_http_and_nothing_else() {
        for (line, found) in [
            ("HTTP/1.1 200 OK\r", Some(200)),
            ("HTTP/1.0 503\r", Some(503)),
            ("HTTP/1.1 404", Some(404)),
            ("HTTP/1.1 2000\r", None),
            ("HTTP/1.1 +20 OK", None),
            ("HTTP/1.11 200", None),
            ("HTTP/2 200", None),
            ("SSH-2.0-x", None),
            ("", None),
        ] {
            assert_eq!(status(line.as_bytes()), found, "{line}");
        }
    }

    #[test]
    fn a_head_says_what_is_asked() {
        let uri = Url::parse("https://h.example:8443/a?b=c").unwrap();
        let head = head(&uri, &[("X-A".to_owned(), "b".to_owned())]);
        assert!(
            head.starts_with("HEAD /a?b=c HTTP/1.1\r\nHost: h.example:8443\r\n"),
            "{head}"
        );
        assert!(head.ends_with("\r\nX-A: b\r\n\r\n"), "{head}");
    }
}
