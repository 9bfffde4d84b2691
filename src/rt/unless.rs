//! Waiting for an operation unless something else comes first.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Returns what `operation` returns, or `None` once `stop` is ready; `stop` is asked first.
///
/// The operation is then dropped, so it must be one that loses nothing by that, such as an accept.
pub async fn unless<T>(
    mut stop: Pin<&mut impl Future<Output = ()>>,
    operation: impl Future<Output = T>,
) -> Option<T> {
    let mut operation = pin!(operation);
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        operation.as_mut().poll(context).map(Some)
    })
    .await
}
