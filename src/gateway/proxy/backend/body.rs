//! Bodies on their way: streamed piece by piece, with an eye on who is silent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use reqwest::Response;
use tokio::time::{Instant, timeout};

use super::trouble::Trouble;
use crate::gateway::proxy::refusal::Refusal;
use crate::registry::Code;

/// How far a body that is sent has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// When a piece was last taken, or it began.
    last: Mutex<Instant>,
    /// Bytes still to come, if its length is known: nobody looks for an end behind the last of them.
    left: Option<AtomicU64>,
    /// Whether it is the client's turn: whose silence is then bounded where the body is read.
    is_awaited: AtomicBool,
    is_done: AtomicBool,
    is_broken: AtomicBool,
}

impl Progress {
    /// Returns the progress of a body of this length that begins now.
    pub(super) fn of(length: Option<u64>) -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            left: length.map(AtomicU64::new),
            is_awaited: AtomicBool::new(false),
            is_done: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        }
    }

    /// Takes note of a piece, or of the end.
    pub(super) fn passed(&self, bytes: Option<usize>) {
        *self.last.lock() = Instant::now();
        let is_last = match (bytes, &self.left) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(bytes), Some(left)) => {
                let bytes = bytes as u64;
                left.fetch_sub(bytes, Ordering::Relaxed) <= bytes
            }
        };
        if is_last {
            self.is_done.store(true, Ordering::Relaxed);
        }
    }

    /// Returns since when the backend is silent.
    pub(super) fn silent_since(&self) -> Instant {
        if self.is_awaited.load(Ordering::Relaxed) {
            return Instant::now();
        }
        *self.last.lock()
    }

    /// Says whether all of a stream was taken.
    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    /// Says whether the client broke off.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Returns the same body, seen passing. A client that is silent for longer than `silence` has broken off.
    pub(super) fn watch(self: &Arc<Self>, body: Body, silence: Duration) -> reqwest::Body {
        let pieces = body.into_data_stream();
        let this = Arc::clone(self);
        let seen = stream::unfold(Some(pieces), move |pieces| {
            let this = Arc::clone(&this);
            async move {
                let mut pieces = pieces?;
                this.is_awaited.store(true, Ordering::Relaxed);
                let piece = match timeout(silence, pieces.next()).await {
                    Ok(piece) => piece.map(|piece| piece.map_err(io::Error::other)),
                    Err(_) => Some(Err(io::ErrorKind::TimedOut.into())),
                };
                // Before it is nobody's turn: the backend's silence begins now.
                *this.last.lock() = Instant::now();
                this.is_awaited.store(false, Ordering::Relaxed);
                if let Some(Err(error)) = piece {
                    this.is_broken.store(true, Ordering::Relaxed);
                    return Some((Err(error), None));
                }
                let piece = piece.and_then(io::Result::ok);
                this.passed(piece.as_ref().map(Bytes::len));
                piece.map(|piece| (Ok(piece), Some(pieces)))
            }
        });
        reqwest::Body::wrap_stream(seen)
    }
}

/// Returns the body of an answer as a stream. It breaks off if the backend does, or is silent for too long.
pub(in crate::gateway::proxy) fn streamed(response: Response) -> Body {
    let pieces = stream::try_unfold(response, |mut response| async move {
        let piece = timeout(super::SILENCE, response.chunk()).await;
        let piece = piece.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let piece = piece.map_err(|error| io::Error::other(error.without_url()))?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, response)))
    });
    Body::from_stream(pieces)
}

/// Returns all of a client's body of up to `bytes_max`. One that is silent for longer than `silence` has broken off.
pub(in crate::gateway::proxy) async fn gathered(
    body: Body,
    bytes_max: usize,
    silence: Duration,
) -> Result<Bytes, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut body = Vec::new();
    loop {
        let piece = timeout(silence, pieces.next()).await;
        let Some(piece) = piece.map_err(|_| Code::RequestInvalid)? else {
            return Ok(body.into());
        };
        let piece = piece.map_err(|_| Code::RequestInvalid)?;
        if body.len() + piece.len() > bytes_max {
            return Err(Refusal::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
}

/// Returns all of an answer's body of up to `bytes_max`.
pub(in crate::gateway::proxy) async fn whole(
    mut response: Response,
    bytes_max: usize,
) -> Result<Bytes, Trouble> {
    let mut body = Vec::new();
    loop {
        let piece = timeout(super::SILENCE, response.chunk()).await;
        let piece = piece.map_err(|_| Trouble::Slow)?.map_err(Trouble::of)?;
        let Some(piece) = piece else {
            return Ok(body.into());
        };
        if body.len() + piece.len() > bytes_max {
            return Err(Trouble::Broken("a body that is too long".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
}
