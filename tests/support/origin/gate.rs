//! A place in a response where the origin waits for the test.

use std::sync::{Arc, Condvar, Mutex};

use crate::support::PATIENCE;

/// Shared by the plan that waits at it and the test that opens it.
#[derive(Clone, Default)]
pub struct Gate {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    waiting: bool,
    open: bool,
}

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the origin stands here: all before this place has been sent.
    pub fn reached(&self) {
        let (state, changed) = &*self.shared;
        let state = state.lock().unwrap();
        let (_state, timeout) = changed
            .wait_timeout_while(state, PATIENCE, |state| !state.waiting)
            .unwrap();
        assert!(!timeout.timed_out(), "the origin did not reach the gate");
    }

    /// Lets the origin go on.
    pub fn open(&self) {
        let (state, changed) = &*self.shared;
        state.lock().unwrap().open = true;
        changed.notify_all();
    }

    pub(in crate::support) fn wait(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        state.waiting = true;
        changed.notify_all();
        drop(changed.wait_while(state, |state| !state.open).unwrap());
    }
}
