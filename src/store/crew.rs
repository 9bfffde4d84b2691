//! Several threads over one list of files, each taking the next when it is done with one.

use std::ops::ControlFlow;

use parking_lot::Mutex;

/// Calls `work` for every item on `threads` threads; one that breaks ends all after what they are at.
pub(super) fn for_each<T>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> ControlFlow<()> + Sync,
) {
    let items = Mutex::new(Some(items));
    let crew = || {
        loop {
            let item = items.lock().as_mut().and_then(Iterator::next);
            let Some(item) = item else { return };
            if work(item).is_break() {
                *items.lock() = None;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(crew);
        }
        crew();
    });
}
