//! Which hop is asked first, and which after it: values only.

use std::cmp::Reverse;

use crate::digest::Digest;

/// How the hops share the work (`transship.upstream.policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each in turn, over those that are up.
    #[default]
    RoundRobin,
    /// The first that is up, in the order of the configuration.
    Failover,
    /// Each digest at a hop of its own while that is up; what has no digest, in turn.
    Rendezvous,
}

/// Returns every hop once, in the order in which a request asks them: those that are open, in the order
/// of the policy, and then the others likewise.
///
/// - `seeds`: what each hop is known by, in their order; see [`seed`].
/// - `turn`: grows by one with each request.
pub(super) fn order(
    policy: Policy,
    seeds: &[u64],
    turn: usize,
    digest: Option<&Digest>,
    is_open: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut hops: Vec<usize> = (0..seeds.len()).collect();
    let in_turn = match (policy, digest) {
        (Policy::Rendezvous, Some(digest)) => {
            // Equal weights are as good as impossible, and the seed's order is everyone's.
            hops.sort_by_cached_key(|&hop| Reverse((weight(seeds[hop], digest), seeds[hop])));
            false
        }
        (Policy::Failover, _) => false,
        (Policy::RoundRobin | Policy::Rendezvous, _) => true,
    };
    let (mut open, mut closed): (Vec<_>, Vec<_>) = hops.into_iter().partition(|&hop| is_open(hop));
    if in_turn {
        for part in [&mut open, &mut closed] {
            let count = part.len().max(1);
            part.rotate_left(turn % count);
        }
    }
    open.append(&mut closed);
    open
}

/// Returns what a hop is known by: the same for everyone who writes its URL alike.
pub(super) fn seed(url: &str) -> u64 {
    mix(fnv(url.as_bytes()))
}

/// Returns the weight of a digest at a hop: the highest one wins (Thaler and Ravishankar, 1998).
///
/// It must be the same in every process and version: a hop that moves its blobs loses them.
fn weight(seed: u64, digest: &Digest) -> u64 {
    mix(seed ^ mix(fnv(digest.text().as_ref())))
}

/// FNV-1a, 64 bits: fixed for ever, unlike the standard library's hasher.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of splitmix64: each bit of the input changes half of those of the result.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Algorithm;

    fn digest(index: u64) -> Digest {
        Digest::of(Algorithm::Sha256, &index.to_le_bytes())
    }

    fn seeds(count: usize) -> Vec<u64> {
        (0..count)
            .map(|index| seed(&format!("http://node-{index}.example:5000/")))
            .collect()
    }

    fn first(seeds: &[u64], index: u64) -> usize {
        order(Policy::Rendezvous, seeds, 0, Some(&digest(index)), |_| true)[0]
    }

    #[test]
    fn turns_pass_over_those_that_are_down_evenly() {
        let seeds = seeds(3);
        let firsts = |is_open: fn(usize) -> bool| -> Vec<usize> {
            (0..6)
                .map(|turn| order(Policy::RoundRobin, &seeds, turn, None, is_open)[0])
                .collect()
        };
        assert_eq!(firsts(|_| true), [0, 1, 2, 0, 1, 2]);
        assert_eq!(firsts(|hop| hop != 1), [0, 2, 0, 2, 0, 2]);
        let all_down = order(Policy::RoundRobin, &seeds, 4, None, |_| false);
        assert_eq!(all_down, [1, 2, 0]);
    }

    #[test]
    fn failover_keeps_the_order_of_the_configuration() {
        let seeds = seeds(4);
        for turn in 0..5 {
            let hops = |is_open: fn(usize) -> bool| {
                order(Policy::Failover, &seeds, turn, Some(&digest(7)), is_open)
            };
            assert_eq!(hops(|_| true), [0, 1, 2, 3]);
            assert_eq!(hops(|hop| hop > 0), [1, 2, 3, 0]);
            assert_eq!(hops(|hop| hop == 2), [2, 0, 1, 3]);
        }
    }

    #[test]
    fn what_has_no_digest_goes_in_turn() {
        let seeds = seeds(3);
        let firsts: Vec<_> = (0..3)
            .map(|turn| order(Policy::Rendezvous, &seeds, turn, None, |_| true)[0])
            .collect();
        assert_eq!(firsts, [0, 1, 2]);
    }

    #[test]
    fn shares_are_even_and_never_change_between_versions() {
        for count in [2, 3, 5, 16] {
            let seeds = seeds(count);
            let mut shares = vec![0_u64; count];
            let total = 2000 * count as u64;
            for index in 0..total {
                shares[first(&seeds, index)] += 1;
            }
            assert!(
                shares.iter().all(|share| (1800..2200).contains(share)),
                "{shares:?}"
            );
        }
        // A change here makes every site fetch everything anew.
        let seeds = seeds(3);
        let firsts: Vec<_> = (0..12).map(|index| first(&seeds, index)).collect();
        assert_eq!(firsts, FIRSTS);
    }

    /// Worked out apart from this code, in another language.
    const FIRSTS: [usize; 12] = [0, 2, 1, 0, 0, 2, 2, 2, 2, 0, 1, 1];

    proptest! {
        /// Losing a hop moves its own share, each to the hop that was second for it, and nothing else;
        /// the order of the configuration does not matter.
        #[test]
        fn losing_a_hop_moves_only_its_share(count in 2_usize..12, lost in 0_usize..12, index: u64) {
            let lost = lost % count;
            let seeds = seeds(count);
            let digest = digest(index);
            let hops = |is_open: &dyn Fn(usize) -> bool| {
                order(Policy::Rendezvous, &seeds, 3, Some(&digest), is_open)
            };
            let before = hops(&|_| true);
            let after = hops(&|hop| hop != lost);
            let survivors: Vec<_> = before.iter().copied().filter(|&hop| hop != lost).collect();
            prop_assert_eq!(&after[..count - 1], &survivors[..]);
            prop_assert_eq!(after[count - 1], lost);
            let mut without = seeds.clone();
            let gone = without.remove(lost);
            prop_assert!(!without.contains(&gone));
            let moved = order(Policy::Rendezvous, &without, 0, Some(&digest), |_| true);
            let named: Vec<_> = moved.iter().map(|&hop| without[hop]).collect();
            let expected: Vec<_> = survivors.iter().map(|&hop| seeds[hop]).collect();
            prop_assert_eq!(named, expected);
        }

        #[test]
        fn every_hop_is_in_the_order_once(
            count in 1_usize..12, turn: usize, index: u64, open: u16, policy in 0_usize..3, has_digest: bool,
        ) {
            let policy = [Policy::RoundRobin, Policy::Failover, Policy::Rendezvous][policy];
            let digest = has_digest.then(|| digest(index));
            let is_open = |hop: usize| open >> hop & 1 == 1;
            let mut found = order(policy, &seeds(count), turn, digest.as_ref(), is_open);
            let opens = found.iter().take_while(|&&hop| is_open(hop)).count();
            prop_assert!(found[opens..].iter().all(|&hop| !is_open(hop)));
            found.sort_unstable();
            prop_assert_eq!(found, (0..count).collect::<Vec<_>>());
        }
    }
}
