//! A proxy before a real registry, or before another cache, that spoils what passes as it is told, and counts.
//!
//! ```text
//! transship ─▶ FaultProxy ─▶ docker-registry
//!                  ├ rules: which GETs, how often, what is done to the answer
//!                  ├ shape: each connection is held to a rate
//!                  └ asked: every request, its range, the body bytes that went out
//! ```
//!
//! The scripted [`Origin`](super::Origin) makes faults of a registry; this one makes those of a way to it. It
//! asks anew for each request, waits at a [`Gate`], and sleeps only to be as slow as a test wants it. What it
//! has sent was taken by the kernel, whose buffers it keeps small: little is on the way.

mod harm;
mod pace;
mod pass;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

pub use harm::{Harm, On};

use super::blob::Blob;
use super::origin::{Gate, Seen, Tls, Wire};

/// Bytes that the kernel may hold of what was sent and not received; it doubles them.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A listening proxy; dropping it opens every gate and closes every connection.
pub struct FaultProxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

/// A request as it came, and what was sent of its body.
#[derive(Clone)]
pub struct Asked {
    pub request: Seen,
    pub sent: u64,
    is_running: bool,
}

impl Asked {
    pub fn range(&self) -> Option<&str> {
        self.request.field("range")
    }

    /// The offset of the first byte that was asked for; 0 without a range.
    pub fn from(&self) -> u64 {
        let Some(range) = self.range() else { return 0 };
        pass::first_of(range).unwrap_or_else(|| panic!("a range of no offset: {range}"))
    }
}

/// Whether connections are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Shut,
    Gone,
}

struct Shared {
    origin: SocketAddr,
    tls: Option<Tls>,
    listener: Socket,
    door: Mutex<Door>,
    opened: Condvar,
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
    /// Most answers with a body that ran at once for one path.
    peak: AtomicUsize,
    /// Bytes a second of each connection; 0 is no bound.
    rate: AtomicU64,
    lag_ms: AtomicU64,
    in_a_hurry: AtomicBool,
    connections: AtomicUsize,
    sockets: Mutex<Vec<TcpStream>>,
    gates: Mutex<Vec<Gate>>,
}

struct Rule {
    on: On,
    times_left: usize,
    harm: Harm,
}

impl FaultProxy {
    pub fn before(origin: SocketAddr) -> Self {
        Self::start("127.0.0.1", origin, None)
    }

    /// Listens on another loopback address: another host, in every respect that matters here.
    pub fn elsewhere(origin: SocketAddr) -> Self {
        Self::start("127.0.0.2", origin, None)
    }

    /// Speaks TLS to those who come, and none to the origin.
    pub fn before_with_tls(origin: SocketAddr, tls: &Tls) -> Self {
        Self::start("127.0.0.1", origin, Some(tls.clone()))
    }

    fn start(host: &str, origin: SocketAddr, tls: Option<Tls>) -> Self {
        let (listener, addr) = listen(host);
        let shared = Arc::new(Shared {
            origin,
            tls,
            listener,
            door: Mutex::new(Door::Open),
            opened: Condvar::new(),
            rules: Mutex::default(),
            asked: Mutex::default(),
            peak: AtomicUsize::new(0),
            rate: AtomicU64::new(0),
            lag_ms: AtomicU64::new(0),
            in_a_hurry: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            sockets: Mutex::default(),
            gates: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&accepting));
        Self { addr, shared }
    }

    pub fn url(&self) -> String {
        let scheme = self.shared.tls.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}", self.addr)
    }

    /// Spoils the answers to the next `times` requests that `on` accepts and no earlier rule has taken.
    pub fn harm(&self, on: &On, times: usize, harm: &Harm) {
        self.shared
            .gates
            .lock()
            .unwrap()
            .extend(harm.gates().cloned());
        self.shared.rules.lock().unwrap().push(Rule {
            on: on.clone(),
            times_left: times,
            harm: harm.clone(),
        });
    }

    /// Spoils every such answer from here on.
    pub fn harm_always(&self, on: &On, harm: &Harm) {
        self.harm(on, usize::MAX, harm);
    }

    /// Spoils nothing more.
    pub fn behave(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Holds each connection to this many bytes of bodies a second; 0 to none.
    pub fn shape(&self, bytes_per_second: u64) {
        self.shared.rate.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Lets each answer wait for a round trip.
    #[allow(dead_code, reason = "the benches make the way long")]
    pub fn lag(&self, round_trip: Duration) {
        let millis = u64::try_from(round_trip.as_millis()).unwrap();
        self.shared.lag_ms.store(millis, Ordering::SeqCst);
    }

    /// Lets what is slow by a rule go on as fast as it can.
    pub fn hurry(&self) {
        self.shared.in_a_hurry.store(true, Ordering::SeqCst);
    }

    /// Closes every connection, and refuses new ones until it is [revived](Self::revive).
    pub fn die(&self) {
        *self.shared.door.lock().unwrap() = Door::Shut;
        self.shared.close();
    }

    /// Takes connections again, at the same address.
    pub fn revive(&self) {
        self.shared.listener.listen(128).unwrap();
        *self.shared.door.lock().unwrap() = Door::Open;
        self.shared.opened.notify_all();
    }

    /// Every GET of this blob, in the order in which they came.
    pub fn asked(&self, blob: &Blob) -> Vec<Asked> {
        let on = On::blob(blob);
        let asked = self.shared.asked.lock().unwrap();
        let gets = asked.iter().filter(|asked| {
            let request = &asked.request;
            on.accepts(&request.method, &request.target, false)
        });
        gets.cloned().collect()
    }

    /// Body bytes sent for this blob, all requests together.
    pub fn sent(&self, blob: &Blob) -> u64 {
        self.asked(blob).iter().map(|asked| asked.sent).sum()
    }

    /// Answers that run now for this blob. One that waits at a gate does, whoever has left it.
    pub fn running(&self, blob: &Blob) -> usize {
        let asked = self.asked(blob);
        asked.iter().filter(|asked| asked.is_running).count()
    }

    /// Most answers that ran at once for any one path.
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // A test that gave up at a gate has left its lock behind; the process ends anyway.
        if std::thread::panicking() {
            return;
        }
        *self.shared.door.lock().unwrap() = Door::Gone;
        for gate in self.shared.gates.lock().unwrap().iter() {
            gate.open();
        }
        self.shared.opened.notify_all();
        self.shared.close();
    }
}

impl Shared {
    /// Ends the listener's state and every connection. A socket that was bound by number keeps its port.
    fn close(&self) {
        let _ = self.listener.shutdown(Shutdown::Both);
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Takes the harm that is due for this request.
    fn harm(&self, request: &Seen) -> Harm {
        let is_ranged = request.field("range").is_some();
        let mut rules = self.rules.lock().unwrap();
        let due = rules.iter_mut().find(|rule| {
            rule.times_left > 0 && rule.on.accepts(&request.method, &request.target, is_ranged)
        });
        due.map_or_else(Harm::none, |rule| {
            rule.times_left -= 1;
            rule.harm.clone()
        })
    }

    /// Notes a request; returns its number.
    fn note(&self, request: &Seen) -> usize {
        let mut asked = self.asked.lock().unwrap();
        asked.push(Asked {
            request: request.clone(),
            sent: 0,
            is_running: false,
        });
        asked.len() - 1
    }

    fn begin(&self, number: usize) {
        let mut asked = self.asked.lock().unwrap();
        asked[number].is_running = true;
        let target = &asked[number].request.target;
        let same = |other: &&Asked| other.is_running && other.request.target == *target;
        let running = asked.iter().filter(same).count();
        self.peak.fetch_max(running, Ordering::SeqCst);
    }

    fn sent(&self, number: usize, count: usize) {
        self.asked.lock().unwrap()[number].sent += count as u64;
    }

    fn end(&self, number: usize) {
        self.asked.lock().unwrap()[number].is_running = false;
    }
}

/// Listens on a port that was asked for by number, so that the socket keeps it while it does not listen.
fn listen(host: &str) -> (Socket, SocketAddr) {
    for _ in 0..20 {
        let free = std::net::TcpListener::bind((host, 0)).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
        if socket.bind(&addr.into()).is_ok() && socket.listen(128).is_ok() {
            return (socket, addr);
        }
    }
    panic!("no port to be had");
}

fn accept(shared: &Arc<Shared>) {
    loop {
        let door = shared.door.lock().unwrap();
        let door = shared
            .opened
            .wait_while(door, |door| *door == Door::Shut)
            .unwrap();
        if *door == Door::Gone {
            return;
        }
        drop(door);
        let Ok((socket, _)) = shared.listener.accept() else {
            continue;
        };
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true).unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let kept = socket.try_clone().unwrap();
        shared.sockets.lock().unwrap().push(kept);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let peer = socket.peer_addr();
            let wire = Wire::new(socket, shared.tls.as_ref());
            pass::serve(&shared, wire);
            if let Ok(peer) = peer {
                let mut sockets = shared.sockets.lock().unwrap();
                sockets.retain(|socket| socket.peer_addr().is_ok_and(|other| other != peer));
            }
        });
    }
}
