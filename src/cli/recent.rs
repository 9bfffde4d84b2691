//! Keeps the last warnings and errors of the process, for those who look at the server and not at its log.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::admin::{self, Recent, Severity};

/// Returns what tells `recent` of each warning and error.
pub(super) fn layer<S>(recent: Arc<Recent>) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Teller(recent).with_filter(LevelFilter::WARN)
}

struct Teller(Arc<Recent>);

impl<S: Subscriber> Layer<S> for Teller {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::ERROR => Severity::Error,
            _ => Severity::Warning,
        };
        let mut words = Words::default();
        event.record(&mut words);
        self.0.note(admin::Event {
            at: SystemTime::now(),
            severity,
            text: words.message + &words.fields,
            times: 1,
        });
    }
}

/// The words of an event: what it says, and its fields as a line of the log has them.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Not `Debug`, whose quotes and escapes are for machines.
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn warnings_and_errors_are_kept_with_their_fields_and_nothing_else() {
        let recent = Arc::new(Recent::default());
        let subscriber = tracing_subscriber::registry().with(layer(Arc::clone(&recent)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("left out");
            tracing::warn!(hop = "a", count = 3, "went {}", "down");
            tracing::error!(error = %fmt::Error, "no more");
        });
        let told: Vec<_> = recent.list(9).into_iter().collect();
        let of = |event: &admin::Event| (event.severity, event.text.clone());
        assert_eq!(
            told.iter().map(of).collect::<Vec<_>>(),
            [
                (Severity::Error, format!("no more error={}", fmt::Error)),
                (Severity::Warning, "went down hop=a count=3".to_owned()),
            ]
        );
    }
}
