//! What a core's connections share: the service, its counters, its open blobs, the date.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Service;
use super::grants::Grants;
use super::open_blobs::OpenBlobs;
use crate::access_log::Pen;
use crate::limits::{GRANTS_PER_CORE_MAX, REFUSALS_LOGGED_A_SECOND};
use crate::metrics::Counters;
use crate::rt::Core;

/// One core's share of the service. Belongs to that core's thread alone.
pub(super) struct Context {
    pub(super) service: Arc<Service>,
    pub(super) counters: Arc<Counters>,
    pub(super) open_blobs: RefCell<OpenBlobs>,
    pub(super) grants: RefCell<Grants>,
    /// `None` without an access log.
    pub(super) log: Option<RefCell<Pen>>,
    /// Second, and lines that were logged in it.
    logged: Cell<(u64, u32)>,
    clock: Clock,
}

impl Context {
    pub(super) fn new(service: Arc<Service>, core: &Core) -> Self {
        let counters = service.metrics.core(core.index);
        let log = service.access_log.as_ref();
        Self {
            log: log
                .and_then(|log| log.pen(core.index, Arc::clone(&counters)))
                .map(RefCell::new),
            counters,
            open_blobs: RefCell::new(OpenBlobs::new(service.open_files_per_core)),
            grants: RefCell::new(Grants::new(GRANTS_PER_CORE_MAX)),
            logged: Cell::default(),
            clock: Clock::default(),
            service,
        }
    }

    /// Returns the time in seconds since the epoch, and as an IMF-fixdate (RFC 9110 §5.6.7).
    pub(super) fn now(&self) -> (u64, Rc<str>) {
        self.clock.now()
    }

    /// Returns what lines of the access log are written with, if they are wanted.
    pub(super) fn wanted_log(&self) -> Option<&RefCell<Pen>> {
        self.log.as_ref().filter(|log| log.borrow().is_on())
    }

    /// Hands over what the access log has of this core.
    pub(super) fn flush_log(&self) {
        if let Some(log) = &self.log {
            log.borrow_mut().flush();
        }
    }

    /// Says whether one more line may be logged that any client can cause; takes note that it was.
    pub(super) fn may_log(&self) -> bool {
        let (now, _) = self.now();
        let lines = match self.logged.get() {
            (second, lines) if second == now => lines,
            _ => 0,
        };
        self.logged.set((now, lines.saturating_add(1)));
        lines < REFUSALS_LOGGED_A_SECOND
    }
}

/// The date, written once a second.
struct Clock {
    seconds: Cell<u64>,
    date: RefCell<Rc<str>>,
}

impl Default for Clock {
    fn default() -> Self {
        // No second has been written yet, not even the first one.
        Self {
            seconds: Cell::new(u64::MAX),
            date: RefCell::new("".into()),
        }
    }
}

impl Clock {
    fn now(&self) -> (u64, Rc<str>) {
        let now = SystemTime::now().max(UNIX_EPOCH);
        let seconds = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.seconds.replace(seconds) != seconds {
            *self.date.borrow_mut() = httpdate::fmt_http_date(now).into();
        }
        (seconds, Rc::clone(&self.date.borrow()))
    }
}
