//! What is counted of client connections.

use super::table::{CONNECTIONS, CONNECTIONS_ACCEPTED, CONNECTIONS_REFUSED};
use super::{Cell, ConnectionRefusal, Counters, Metrics, Sample};

/// One core's numbers.
#[derive(Debug, Default)]
pub(super) struct ConnectionCounters {
    refused: [Cell; ConnectionRefusal::ALL.len()],
}

impl Counters {
    /// Counts a connection that was closed at once.
    pub fn count_refused_connection(&self, reason: ConnectionRefusal) {
        self.connection.refused[reason as usize].add(1);
    }
}

impl Metrics {
    /// Every reason is shown from the start, so that an alert can be written before the first event.
    pub(super) fn connection_samples(&self) -> Vec<Sample> {
        let mut samples = vec![
            CONNECTIONS.alone(self.sum(|core| &core.connections)),
            CONNECTIONS_ACCEPTED.alone(self.sum(|core| &core.connections_accepted)),
        ];
        samples.extend(ConnectionRefusal::ALL.into_iter().map(|reason| {
            let value = self.sum(|core| &core.connection.refused[reason as usize]);
            CONNECTIONS_REFUSED.sample([reason.label()], value)
        }));
        samples
    }
}
