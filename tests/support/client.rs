//! A small blocking HTTP/1.1 client that leaves every byte to the test.
//!
//! It sends what it is told, in the pieces it is told, and reports a body that ends short of what
//! the head promised instead of failing: that is what a pull client would see.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// A status line and its fields.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    pub fields: Vec<(String, String)>,
}

/// A response as far as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    pub head: Head,
    pub body: Vec<u8>,
    /// False when the connection ended before the body did.
    pub whole: bool,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).unwrap_or_else(|e| panic!("connect {addr}: {e}")))
    }

    /// Connects, or says why not.
    #[allow(dead_code, reason = "what the benches load is there")]
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(addr).map(Self::over)
    }

    /// Connects from this loopback address: another host, as far as anyone can tell.
    #[allow(dead_code, reason = "the benches have one host")]
    pub fn connect_from(host: &str, addr: SocketAddr) -> Self {
        Self::over(stream_from(host, addr).unwrap_or_else(|e| panic!("{host} to {addr}: {e}")))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::with_capacity(256 * 1024, stream),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("send");
    }

    /// Sends as much as the other side takes: it may refuse and close before the end.
    pub fn send_what_it_takes(&mut self, bytes: &[u8]) {
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// Sends all of it; says whether the other side took it.
    #[allow(dead_code, reason = "the benches send what is taken")]
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Returns the same connection once more, so that one thread sends and another reads.
    #[allow(dead_code, reason = "the benches do both in turn")]
    pub fn other_half(&self) -> Self {
        Self::over(self.reader.get_ref().try_clone().unwrap())
    }

    /// Ends both directions, for the other half as well.
    #[allow(dead_code, reason = "the benches drop what they have")]
    pub fn hang_up(&self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }

    /// Sends a request without waiting for its reply.
    pub fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) {
        self.send(&request(method, target, fields));
    }

    /// Sends a request and reads its whole reply.
    pub fn call(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask(method, target, fields);
        self.reply(method)
    }

    pub fn get(&mut self, target: &str) -> Reply {
        self.call("GET", target, &[])
    }

    /// Reads the next response to a request of `method`.
    pub fn reply(&mut self, method: &str) -> Reply {
        let head = self.head();
        let mut body = Vec::new();
        let whole = self.body(method, &head, |part| body.extend_from_slice(part));
        Reply { head, body, whole }
    }

    /// Reads a response head; panics when there is none.
    pub fn head(&mut self) -> Head {
        self.try_head().expect("a response head")
    }

    /// Reads a response head, or the way the connection ended.
    pub fn try_head(&mut self) -> io::Result<Head> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head { status, fields });
            }
            let (name, value) = line.split_once(':').expect("a field has a colon");
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Reads a body to its end and hands out its parts; returns whether it was whole.
    pub fn body(&mut self, method: &str, head: &Head, mut sink: impl FnMut(&[u8])) -> bool {
        if method == "HEAD" || head.status == 204 || head.status == 304 {
            return true;
        }
        let chunked = head.field("transfer-encoding").is_some();
        if chunked {
            return self.chunked_body(&mut sink).unwrap_or(false);
        }
        let length = head.length();
        let wanted = length.unwrap_or(u64::MAX);
        let got = self.read_up_to(wanted, &mut sink);
        length.is_none_or(|length| got == length)
    }

    /// Hands out up to `wanted` bytes; returns how many came before the connection ended.
    pub fn read_up_to(&mut self, wanted: u64, sink: &mut impl FnMut(&[u8])) -> u64 {
        let mut got = 0;
        while got < wanted {
            let part = match self.reader.fill_buf() {
                Ok([]) => break,
                Ok(part) => part,
                Err(error) if ended(&error) => break,
                Err(error) => panic!("read after {got} bytes: {error}"),
            };
            let take =
                usize::try_from(wanted - got).map_or(part.len(), |left| left.min(part.len()));
            sink(&part[..take]);
            self.reader.consume(take);
            got += take as u64;
        }
        got
    }

    /// Waits until a byte of the body is here.
    #[allow(dead_code, reason = "the benches measure it")]
    pub fn wait_for_byte(&mut self) {
        assert!(!self.reader.fill_buf().expect("a byte").is_empty());
    }

    /// Lets the kernel throw away a body that has a length (`MSG_TRUNC`, tcp(7)), so that reading it
    /// costs next to nothing; returns whether it was whole.
    #[allow(dead_code, reason = "the benches measure servers with it, not readers")]
    pub fn discard(&mut self, head: &Head) -> bool {
        const PIECE_BYTES: usize = 4 << 20;
        let mut left = usize::try_from(head.length().unwrap()).unwrap();
        let buffered = left.min(self.reader.buffer().len());
        self.reader.consume(buffered);
        left -= buffered;
        let mut scrap = vec![0; PIECE_BYTES.min(left)];
        while left > 0 {
            let piece = &mut scrap[..left.min(PIECE_BYTES)];
            let flags = rustix::net::RecvFlags::TRUNC;
            match rustix::net::recv(self.reader.get_ref(), piece, flags) {
                Ok((_, 0)) | Err(_) => return false,
                Ok((_, count)) => left -= count,
            }
        }
        true
    }

    /// Returns exactly `count` bytes of what comes next.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("bytes");
        bytes
    }

    /// Returns what has already arrived, without waiting for more.
    pub fn arrived(&mut self) -> Vec<u8> {
        self.reader.get_ref().set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || ended(&error) => {}
            Err(error) => panic!("read: {error}"),
        }
        self.reader.get_ref().set_nonblocking(false).unwrap();
        bytes
    }

    /// Waits for the other side to close; panics when it says anything more.
    pub fn expect_close(&mut self) {
        match self.reader.fill_buf() {
            Ok([]) => {}
            Ok(more) => panic!("expected a close, got {:?}", String::from_utf8_lossy(more)),
            Err(error) if ended(&error) => {}
            Err(error) => panic!("expected a close: {error}"),
        }
    }

    fn chunked_body(&mut self, sink: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap().trim();
            let size = u64::from_str_radix(size, 16).expect("a chunk size");
            if self.read_up_to(size, sink) < size {
                return Ok(false);
            }
            if !self.line()?.is_empty() {
                panic!("a chunk ends with CRLF");
            }
            if size == 0 {
                return Ok(true);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.strip_suffix(b"\r\n").expect("a line ends with CRLF");
        Ok(String::from_utf8(line.to_vec()).expect("a head is text"))
    }
}

impl Head {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self
            .fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} came twice: {self:?}");
        value
    }

    pub fn length(&self) -> Option<u64> {
        let length = self.field("content-length")?;
        Some(length.parse().expect("Content-Length is a number"))
    }
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?} {}", self.head, self.text()))
    }

    /// Checks that this is an error as the OCI specification words it.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) {
        assert_eq!(self.status(), status, "{:?} {}", self.head, self.text());
        let content_type = self.field("content-type").unwrap_or_default();
        assert!(
            content_type.starts_with("application/json"),
            "{:?}",
            self.head
        );
        assert_eq!(self.json()["errors"][0]["code"], code, "{}", self.text());
    }

    /// What follows `transship;` in the last member of `Cache-Status`, such as `hit` or `fwd=uri-miss`.
    pub fn cache(&self) -> String {
        self.head.cache()
    }
}

impl Head {
    pub fn cache(&self) -> String {
        let status = self.field("cache-status").unwrap_or_default();
        let status = status.rsplit(", ").next().unwrap();
        let (name, rest) = status.split_once(';').unwrap_or((status, ""));
        assert_eq!(name.trim(), "transship", "Cache-Status: {status}");
        rest.trim().to_owned()
    }
}

/// Connects from this loopback address.
pub fn stream_from(host: &str, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(host.parse().unwrap(), 0).into())?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

/// Returns the bytes of a request with a `Host` of its own.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: transship.test\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

/// Asks the admin address as a careful program on its host does.
#[allow(dead_code, reason = "benches steer nothing")]
pub fn call_admin(admin: SocketAddr, method: &str, target: &str, body: &str) -> Reply {
    let mut client = Client::connect(admin);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(head.as_bytes());
    client.reply(method)
}

/// Asks once on a connection of its own.
pub fn get(addr: SocketAddr, target: &str) -> Reply {
    Client::connect(addr).get(target)
}

fn ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}
