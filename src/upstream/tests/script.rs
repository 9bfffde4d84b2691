//! A next hop for tests that does as it is told, and a core to ask it from.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use url::Url;

use crate::rt::{Cores, Tier};
use crate::upstream::{Credentials, Error, Hop, Options, Policy, Request, Upstream};

/// What a scripted hop does with a request.
pub(super) enum Answer {
    /// Sends this and waits for the next request.
    Keep(String),
    /// Sends this and closes.
    Close(String),
    /// Sends this and closes without a goodbye, which TLS can tell.
    Cut(String),
    /// Sends this and then nothing more, without closing.
    Hang(String),
}

/// A request as a scripted hop saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Which connection it came on, counted from 0.
    pub(super) connection: usize,
    pub(super) head: String,
}

impl Seen {
    /// Returns the value of a field, its name in the client's spelling.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns the request target.
    pub(super) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

/// A hop on 127.0.0.1, with a thread for each connection. They end with the test's process.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts a hop that speaks plain HTTP.
    pub(super) fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(script))
    }

    /// Starts a hop that speaks HTTP over TLS.
    pub(super) fn start_tls(
        tls: ServerConfig,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(Arc::new(tls)), Arc::new(script))
    }

    fn listen(tls: Option<Arc<ServerConfig>>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let this = server.clone();
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (this, script, tls) = (this.clone(), Arc::clone(&script), tls.clone());
                let stream = stream.unwrap();
                std::thread::spawn(move || match tls {
                    None => this.serve(connection, stream, &*script),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        let stream = StreamOwned::new(session, stream);
                        this.serve(connection, stream, &*script);
                    }
                });
            }
        });
        server
    }

    fn serve(&self, connection: usize, mut stream: impl Wire, script: &Script) {
        while let Some(head) = read_head(&mut stream) {
            let seen = Seen { connection, head };
            self.seen.lock().push(seen.clone());
            let answer = script(&seen);
            let (Answer::Keep(text) | Answer::Close(text) | Answer::Cut(text) | Answer::Hang(text)) =
                &answer;
            if stream.write_all(text.as_bytes()).is_err() || stream.flush().is_err() {
                return;
            }
            match answer {
                Answer::Keep(_) => {}
                Answer::Close(_) => return stream.close(),
                Answer::Cut(_) => return,
                Answer::Hang(_) => return drop(stream.read(&mut [0])),
            }
        }
    }

    /// Returns every request so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Returns the hop's URL with `host` for its name.
    pub(super) fn url(&self, scheme: &str, host: &str) -> Url {
        Url::parse(&format!("{scheme}://{host}:{}", self.address.port())).unwrap()
    }
}

/// What a scripted hop speaks over.
trait Wire: Read + Write {
    fn close(&mut self);
}

impl Wire for TcpStream {
    fn close(&mut self) {}
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn close(&mut self) {
        self.conn.send_close_notify();
        drop(self.flush());
    }
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Returns a 200 with a body framed by its length.
pub(super) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Returns a hop without credentials.
pub(super) fn hop(url: Url) -> Hop {
    Hop {
        url,
        origin: None,
        credentials: None,
    }
}

/// Returns a hop with credentials whose base64 is `dTpw`.
pub(super) fn hop_of_user(url: Url) -> Hop {
    Hop {
        credentials: Some(Credentials {
            username: "u".to_owned(),
            password: "p".to_owned(),
        }),
        ..hop(url)
    }
}

/// Returns options with times that a passing test never reaches.
pub(in crate::upstream) fn options(hops: Vec<Hop>) -> Options {
    Options {
        hops,
        policy: Policy::RoundRobin,
        cas: Vec::new(),
        client_certificate: None,
        connect_timeout: Duration::from_secs(20),
        head_timeout: Duration::from_secs(20),
        progress_timeout: Duration::from_secs(20),
        bytes_per_second: None,
        connections_max: None,
        realms: Vec::new(),
    }
}

/// Runs what `job` makes on a core of its own and returns what came of it.
pub(super) fn on_core<T, F>(job: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    on_tier(&Tier::probe(false), job)
}

/// As [`on_core`], on a tier of one's choice.
pub(super) fn on_tier<T, F>(tier: &Tier, job: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let cores = Cores::start_unpinned("test-core", tier, move |_| async move {
        sender.send(job().await).unwrap();
    });
    let outcome = receiver.recv().unwrap();
    cores.unwrap().join().unwrap();
    outcome
}

/// An answer received to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends a request and receives the whole answer.
pub(super) async fn fetch(upstream: &Upstream, request: &Request) -> Result<Whole, Error> {
    let response = upstream.send(request).await?;
    let status = response.status();
    let body = response.bytes(1 << 20).await?;
    Ok(Whole {
        status,
        body: String::from_utf8(body).unwrap(),
    })
}

/// As [`fetch`], of a blob in repository `a/b`, several times in a row.
pub(super) fn fetch_times(options: Options, times: usize) -> Vec<Result<Whole, Error>> {
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..times {
            outcomes.push(fetch(&upstream, &blob()).await);
        }
        outcomes
    })
}

/// As [`fetch_times`], once.
pub(super) fn fetch_one(options: Options) -> Result<Whole, Error> {
    fetch_times(options, 1).remove(0)
}

/// Returns a request for a blob of repository `a/b`.
pub(super) fn blob() -> Request {
    Request {
        repository: Some("a/b".to_owned()),
        ..Request::get("/v2/a/b/blobs/x".to_owned())
    }
}
