//! When each check is due, and which of them fail. Without I/O and clock.

use std::time::Instant;

use super::{Check, Options};

/// All checks, and what is known of each.
#[derive(Debug)]
pub(super) struct Tally {
    known: Vec<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    check: Check,
    due: Instant,
    /// How often in a row it has failed.
    failures: u32,
    /// Why it fails, once that is as often as it takes.
    why: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Next {
    /// There is nothing to check.
    Nothing,
    /// Nothing is due before then.
    At(Instant),
    /// This one is due; what comes of it goes to [`Tally::note`] under the number.
    Check(usize, Check),
}

/// What has changed with a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It fails, for this reason.
    Fails(String, String),
    /// It fails no more.
    IsWell(String),
}

impl Tally {
    /// Each check is first due when its interval has passed.
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        let known = options.checks.iter().map(|check| Known::new(check, now));
        Self {
            known: known.collect(),
        }
    }

    /// Makes the checks of `options` from now on; says whether they are others than before.
    pub(super) fn take_up(&mut self, options: &Options, now: Instant) -> bool {
        let checks = || self.known.iter().map(|known| &known.check);
        if checks().eq(&options.checks) {
            return false;
        }
        let find = |check: &Check| self.known.iter().find(|known| known.check == *check);
        let kept = |check: &Check| {
            find(check)
                .cloned()
                .unwrap_or_else(|| Known::new(check, now))
        };
        self.known = options.checks.iter().map(kept).collect();
        true
    }

    pub(super) fn next(&self, now: Instant) -> Next {
        let all = self.known.iter().enumerate();
        match all.min_by_key(|(_, known)| known.due) {
            None => Next::Nothing,
            Some((_, known)) if known.due > now => Next::At(known.due),
            Some((index, known)) => Next::Check(index, known.check.clone()),
        }
    }

    /// Takes note of what came of a check, which is due again when its interval has passed.
    pub(super) fn note(
        &mut self,
        index: usize,
        outcome: Result<(), String>,
        now: Instant,
    ) -> Option<Change> {
        let known = self.known.get_mut(index)?;
        known.due = now + known.check.interval;
        match outcome {
            Ok(()) => {
                known.failures = 0;
                let name = known.check.target.name();
                known.why.take().map(|_| Change::IsWell(name))
            }
            Err(why) => {
                known.failures = known.failures.saturating_add(1);
                if known.failures < known.check.threshold {
                    return None;
                }
                let is_new = known.why.is_none();
                known.why = Some(why.clone());
                is_new.then(|| Change::Fails(known.check.target.name(), why))
            }
        }
    }

    /// Returns the names of those that fail, each with the reason.
    pub(super) fn failing(&self) -> Vec<(String, String)> {
        let failing = |known: &Known| Some((known.check.target.name(), known.why.clone()?));
        self.known.iter().filter_map(failing).collect()
    }
}

impl Known {
    fn new(check: &Check, now: Instant) -> Self {
        Self {
            check: check.clone(),
            due: now + check.interval,
            failures: 0,
            why: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Target;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check(name: &str, seconds: u32, threshold: u32) -> Check {
        Check {
            target: Target::Tcp(name.to_owned()),
            interval: SECOND * seconds,
            timeout: SECOND,
            threshold,
        }
    }

    fn fails() -> Result<(), String> {
        Err("no".to_owned())
    }

    #[test]
    fn a_check_fails_after_as_many_failures_in_a_row_as_its_threshold() {
        let now = Instant::now();
        let checks = vec![check("a", 1, 3)];
        let mut tally = Tally::new(&Options { checks }, now);
        let mut note = |outcome| tally.note(0, outcome, now);
        assert_eq!(note(fails()), None);
        assert_eq!(note(fails()), None);
        assert_eq!(note(Ok(())), None, "they begin anew");
        assert_eq!(note(fails()), None);
        assert_eq!(note(fails()), None);
        let told = Change::Fails("a".to_owned(), "no".to_owned());
        assert_eq!(note(fails()), Some(told));
        assert_eq!(note(fails()), None, "it is told once");
        assert_eq!(tally.failing(), [("a".to_owned(), "no".to_owned())]);
        let told = Change::IsWell("a".to_owned());
        assert_eq!(tally.note(0, Ok(()), now), Some(told));
        assert!(tally.failing().is_empty());
    }

    #[test]
    fn each_is_made_when_its_interval_has_passed() {
        let now = Instant::now();
        let checks = vec![check("a", 5, 0), check("b", 2, 0)];
        let mut tally = Tally::new(&Options { checks }, now);
        assert!(matches!(tally.next(now), Next::At(due) if due == now + 2 * SECOND));
        let later = now + 3 * SECOND;
        assert!(matches!(tally.next(later), Next::Check(1, _)));
        assert!(
            tally.note(1, fails(), later).is_some(),
            "0 is the first failure"
        );
        assert!(matches!(tally.next(later), Next::At(due) if due == now + 5 * SECOND));
        let nothing = Tally::new(&Options::default(), now);
        assert!(matches!(nothing.next(now), Next::Nothing));
    }

    #[test]
    fn a_reload_keeps_what_stays_and_forgets_what_goes() {
        let now = Instant::now();
        let options = |checks: &[Check]| Options {
            checks: checks.to_vec(),
        };
        let (a, b) = (check("a", 1, 1), check("b", 1, 1));
        let mut tally = Tally::new(&options(&[a.clone(), b.clone()]), now);
        tally.note(0, fails(), now);
        tally.note(1, fails(), now);
        assert!(!tally.take_up(&options(&[a.clone(), b.clone()]), now));
        assert!(tally.take_up(&options(&[b]), now));
        assert_eq!(tally.failing(), [("b".to_owned(), "no".to_owned())]);
        assert!(tally.take_up(&options(&[a]), now));
        assert!(tally.failing().is_empty(), "it starts as well");
    }
}
