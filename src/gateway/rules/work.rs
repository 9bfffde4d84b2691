//! Works off what is due: takes runs, shows life while they last, and says what came of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backoff;
use super::matching;
use super::mirror::Copy;
use super::progress::Progress;
use super::remote::Remote;
use super::table::{self, End, Kind, LEASE, Lane, Run, Table};
use super::trouble::Trouble;
use super::{schedule, warm};
use crate::gateway::app::{App, now};

/// How often the table is looked at besides when something was noted here: other gateways note too.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often a run shows life.
const RENEW_EVERY: Duration = Duration::from_secs(LEASE / 3);

/// How often old runs are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Copies, and questions, at once.
const COPIES: usize = 4;
const QUESTIONS: usize = 16;

impl Lane {
    const fn seats(self) -> usize {
        match self {
            Self::Copies => COPIES,
            Self::Questions => QUESTIONS,
        }
    }
}

/// Works off a lane. Never returns.
pub(super) async fn run(app: App, lane: Lane) {
    let seats = Arc::new(Semaphore::new(lane.seats()));
    loop {
        take(&app, lane, &seats).await;
        tokio::select! {
            () = app.rules.noted(lane) => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Takes as many runs as there are seats.
async fn take(app: &App, lane: Lane, seats: &Arc<Semaphore>) {
    let mut free = Vec::new();
    while let Ok(seat) = Arc::clone(seats).try_acquire_owned() {
        free.push(seat);
    }
    if free.is_empty() {
        return;
    }
    match Table(&app.state.pool).claim(lane, free.len(), now()).await {
        Ok(runs) => {
            for (run, seat) in runs.into_iter().zip(free) {
                tokio::spawn(one(app.clone(), run, seat));
            }
        }
        Err(error) => tracing::error!(%error, "rules: the database does not answer"),
    }
}

/// Does one run.
async fn one(app: App, run: Run, seat: OwnedSemaphorePermit) {
    let progress = Arc::new(Progress::default());
    let outcome = tokio::select! {
        outcome = attempt(&app, &run, &progress) => outcome,
        () = lost(&app, &run, &progress) => {
            tracing::info!(id = %run.id, "a run was cancelled, or another gateway has it");
            return;
        }
    };
    let (end, message) = verdict(&run, outcome, now(), table::random::<1>()[0]);
    tell(&run, end, &message);
    // What cannot be noted is done once more when the lease is over.
    let noted = Table(&app.state.pool).end(&run, end, &message, now());
    if let Err(error) = noted.await {
        tracing::error!(%error, id = %run.id, "rules: the end of a run is not noted");
    }
    drop(seat);
    app.rules.wake(run.task.kind);
}

/// Tries a run.
async fn attempt(app: &App, run: &Run, progress: &Arc<Progress>) -> Result<String, Trouble> {
    if run.attempts > backoff::ATTEMPTS_MAX {
        let text = "the gateway has ended in the middle of it again and again";
        return Err(Trouble::lasting(text));
    }
    match run.task.kind {
        Kind::Warm => warm::image(app, &run.task).await,
        Kind::Schedule => schedule::expand(app, &run.id).await,
        Kind::Mirror => copy(app, run, progress).await,
    }
}

async fn copy(app: &App, run: &Run, progress: &Arc<Progress>) -> Result<String, Trouble> {
    let task = &run.task;
    let rules = app.rules.mirror_rules();
    let rule = matching::mirror(rules, &task.repository, &task.reference, &task.target);
    let rule = rule.ok_or_else(|| Trouble::Moot("no rule asks for it any more".to_owned()))?;
    let target = Remote::new(
        &task.target,
        &rule.to,
        rule.login.clone(),
        app.client.clone(),
    );
    let copy = Copy {
        source: app.rules.backend(app),
        from: task.repository.clone(),
        to: target.repository(&task.repository),
        target,
        uploads: app.rules.uploads(),
        places: app.rules.places(),
        progress: Arc::clone(progress),
    };
    let is_held = async {
        let message = progress.to_string();
        let renewed = Table(&app.state.pool).renew(run, &message, now());
        renewed.await.unwrap_or(false)
    };
    let digest = copy.image(&task.reference, is_held).await;
    let digest = digest.map_err(|trouble| trouble.with(&progress.to_string()))?;
    Ok(format!("{digest}: {progress}"))
}

/// Shows life. Returns when the run is no longer ours.
async fn lost(app: &App, run: &Run, progress: &Progress) {
    let mut renewed = now();
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let message = match run.task.kind {
            Kind::Mirror => progress.to_string(),
            Kind::Warm | Kind::Schedule => run.message.clone(),
        };
        match Table(&app.state.pool).renew(run, &message, now()).await {
            Ok(true) => renewed = now(),
            Ok(false) => return,
            Err(_) if now() >= renewed + LEASE => return,
            Err(error) => tracing::error!(%error, "rules: the database does not answer"),
        }
    }
}

/// Says how an attempt ends.
fn verdict(run: &Run, outcome: Result<String, Trouble>, now: u64, random: u8) -> (End, String) {
    match outcome {
        Ok(message) => (End::Done, message),
        Err(Trouble::Moot(message)) => (End::Cancelled, message),
        Err(Trouble::Lasting(message)) => (End::Failed, message),
        Err(Trouble::Passing(message)) => match backoff::wait(run.attempts, random) {
            Some(wait) => (End::Again(now + wait), message),
            None => (End::Failed, format!("given up: {message}")),
        },
    }
}

fn tell(run: &Run, end: End, message: &str) {
    let (kind, task) = (run.task.kind.name(), &run.task);
    let (repository, reference, target) = (&task.repository, &task.reference, &task.target);
    match end {
        End::Done | End::Cancelled => {
            tracing::info!(kind, repository, reference, target, outcome = ?end, message, "rule");
        }
        End::Again(_) | End::Failed => {
            tracing::warn!(kind, repository, reference, target, outcome = ?end, message, "rule");
        }
    }
}

/// Sweeps old runs. Never returns.
pub(super) async fn sweep(app: App) {
    loop {
        if let Err(error) = Table(&app.state.pool).sweep(now()).await {
            tracing::error!(%error, "rules: old runs are not swept");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Phase, Task};
    use super::*;

    #[test]
    fn what_passes_is_tried_again_until_it_is_given_up() {
        let run = |attempts| Run {
            id: String::new(),
            task: Task {
                kind: Kind::Warm,
                repository: String::new(),
                reference: String::new(),
                target: String::new(),
            },
            phase: Phase::Running,
            attempts,
            message: String::new(),
            created: 0,
            updated: 0,
            holder: String::new(),
        };
        let end = |attempts, outcome| verdict(&run(attempts), outcome, 100, 0);
        let text = || "x".to_owned();
        assert_eq!(end(1, Ok(text())), (End::Done, text()));
        assert_eq!(
            end(1, Err(Trouble::Passing(text()))),
            (End::Again(105), text())
        );
        assert_eq!(end(1, Err(Trouble::Lasting(text()))), (End::Failed, text()));
        assert_eq!(end(1, Err(Trouble::Moot(text()))), (End::Cancelled, text()));
        let last = end(backoff::ATTEMPTS_MAX, Err(Trouble::Passing(text())));
        assert_eq!(last, (End::Failed, "given up: x".to_owned()));
    }
}
