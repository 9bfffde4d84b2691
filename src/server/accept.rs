//! A core's listener: takes connections, counts them in total and by address, and drains.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Service;
use super::addresses::{Address, Entered};
use super::connection;
use super::context::Context;
use super::transport::Transport;
use crate::limits::{CLOSE_DELETED_EVERY, DRAIN_TICK, HANDSHAKE_TIMEOUT};
use crate::metrics::{ConnectionRefusal, DeadlinePassed};
use crate::rt::{self, Core, DeadlineKind, Listener, Socket, TlsSocket};

/// Wait after an accept that failed, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `listener` on this core until the service is drained.
///
/// # Errors
/// When the listener cannot be taken onto the core.
pub async fn serve(service: Arc<Service>, listener: TcpListener, core: Core) -> io::Result<()> {
    let listener = Listener::adopt(listener, &core.tier)?;
    let context = Rc::new(Context::new(Arc::clone(&service), &core));
    rt::spawn(close_deleted(Rc::clone(&context)));
    if core.index == 0 {
        rt::spawn(Arc::clone(&service.access).keep_keys_fresh());
    }
    let drain = service.drain.wait(|| service.is_draining().then_some(()));
    let mut drain = std::pin::pin!(drain);
    while let Some(accepted) = rt::unless(drain.as_mut(), listener.accept()).await {
        match accepted {
            Ok((socket, peer)) => take(&context, socket, peer.ip()),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                rt::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    finish(&context).await;
    context.flush_log();
    Ok(())
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
fn take(context: &Rc<Context>, socket: Socket, peer: IpAddr) {
    context.counters.connections_accepted.add(1);
    let seat = match Seat::take(context, peer) {
        Ok(seat) => seat,
        Err(reason) => {
            context.counters.count_refused_connection(reason);
            return;
        }
    };
    rt::spawn(async move {
        if let Some(transport) = shake_hands(&seat.context, socket).await {
            connection::run(&seat.context, transport, peer).await;
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
    fn take(context: &Rc<Context>, peer: IpAddr) -> Result<Self, ConnectionRefusal> {
        let service = &context.service;
        let before = service.connections.fetch_add(1, Ordering::Relaxed);
        context.counters.connections.add(1);
        let mut seat = Self {
            context: Rc::clone(context),
            address: None,
        };
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

async fn shake_hands(context: &Context, socket: Socket) -> Option<Transport> {
    let Some(certificates) = &context.service.certificates else {
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

/// Waits until this core's responses and fills have ended, or the time for that is over.
async fn finish(context: &Context) {
    let end = Instant::now() + context.service.bounds.drain_timeout.get();
    while Instant::now() < end {
        // Connections become idle while others still send: each round lets those go.
        rt::expire_idle();
        let counters = &context.counters;
        let are_fills_over =
            counters.fills_running.read() == 0 || !context.service.fills.are_busy();
        if counters.connections.read() == 0 && are_fills_over {
            return;
        }
        rt::sleep(DRAIN_TICK).await;
    }
    tracing::warn!(
        connections = context.counters.connections.read(),
        fills = context.counters.fills_running.read(),
        "drain timeout: what was in flight is cut"
    );
}
