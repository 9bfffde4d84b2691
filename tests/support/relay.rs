//! An address that leads somewhere else, or nowhere, as the test says.
//!
//! A cache can be given it as upstream before what stands behind it has an address of its own, and it can be
//! cut off and joined again without anybody changing ports.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A listening relay. Its threads end with their connections, or with the test.
pub struct Relay {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is taken and never answered.
    Nowhere,
    /// It waits until the test says where it leads.
    Held,
    /// It leads there.
    To(SocketAddr),
}

struct Shared {
    way: Mutex<Way>,
    changed: Condvar,
    connections: AtomicUsize,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Takes connections and answers none.
    pub fn to_nowhere() -> Self {
        Self::start(Way::Nowhere)
    }

    /// Takes connections and lets them wait.
    pub fn held() -> Self {
        Self::start(Way::Held)
    }

    fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            way: Mutex::new(way),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
            sockets: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let kept = socket.try_clone().unwrap();
                accepting.sockets.lock().unwrap().push(kept);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(&socket));
            }
        });
        Self { addr, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Leads what waits and what comes from here on to `addr`.
    pub fn lead_to(&self, addr: SocketAddr) {
        *self.shared.way.lock().unwrap() = Way::To(addr);
        self.shared.changed.notify_all();
    }

    /// Closes every connection and answers no more.
    pub fn cut(&self) {
        *self.shared.way.lock().unwrap() = Way::Nowhere;
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) {
        let way = self.way.lock().unwrap();
        let held = |way: &mut Way| *way == Way::Held;
        let way = *self.changed.wait_while(way, held).unwrap();
        let Way::To(addr) = way else { return };
        let Ok(server) = TcpStream::connect(addr) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || pass(&from, &to));
        pass(&server, client);
    }
}

/// Passes bytes on until there are no more, and then the end.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
