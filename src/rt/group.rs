//! Several operations of one task under way at once, each told when it ends.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Operations that run while [`Group::next`] is awaited. Dropping the group drops what has not ended.
///
/// Each wake-up polls all of them: meant for a handful.
pub struct Group<'f, T> {
    members: Vec<Pin<Box<dyn Future<Output = T> + 'f>>>,
}

impl<'f, T> Group<'f, T> {
    /// Returns an empty group.
    #[must_use]
    pub fn new() -> Self {
        let members = Vec::new();
        Self { members }
    }

    /// Adds an operation, which begins when the group is awaited next.
    pub fn add(&mut self, operation: impl Future<Output = T> + 'f) {
        self.members.push(Box::pin(operation));
    }

    /// Returns how many have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Says whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Drops all that have not ended.
    pub fn clear(&mut self) {
        self.members.clear();
    }

    /// Waits for one to end, and returns what it returned. Of an empty group it never returns.
    ///
    /// Dropping this loses nothing.
    pub async fn next(&mut self) -> T {
        poll_fn(|context| {
            for index in 0..self.members.len() {
                if let Poll::Ready(outcome) = self.members[index].as_mut().poll(context) {
                    drop(self.members.swap_remove(index));
                    return Poll::Ready(outcome);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<T> Default for Group<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Group<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({})", self.members.len())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::rt::Notify;

    fn poll<T>(operation: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match operation.poll(&mut context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    #[test]
    fn each_is_told_once_and_what_ends_late_does_not_hold_up_the_rest() {
        let (notify, open) = (Notify::default(), Cell::new(0));
        let wait = |number: u32| {
            let (notify, open) = (&notify, &open);
            async move {
                let is_open = || (open.get() == number).then_some(());
                notify.wait(is_open).await;
                number
            }
        };
        let mut group = Group::new();
        (1..=3).for_each(|number| group.add(wait(number)));
        assert_eq!(poll(std::pin::pin!(group.next())), None);
        for number in [2, 3, 1] {
            open.set(number);
            assert_eq!(poll(std::pin::pin!(group.next())), Some(number));
        }
        assert!(group.is_empty());
        assert_eq!(poll(std::pin::pin!(group.next())), None);
    }
}
