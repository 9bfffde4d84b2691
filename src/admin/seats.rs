//! How many connections there are at once, so that who opens many costs neither descriptors nor memory without end.

use std::cell::Cell;

use crate::limits::ADMIN_CONNECTIONS_MAX;

/// Counts the connections that are open.
#[derive(Debug, Default)]
pub(super) struct Seats(Cell<usize>);

/// A connection's place, given up when it goes.
#[derive(Debug)]
pub(super) struct Seat<'s>(&'s Seats);

impl Seats {
    /// Returns a place; `None` if all are taken.
    pub(super) fn take(&self) -> Option<Seat<'_>> {
        let taken = self.0.get();
        (taken < ADMIN_CONNECTIONS_MAX).then(|| {
            self.0.set(taken + 1);
            Seat(self)
        })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_one_that_is_given_up_is_there_again() {
        let seats = Seats::default();
        let mut taken: Vec<_> = std::iter::from_fn(|| seats.take()).collect();
        assert_eq!(taken.len(), ADMIN_CONNECTIONS_MAX);
        taken.pop();
        let again = seats.take();
        assert!(again.is_some() && seats.take().is_none());
    }
}
