//! Values of the configuration that may change while they are read.
//!
//! ```text
//!  reload ── set ─▶ Live<T> ── get ─▶ any core, any thread
//! ```
//!
//! Each is one word, so that a reader on the path of a hit pays for one relaxed load, as for a field. Readers
//! see a new value soon, and two values that belong together at different moments: what must change as one
//! lives behind a lock or an `ArcSwap` instead.

use std::fmt;
use std::marker::PhantomData;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What fits into a word.
pub trait Word: Copy {
    /// Returns the word that stands for it.
    fn to_word(self) -> u64;
    /// Returns what the word stands for.
    fn of_word(word: u64) -> Self;
}

/// A value that a reload may change.
pub struct Live<T> {
    word: AtomicU64,
    of: PhantomData<fn() -> T>,
}

impl<T: Word> Live<T> {
    /// Returns a value that is `value` until it is set.
    pub fn new(value: T) -> Self {
        Self {
            word: AtomicU64::new(value.to_word()),
            of: PhantomData,
        }
    }

    /// Returns the value of now.
    #[inline]
    pub fn get(&self) -> T {
        T::of_word(self.word.load(Ordering::Relaxed))
    }

    /// Changes it.
    pub fn set(&self, value: T) {
        self.word.store(value.to_word(), Ordering::Relaxed);
    }
}

impl<T: Word + fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Word for u64 {
    fn to_word(self) -> u64 {
        self
    }

    fn of_word(word: u64) -> Self {
        word
    }
}

impl Word for bool {
    fn to_word(self) -> u64 {
        self.into()
    }

    fn of_word(word: u64) -> Self {
        word != 0
    }
}

impl Word for usize {
    fn to_word(self) -> u64 {
        u64::try_from(self).unwrap_or(u64::MAX)
    }

    fn of_word(word: u64) -> Self {
        Self::try_from(word).unwrap_or(Self::MAX)
    }
}

impl Word for Option<NonZeroUsize> {
    fn to_word(self) -> u64 {
        self.map_or(0, NonZeroUsize::get).to_word()
    }

    fn of_word(word: u64) -> Self {
        NonZeroUsize::new(usize::of_word(word))
    }
}

impl Word for Option<NonZeroU64> {
    fn to_word(self) -> u64 {
        self.map_or(0, NonZeroU64::get)
    }

    fn of_word(word: u64) -> Self {
        NonZeroU64::new(word)
    }
}

/// In nanoseconds: what is longer than five centuries is five centuries.
impl Word for Duration {
    fn to_word(self) -> u64 {
        u64::try_from(self.as_nanos()).map_or(u64::MAX - 1, |word| word.min(u64::MAX - 1))
    }

    fn of_word(word: u64) -> Self {
        Self::from_nanos(word)
    }
}

impl Word for Option<Duration> {
    fn to_word(self) -> u64 {
        self.map_or(u64::MAX, Word::to_word)
    }

    fn of_word(word: u64) -> Self {
        (word != u64::MAX).then(|| Duration::of_word(word))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same<T: Word + PartialEq + fmt::Debug>(value: T) {
        assert_eq!(T::of_word(value.to_word()), value);
    }

    proptest! {
        #[test]
        fn a_value_comes_out_as_it_went_in(number: u64, nanoseconds in 0..u64::MAX - 1, is: bool) {
            same(number);
            same(is);
            same(usize::of_word(number));
            same(NonZeroU64::new(number));
            same(NonZeroUsize::new(usize::of_word(number)));
            same(Duration::from_nanos(nanoseconds));
            same(Some(Duration::from_nanos(nanoseconds)));
        }
    }

    #[test]
    fn none_and_the_longest_time_are_told_apart() {
        same(None::<Duration>);
        same(None::<NonZeroU64>);
        assert!(Option::<Duration>::of_word(Some(Duration::MAX).to_word()).is_some());
        let live = Live::new(Some(Duration::ZERO));
        live.set(None);
        assert_eq!(live.get(), None);
    }
}
