//! A running server, asked by its admin address: one HTTP/1.1 request a connection, over TCP or a Unix socket.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use url::Url;

/// Variable that names the server when the command line does not.
const ADMIN_VARIABLE: &str = "TRANSSHIP_ADMIN";
/// Variable that has the token.
const TOKEN_VARIABLE: &str = "TRANSSHIP_ADMIN_TOKEN";
/// Where the service manager's unit has the socket.
const SOCKET: &str = "/run/transship/admin.sock";
/// Where the admin address is unless somebody says.
const ADDRESS: &str = "http://127.0.0.1:5001";
/// Longest wait for a connection, and for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest answer: a page of a thousand blobs is 300 KiB.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Socket(PathBuf),
    /// Host and port.
    Address(String),
}

/// A server to be asked.
pub(super) struct Server {
    place: Place,
    token: Option<String>,
    /// Answers are printed as they come.
    pub(super) is_json: bool,
}

/// Why there is no answer that is of use.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line's.
    Usage(String),
    /// Nobody answers.
    Away(String),
    /// What was asked for is not there.
    Absent(String),
    /// It said no, or failed.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Away(text) | Self::Absent(text) | Self::Refused(text) => {
                f.write_str(text)
            }
        }
    }
}

impl Server {
    /// Returns the server that `admin` names, else the environment, else the one that is found here.
    ///
    /// # Errors
    /// A name that makes no sense.
    pub(super) fn find(admin: Option<&str>, is_json: bool) -> Result<Self, Failure> {
        let named = admin.map(ToOwned::to_owned);
        let named = named.or_else(|| std::env::var(ADMIN_VARIABLE).ok().filter(|v| !v.is_empty()));
        let place = match named {
            Some(text) => read(&text)?,
            None if Path::new(SOCKET).exists() => Place::Socket(SOCKET.into()),
            None => read(ADDRESS)?,
        };
        let token = std::env::var(TOKEN_VARIABLE).ok();
        let token = token.filter(|token| !token.is_empty());
        if token
            .as_ref()
            .is_some_and(|token| token.chars().any(char::is_control))
        {
            return Err(Failure::Usage(format!("{TOKEN_VARIABLE}: not a token")));
        }
        Ok(Self {
            place,
            token,
            is_json,
        })
    }

    /// Says whether a transship answers here, and us: others listen at such ports too.
    pub(super) fn is_there(&self) -> bool {
        self.get("/v1/status").is_ok()
    }

    pub(super) fn get(&self, target: &str) -> Result<Value, Failure> {
        self.call("GET", target, None)
    }

    /// Asks, and returns the body of an answer that is no error.
    ///
    /// # Errors
    /// No answer, or one that is an error, in the server's words.
    pub(super) fn call(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let away = |error: io::Error| {
            Failure::Away(format!("no server answers at {}: {error}", self.place))
        };
        let mut stream = self.connect().map_err(away)?;
        let body = body.map(ToString::to_string).unwrap_or_default();
        let host = match &self.place {
            Place::Socket(_) => "localhost",
            Place::Address(address) => address,
        };
        let token = self
            .token
            .iter()
            .map(|token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nAccept: application/json\r\n{}Connection: close\r\n\r\n{body}",
            body.len(),
            token.collect::<String>(),
        );
        stream.write_all(head.as_bytes()).map_err(away)?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .map_err(away)?;
        self.read(&answer)
    }

    fn read(&self, answer: &[u8]) -> Result<Value, Failure> {
        let strange = || Failure::Refused(format!("{} answers, and is no transship", self.place));
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut fields);
        let parsed = head.parse(answer).map_err(|_| strange())?;
        let httparse::Status::Complete(length) = parsed else {
            return Err(Failure::Away(format!("{} broke off", self.place)));
        };
        let status = head.code.unwrap_or(0);
        let body: Value = serde_json::from_slice(&answer[length..]).map_err(|_| strange())?;
        let message = body["error"]["message"]
            .as_str()
            .unwrap_or("it failed")
            .to_owned();
        match status {
            200..=299 => Ok(body),
            404 => Err(Failure::Absent(message)),
            _ => Err(Failure::Refused(message)),
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Place::Address(address) => {
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for addr in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&addr, PATIENCE) {
                        Ok(stream) => {
                            stream.set_read_timeout(Some(PATIENCE))?;
                            stream.set_write_timeout(Some(PATIENCE))?;
                            return Ok(Box::new(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Address(address) => write!(f, "http://{address}"),
        }
    }
}

fn read(text: &str) -> Result<Place, Failure> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.starts_with('/') {
        return Ok(Place::Socket(path.into()));
    }
    let url = Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.path() == "/");
    let address = url.as_ref().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    let wrong = || {
        Failure::Usage(format!(
            "{text}: want http://HOST:PORT, or the path of a Unix socket"
        ))
    };
    address.map(Place::Address).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_url_or_path() {
        for (text, place) in [
            ("/run/a.sock", Place::Socket("/run/a.sock".into())),
            ("unix:/run/a.sock", Place::Socket("/run/a.sock".into())),
            (
                "http://127.0.0.1:5001",
                Place::Address("127.0.0.1:5001".into()),
            ),
            ("http://[::1]:5001/", Place::Address("[::1]:5001".into())),
            (
                "http://cache.example",
                Place::Address("cache.example:80".into()),
            ),
        ] {
            assert_eq!(read(text).unwrap(), place);
        }
        for text in [
            "",
            "cache:5001",
            "https://cache.example",
            "http://a/b",
            "unix:relative",
        ] {
            assert!(matches!(read(text), Err(Failure::Usage(_))), "{text}");
        }
    }
}
