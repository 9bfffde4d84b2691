//! Which jobs run, wait and have ended. No clock and no task: who asks does what comes of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::job::{Job, Order};
use crate::limits::{WARM_JOBS_QUEUED_MAX, WARM_JOBS_REMEMBERED, WARM_JOBS_RUNNING_MAX};

/// The jobs of this process.
#[derive(Debug, Default)]
pub(super) struct Queue {
    last_id: u64,
    waiting: VecDeque<Arc<Job>>,
    running: Vec<Arc<Job>>,
    ended: VecDeque<Arc<Job>>,
}

impl Queue {
    /// Returns an empty queue whose numbers are those of no process that was begun in another second: whoever
    /// follows a job over a restart is not shown another one.
    ///
    /// - `now`: seconds since the epoch.
    pub(super) fn begun(now: u64) -> Self {
        Self {
            last_id: now << 10,
            ..Self::default()
        }
    }

    /// Adds a job; `None` if too many wait.
    pub(super) fn add(&mut self, order: Order, now: u64) -> Option<Arc<Job>> {
        if self.waiting.len() >= WARM_JOBS_QUEUED_MAX {
            return None;
        }
        self.last_id += 1;
        let job = Arc::new(Job::new(self.last_id, order, now));
        self.waiting.push_back(Arc::clone(&job));
        Some(job)
    }

    /// Returns the job that is to be begun now, if there is one.
    pub(super) fn next(&mut self, now: u64) -> Option<Arc<Job>> {
        if self.running.len() >= WARM_JOBS_RUNNING_MAX {
            return None;
        }
        let job = self.waiting.pop_front()?;
        job.begin(now);
        self.running.push(Arc::clone(&job));
        Some(job)
    }

    /// Takes note that a job has ended.
    pub(super) fn end(&mut self, job: &Arc<Job>) {
        self.running.retain(|other| other.id != job.id);
        self.waiting.retain(|other| other.id != job.id);
        if self.ended.len() >= WARM_JOBS_REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(Arc::clone(job));
    }

    /// Cancels all jobs: those that run end by themselves, the others have. Returns how many there were.
    pub(super) fn stop(&mut self, now: u64) -> usize {
        let waiting: Vec<_> = self.waiting.iter().map(Arc::clone).collect();
        for job in &waiting {
            job.cancel();
            job.end(now);
            self.end(job);
        }
        for job in &self.running {
            job.cancel();
        }
        waiting.len() + self.running.len()
    }

    /// Says whether no job runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Says whether a job has not begun.
    pub(super) fn is_waiting(&self, job: &Job) -> bool {
        self.waiting.iter().any(|other| other.id == job.id)
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Job>> {
        self.all().find(|job| job.id == id).map(Arc::clone)
    }

    /// Returns all jobs: those that run, those that wait, and those that have ended, the last one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Job>> {
        let running = self.running.iter().chain(&self.waiting);
        running.chain(self.ended.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::job::Phase;
    use super::*;
    use crate::metrics::WarmOutcome;
    use crate::upstream::Authority;

    fn order() -> Order {
        Order {
            images: vec!["a".parse().unwrap()],
            platforms: Vec::new(),
            authority: Authority::Cache,
            pin: false,
            patience: Duration::ZERO,
        }
    }

    #[test]
    fn few_jobs_run_some_wait_and_the_last_ones_are_remembered() {
        let mut queue = Queue::default();
        let most = WARM_JOBS_QUEUED_MAX;
        let added: Vec<_> = (0..most).filter_map(|_| queue.add(order(), 1)).collect();
        assert_eq!(added.len(), most);
        assert!(queue.add(order(), 1).is_none(), "too many wait");
        let begun: Vec<_> = std::iter::from_fn(|| queue.next(2)).collect();
        assert_eq!(begun.len(), WARM_JOBS_RUNNING_MAX);
        assert_eq!(begun[0].id, added[0].id, "first come, first served");
        assert!(queue.add(order(), 1).is_some());
        queue.end(&begun[0]);
        assert_eq!(queue.next(2).unwrap().id, added[WARM_JOBS_RUNNING_MAX].id);
        let last = queue.find(added[most - 1].id).unwrap();
        assert!(queue.is_waiting(&last) && !queue.is_waiting(&begun[1]));
        queue.end(&last);
        assert!(!queue.is_waiting(&last), "it never begins");
        for _ in 0..WARM_JOBS_REMEMBERED {
            let job = queue.add(order(), 1).unwrap();
            queue.end(&job);
        }
        assert!(queue.find(begun[0].id).is_none(), "long ago");
    }
    #[test]
    fn a_stop_cancels_those_that_run_and_ends_those_that_wait() {
        let mut queue = Queue::default();
        let added: Vec<_> = (0..WARM_JOBS_RUNNING_MAX + 2)
            .filter_map(|_| queue.add(order(), 1))
            .collect();
        let begun: Vec<_> = std::iter::from_fn(|| queue.next(2)).collect();
        assert_eq!(queue.stop(3), added.len());
        assert!(added.iter().all(|job| job.is_cancelled()));
        assert!(!queue.is_idle(), "those that run end by themselves");
        for job in begun {
            job.end(4);
            queue.end(&job);
        }
        assert!(queue.next(5).is_none(), "nothing waits");
        let cancelled = Phase::Ended(WarmOutcome::Cancelled);
        assert!(queue.is_idle() && queue.all().all(|job| job.phase() == cancelled));
    }
}
