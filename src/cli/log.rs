//! The log: lines to standard error, in the forms that the registry has, with the operator's fields in each.
//!
//! The names in a JSON line are those of the registry's own loggers (`time level msg`, and Logstash's
//! `@timestamp @version level message`), so that what reads a registry's log reads this one. Spans are not
//! part of a line; what matters is a field of the event.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use crate::admin::Recent;
use crate::config::{LogFormatter, LogLevel, LogOptions};

/// What changes the log of a running process.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<LevelFilter, Registry>,
    lines: Arc<ArcSwap<Lines>>,
}

/// Sends all further events of the process to standard error, as `options` say. Only the first call of a
/// process has an effect.
///
/// A level that is off costs what it always did: the greatest level of all layers is what each event is held
/// against first, by one load, and it changes with the filter.
///
/// - `recent`: is told of warnings and errors besides, whatever the level.
pub fn init(options: &LogOptions, recent: Arc<Recent>) -> LogHandle {
    let (subscriber, handle) = make(options);
    let subscriber = subscriber.with(super::recent::layer(recent));
    // Fails only where a subscriber is set already, which is then the one that was asked for first.
    let _ = tracing::subscriber::set_global_default(subscriber);
    handle
}

/// Returns what logs as `options` say, and what changes it. Other layers come on top of it.
pub(super) fn make(
    options: &LogOptions,
) -> (
    impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    LogHandle,
) {
    let (filter, handle) = reload::Layer::new(level_filter(options.level));
    let lines = Arc::new(ArcSwap::from_pointee(Lines::new(options)));
    let lines_layer = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .event_format(Swapped(Arc::clone(&lines)));
    let subscriber = tracing_subscriber::registry().with(lines_layer.with_filter(filter));
    let handle = LogHandle {
        filter: handle,
        lines,
    };
    (subscriber, handle)
}

impl LogHandle {
    /// Logs as `options` say from now on.
    pub fn reload(&self, options: &LogOptions) {
        self.set_level(options.level);
        self.lines.store(Arc::new(Lines::new(options)));
    }

    /// Returns the least severe level that is logged.
    pub fn level(&self) -> LogLevel {
        let filter = self.filter.clone_current().unwrap_or(LevelFilter::INFO);
        let all = LogLevel::ALL.into_iter();
        let mut found = all.filter(|level| level_filter(*level) == filter);
        found.next().unwrap_or(LogLevel::Info)
    }

    /// Logs what is as severe as `level` from now on.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only where the subscriber is gone, which lives as long as the process.
        let _ = self.filter.reload(level_filter(level));
    }
}

const fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The form of now.
struct Swapped(Arc<ArcSwap<Lines>>);

impl<S, N> FormatEvent<S, N> for Swapped
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        self.0.load().format_event(context, writer, event)
    }
}

/// Writes one line an event.
#[derive(Debug)]
struct Lines {
    formatter: LogFormatter,
    fields: BTreeMap<String, String>,
    text: Format,
}

impl Lines {
    fn new(options: &LogOptions) -> Self {
        Self {
            formatter: options.formatter,
            fields: options.fields.clone(),
            text: Format::default().with_target(false),
        }
    }

    /// Returns the event as a JSON object: the event's fields win over the operator's, the names of the
    /// form over both.
    fn object(&self, event: &Event<'_>) -> Map<String, Value> {
        let mut object: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        event.record(&mut JsonFields(&mut object));
        let message = object.remove("message").unwrap_or_default();
        let mut time = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let level = level_name(*event.metadata().level());
        let named = match self.formatter {
            LogFormatter::Logstash => json!({
                "@timestamp": time, "@version": "1", "level": level, "message": message,
            }),
            LogFormatter::Json | LogFormatter::Text => json!({
                "time": time, "level": level, "msg": message,
            }),
        };
        if let Value::Object(named) = named {
            object.extend(named);
        }
        object
    }
}

/// Returns the name that the registry's loggers give to a level.
const fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.formatter != LogFormatter::Text {
            let object = Value::Object(self.object(event));
            return writeln!(writer, "{object}");
        }
        if self.fields.is_empty() {
            return self.text.format_event(context, writer, event);
        }
        let mut line = String::new();
        let buffer = Writer::new(&mut line);
        self.text.format_event(context, buffer, event)?;
        writer.write_str(line.trim_end_matches('\n'))?;
        for (name, value) in &self.fields {
            write!(writer, " {name}={value:?}")?;
        }
        writer.write_char('\n')
    }
}

/// Puts an event's fields into a JSON object.
struct JsonFields<'a>(&'a mut Map<String, Value>);

impl JsonFields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(formatter: LogFormatter, fields: &[(&str, &str)]) -> String {
        let buffer = Buffer::default();
        let options = LogOptions {
            level: LogLevel::Info,
            formatter,
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level_filter(options.level))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(Lines::new(&options))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(bytes = 7_u64, name = "a\nb", "a \"message\"");
            tracing::debug!("left out");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_text_line_ends_in_the_operators_fields() {
        let line = logged(
            LogFormatter::Text,
            &[("dc", "east 1"), ("service", "cache")],
        );
        assert!(line.contains(" WARN "), "{line}");
        assert!(
            line.ends_with(" dc=\"east 1\" service=\"cache\"\n"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1, "{line}");
    }

    #[test]
    fn a_json_line_has_the_names_that_the_registrys_has() {
        let line = logged(
            LogFormatter::Json,
            &[("dc", "east"), ("level", "mine"), ("bytes", "mine")],
        );
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "warning");
        assert_eq!(object["msg"], "a \"message\"");
        assert_eq!(object["bytes"], 7);
        assert_eq!(object["name"], "a\nb");
        assert_eq!(object["dc"], "east");
        assert!(object["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_logstash_line_has_the_names_that_logstash_wants() {
        let line = logged(LogFormatter::Logstash, &[]);
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["@version"], "1");
        assert_eq!(object["message"], "a \"message\"");
        assert!(object["@timestamp"].as_str().unwrap().starts_with("20"));
        assert!(object.get("msg").is_none());
    }
}
