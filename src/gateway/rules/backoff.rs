//! How long to wait until the next attempt. Values only.

/// The first wait, in seconds.
const FIRST: u64 = 5;

/// The longest wait, in seconds, before a quarter more.
pub(super) const LONGEST: u64 = 2 * 3600;

/// How often something is tried: with the waits above, about a day.
pub(super) const ATTEMPTS_MAX: u64 = 21;

/// Returns how many seconds to wait after this many attempts; `None` when that was the last one.
///
/// - `random`: 0 to 255, for a quarter more at most, so that what failed together does not come back together.
pub(super) fn wait(attempts: u64, random: u8) -> Option<u64> {
    if attempts >= ATTEMPTS_MAX {
        return None;
    }
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 2_u64.checked_pow(doublings).unwrap_or(u64::MAX);
    let wait = FIRST.saturating_mul(factor).min(LONGEST);
    Some(wait + wait * u64::from(random) / 4 / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_end_after_a_day() {
        assert_eq!(wait(1, 0), Some(5));
        assert_eq!(wait(2, 0), Some(10));
        assert_eq!(wait(2, 255), Some(12));
        assert_eq!(wait(20, 0), Some(LONGEST));
        assert_eq!(wait(20, 255), Some(LONGEST + LONGEST / 4));
        assert_eq!(wait(ATTEMPTS_MAX, 0), None);
        assert_eq!(wait(u64::MAX, 0), None);
        let all: u64 = (1..ATTEMPTS_MAX).filter_map(|n| wait(n, 0)).sum();
        assert!((20 * 3600..28 * 3600).contains(&all), "{all}");
    }
}
