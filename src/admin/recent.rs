//! The last warnings and errors of the process: a ring with bounds on its length and on each text, so that a
//! storm of them costs no memory. What repeats itself counts up in its place and pushes nothing else out.

use std::collections::VecDeque;
use std::time::SystemTime;

use parking_lot::Mutex;

/// Most events that are kept.
const EVENTS_MAX: usize = 100;
/// Longest text of one, in bytes.
const TEXT_BYTES_MAX: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It goes on, and somebody should look.
    Warning,
    /// Something failed.
    Error,
}

impl Severity {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was written last.
    pub at: SystemTime,
    /// How bad it is.
    pub severity: Severity,
    /// What it says, with its fields.
    pub text: String,
    /// How often it was written in a row.
    pub times: u64,
}

/// The last of them.
#[derive(Debug, Default)]
pub struct Recent {
    events: Mutex<VecDeque<Event>>,
}

impl Recent {
    /// Takes note of one.
    pub fn note(&self, mut event: Event) {
        if event.text.len() > TEXT_BYTES_MAX {
            let end = event.text.floor_char_boundary(TEXT_BYTES_MAX);
            event.text.truncate(end);
            event.text.push('…');
        }
        let mut events = self.events.lock();
        if let Some(last) = events.back_mut()
            && (last.severity, &last.text) == (event.severity, &event.text)
        {
            last.times += event.times;
            last.at = event.at;
            return;
        }
        if events.len() >= EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// Returns the last ones, the latest first, at most `most`.
    pub fn list(&self, most: usize) -> Vec<Event> {
        self.events
            .lock()
            .iter()
            .rev()
            .take(most)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event {
            at: SystemTime::UNIX_EPOCH,
            severity: Severity::Warning,
            text: text.to_owned(),
            times: 1,
        }
    }

    #[test]
    fn a_storm_is_bounded_and_what_repeats_counts_up() {
        let recent = Recent::default();
        for _ in 0..1000 {
            recent.note(event("again"));
        }
        assert_eq!(recent.list(9).len(), 1);
        assert_eq!(recent.list(9)[0].times, 1000);
        for n in 0..1000 {
            recent.note(event(&format!("{n}")));
        }
        let kept = recent.list(usize::MAX);
        assert_eq!(kept.len(), EVENTS_MAX);
        assert_eq!((&*kept[0].text, &*kept[99].text), ("999", "900"));
        recent.note(event(&"é".repeat(TEXT_BYTES_MAX)));
        assert!(recent.list(1)[0].text.len() <= TEXT_BYTES_MAX + 3);
    }
}
