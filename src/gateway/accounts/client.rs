//! Whom a request comes from, for those who bound what one client may try.
//!
//! It goes along with the request's task and not through every signature: passwords come by fields, by forms and by the
//! web page, and none of these may be forgotten.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::gateway::app::App;
use crate::gateway::connections;

tokio::task_local! {
    static CLIENT: IpAddr;
}

/// Notes the client's address for all that answers the request.
pub(in crate::gateway) async fn note_client(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    match peer.map(|ConnectInfo(peer)| app.client_address(*peer, request.headers())) {
        Some(address) => CLIENT.scope(address, next.run(request)).await,
        None => next.run(request).await,
    }
}

/// Returns who asks.
pub(super) fn current() -> Option<IpAddr> {
    let address = CLIENT.try_with(|address| *address).ok()?;
    Some(connections::host(address))
}
