//! The tags in memory: values only, no clock.

use std::collections::HashMap;

use super::{Moment, TagKey};
use crate::digest::Digest;
use crate::limits::{TAG_ACCEPTS_MAX, TAG_WRITTEN_AGE_MAX, TAGS_MAX};

/// Part of all tags that goes at once when there are too many: a search for the oldest looks at every one.
const SHARE_DROPPED: usize = 8;

/// Whether the file has to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// It says all that there is.
    #[default]
    Nothing,
    /// Tags are new, or were confirmed some time after what it says.
    Some,
    /// It has tags that must not be found again.
    Deleted,
}

/// What was seen under one `Accept`.
#[derive(Clone, Copy, Debug)]
struct Seen {
    accept: Digest,
    digest: Digest,
    at: Moment,
    /// The time that the file has, in seconds since the epoch.
    written: u64,
}

/// Tags by `repository:tag`, which is one text for one tag: neither part has a colon.
#[derive(Debug, Default)]
pub(super) struct Table {
    tags: HashMap<Box<str>, Vec<Seen>>,
    /// Over all tags.
    count: usize,
    urgency: Urgency,
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn find(&self, key: TagKey<'_>) -> Option<(Digest, Moment)> {
        let seen = self.tags.get(&*name(key.repository, key.tag))?;
        let seen = seen.iter().find(|seen| seen.accept == key.accept)?;
        Some((seen.digest, seen.at))
    }

    /// Takes what the file says.
    pub(super) fn load(&mut self, key: TagKey<'_>, digest: Digest, at: Moment) {
        let urgency = self.urgency;
        self.put(key, digest, at, at.wall);
        self.urgency = urgency;
    }

    pub(super) fn confirm(&mut self, key: TagKey<'_>, digest: Digest, at: Moment) {
        self.put(key, digest, at, 0);
    }

    fn put(&mut self, key: TagKey<'_>, digest: Digest, at: Moment, written: u64) {
        let name = name(key.repository, key.tag);
        if let Some(seen) = self.tags.get_mut(&name)
            && let Some(seen) = seen.iter_mut().find(|seen| seen.accept == key.accept)
        {
            // Answers to questions that crossed: the later one stays.
            if at.steady < seen.at.steady {
                return;
            }
            let is_old = at.wall.abs_diff(seen.written) >= TAG_WRITTEN_AGE_MAX.as_secs();
            if seen.digest != digest || is_old {
                self.urgency = self.urgency.max(Urgency::Some);
            }
            (seen.digest, seen.at) = (digest, at);
            return;
        }
        if self.count >= TAGS_MAX {
            self.drop_oldest(TAGS_MAX / SHARE_DROPPED);
        }
        let all = self.tags.entry(name).or_default();
        if all.len() >= TAG_ACCEPTS_MAX
            && let Some(oldest) = (0..all.len()).min_by_key(|&index| all[index].at.steady)
        {
            all.swap_remove(oldest);
            self.count -= 1;
        }
        all.push(Seen {
            accept: key.accept,
            digest,
            at,
            written,
        });
        self.count += 1;
        self.urgency = self.urgency.max(Urgency::Some);
    }

    pub(super) fn forget(&mut self, repository: &str, tag: &str) {
        if let Some(seen) = self.tags.remove(&name(repository, tag)) {
            self.count -= seen.len();
            self.urgency = Urgency::Deleted;
        }
    }

    pub(super) const fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// Hands out everything, which counts as written from then on.
    pub(super) fn write(&mut self, mut each: impl FnMut(TagKey<'_>, Digest, Moment)) {
        self.urgency = Urgency::Nothing;
        for (name, seen) in &mut self.tags {
            let Some((repository, tag)) = name.split_once(':') else {
                continue;
            };
            for seen in seen {
                let key = TagKey {
                    repository,
                    tag,
                    accept: seen.accept,
                };
                each(key, seen.digest, seen.at);
                seen.written = seen.at.wall;
            }
        }
    }

    /// Has everything written again.
    pub(super) fn doubt(&mut self, urgency: Urgency) {
        self.urgency = self.urgency.max(urgency);
    }

    /// Drops so many of those that were confirmed longest ago.
    fn drop_oldest(&mut self, count: usize) {
        let mut times: Vec<_> = self.tags.values().flatten().map(|s| s.at.steady).collect();
        let Some(index) = count.min(times.len()).checked_sub(1) else {
            return;
        };
        let (earlier, last, _) = times.select_nth_unstable(index);
        let last = *last;
        let mut of_last = 1 + earlier.iter().filter(|at| **at == last).count();
        self.tags.retain(|_, seen| {
            seen.retain(|seen| {
                let goes = seen.at.steady < last || (seen.at.steady == last && of_last > 0);
                of_last -= usize::from(goes && seen.at.steady == last);
                self.count -= usize::from(goes);
                !goes
            });
            !seen.is_empty()
        });
        self.urgency = self.urgency.max(Urgency::Some);
    }
}

fn name(repository: &str, tag: &str) -> Box<str> {
    format!("{repository}:{tag}").into()
}
