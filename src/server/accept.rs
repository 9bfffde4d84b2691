//! A core's listener: takes connections, counts them in total and by address, and drains.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Service;
use super::addresses::{Address, Entered};
use super::connection;
use super::context::Context;
use super::succession::Caller;
use super::transport::Transport;
use crate::limits::{CLOSE_DELETED_EVERY, DRAIN_TICK, HANDED_OVER_IDLE, HANDSHAKE_TIMEOUT};
use crate::metrics::{ConnectionRefusal, DeadlinePassed};
use crate::rt::{self, Core, DeadlineKind, Group, Listener, Socket, TlsSocket};

/// Wait after an accept that failed, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Ticks in which tasks whose connections were cut come to their ends.
const CUT_TICKS: usize = 10;

/// Connections that are taken after the drain has begun: those that the kernel had accepted before.
const LATE_MAX: usize = 4096;

/// Serves `listeners` on this core until the service is drained.
///
/// # Errors
/// When a listener cannot be taken onto the core.
pub async fn serve(
    service: Arc<Service>,
    listeners: Vec<TcpListener>,
    core: Core,
) -> io::Result<()> {
    let context = Rc::new(Context::new(Arc::clone(&service), &core));
    rt::spawn(close_deleted(Rc::clone(&context)));
    if core.index == 0 {
        rt::spawn(Arc::clone(&service.access).keep_keys_fresh());
    }
    service.begin.wait().await;
    // Not before: how they wait is a property of the sockets, which the process before this one served till now.
    let listeners = listeners
        .into_iter()
        .map(|listener| Listener::adopt(listener, &core.tier))
        .collect::<io::Result<Vec<_>>>()?;
    let mut accepting = Group::new();
    for listener in listeners {
        accepting.add(accept_until_drained(&context, listener));
    }
    while !accepting.is_empty() {
        accepting.next().await;
    }
    if let Some(succession) = service.succession.get() {
        rt::spawn(serve_successor(Rc::clone(&context)));
        succession.leave(core.index);
    }
    finish(&context).await;
    context.flush_log();
    Ok(())
}

/// Takes connections until the service is drained, and those that wait at that moment.
async fn accept_until_drained(context: &Rc<Context>, listener: Listener) {
    let service = &context.service;
    let mut late = 0;
    loop {
        let drain = std::pin::pin!(service.drain.wait());
        match listener.accept_unless(drain).await {
            Some(Ok((socket, peer))) => take(context, socket, peer.ip(), Caller::Client),
            Some(Err(error)) => {
                tracing::warn!(%error, "accept failed");
                rt::sleep(ACCEPT_RETRY).await;
            }
            None => return,
        }
        if service.is_draining() {
            late += 1;
            // The socket itself goes on, in the successor's hands, with all who wait.
            if service.is_handed_over() || late > LATE_MAX {
                return;
            }
        }
    }
}

/// Takes connections of the successor, for as long as this core runs.
async fn serve_successor(context: Rc<Context>) {
    let service = Arc::clone(&context.service);
    let Some(succession) = service.succession.get() else {
        return;
    };
    loop {
        match Socket::adopt(succession.next().await) {
            Ok(socket) => take(
                &context,
                socket,
                Ipv4Addr::LOCALHOST.into(),
                Caller::Successor,
            ),
            Err(error) => tracing::warn!(%error, "a connection of the successor is of no use"),
        }
    }
}

/// Closes deleted blobs soon after there are any, hands over what was logged, and shows that the core is alive, for
/// as long as it runs.
async fn close_deleted(context: Rc<Context>) {
    let mut seen = 0;
    loop {
        rt::sleep(CLOSE_DELETED_EVERY).await;
        context.flush_log();
        context.counters.beats.add(1);
        let removals = context.service.store.removals();
        if removals != seen {
            seen = removals;
            context.open_blobs.borrow_mut().close_deleted();
        }
    }
}

/// Starts a connection's task, unless there are too many.
fn take(context: &Rc<Context>, socket: Socket, peer: IpAddr, caller: Caller) {
    context.counters.connections_accepted.add(1);
    let seat = match Seat::take(context, peer, caller) {
        Ok(seat) => seat,
        Err(reason) => {
            context.counters.count_refused_connection(reason);
            return;
        }
    };
    rt::spawn(async move {
        if let Some(transport) = shake_hands(&seat.context, socket, caller).await {
            connection::run(&seat.context, transport, peer, caller).await;
        }
    });
}

/// A connection's place among those counted.
struct Seat {
    context: Rc<Context>,
    /// Counted under this address, if addresses are counted.
    address: Option<Address>,
}

impl Seat {
    fn take(
        context: &Rc<Context>,
        peer: IpAddr,
        caller: Caller,
    ) -> Result<Self, ConnectionRefusal> {
        let service = &context.service;
        let before = service.connections.fetch_add(1, Ordering::Relaxed);
        context.counters.connections.add(1);
        let mut seat = Self {
            context: Rc::clone(context),
            address: None,
        };
        // The bounds are on clients.
        if caller == Caller::Successor {
            return Ok(seat);
        }
        if before >= service.bounds.connections_max.get() {
            return Err(ConnectionRefusal::Total);
        }
        let address = Address::from(peer);
        match service.addresses.enter(address) {
            Entered::Refused => return Err(ConnectionRefusal::Address),
            Entered::Counted => seat.address = Some(address),
            Entered::Uncounted => {}
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let service = &self.context.service;
        if let Some(address) = self.address {
            service.addresses.leave(address);
        }
        self.context.counters.connections.sub(1);
        service.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn shake_hands(context: &Context, socket: Socket, caller: Caller) -> Option<Transport> {
    let certificates = context.service.certificates.as_ref();
    let Some(certificates) = certificates.filter(|_| caller == Caller::Client) else {
        return Some(Transport::Plain(socket));
    };
    socket.set_deadline(HANDSHAKE_TIMEOUT, DeadlineKind::Whole);
    let tls = rustls::ServerConnection::new(certificates.current()).ok()?;
    match TlsSocket::handshake(socket, tls).await {
        Ok(socket) => Some(Transport::Tls(Box::new(socket))),
        Err(error) => {
            if error.kind() == io::ErrorKind::TimedOut {
                context.counters.count_deadline(DeadlinePassed::Handshake);
            }
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
    }
}

/// Waits until all responses and fills have ended, or the time for that is over. All cores leave at the same time: what
/// one that is gone has been sent to do, by the kernel or by another core, nobody would.
async fn finish(context: &Context) {
    let service = &context.service;
    let end = Instant::now() + service.bounds.drain_timeout.get();
    // A client may be sending its next request just now. Where another process takes the connections that follow,
    // it gets its answer first, and a connection to that with it.
    let patience = match service.is_handed_over() {
        true => HANDED_OVER_IDLE,
        false => Duration::ZERO,
    };
    while Instant::now() < end {
        // Connections become idle while others still send: each round lets those go.
        rt::expire_idle(patience);
        if service.is_finished() {
            return;
        }
        rt::sleep(DRAIN_TICK).await;
    }
    // Those that never asked for anything again; nobody's request is cut.
    rt::expire_idle(Duration::ZERO);
    rt::sleep(DRAIN_TICK).await;
    if service.is_finished() {
        return;
    }
    tracing::warn!(
        connections = context.counters.connections.read(),
        fills = context.counters.fills_running.read(),
        "drain timeout: what was in flight is cut"
    );
    // By us and not by the kernel: each request has its line in the log then.
    rt::cut_accepted();
    for _ in 0..CUT_TICKS {
        if context.counters.connections.read() == 0 {
            return;
        }
        rt::sleep(DRAIN_TICK).await;
    }
}
