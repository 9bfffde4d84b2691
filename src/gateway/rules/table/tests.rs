//! The table, in SQLite. One in PostgreSQL is where two gateways share one.

use sqlx::any::AnyPoolOptions;

use super::*;

async fn pool() -> Pool {
    sqlx::any::install_default_drivers();
    let options = AnyPoolOptions::new().max_connections(1);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    let migrations = sqlx::migrate!("src/gateway/state/migrations");
    migrations.run(&pool).await.unwrap();
    pool.into()
}

fn task(kind: Kind, reference: &str) -> Task {
    Task {
        kind,
        repository: "a/b".to_owned(),
        reference: reference.to_owned(),
        target: "asia".to_owned(),
    }
}

async fn one(table: Table<'_>, now: u64) -> Option<Run> {
    let mut runs = table.claim(Lane::Questions, 1, now).await.unwrap();
    runs.pop()
}

#[tokio::test]
async fn what_is_pushed_again_while_it_waits_is_one_run() {
    let pool = pool().await;
    let table = Table(&pool);
    table.add(&task(Kind::Warm, "1"), 10).await.unwrap();
    table.add(&task(Kind::Warm, "1"), 20).await.unwrap();
    table.add(&task(Kind::Warm, "2"), 30).await.unwrap();
    table.add(&task(Kind::Mirror, "1"), 40).await.unwrap();
    assert_eq!(table.list(None, None, 10).await.unwrap().len(), 3);
    let runs = table.claim(Lane::Questions, 10, 50).await.unwrap();
    let tags: Vec<_> = runs.iter().map(|run| &*run.task.reference).collect();
    assert_eq!(tags, ["1", "2"]);
    let runs = table.claim(Lane::Copies, 10, 50).await.unwrap();
    assert_eq!(runs.len(), 1);
}

#[tokio::test]
async fn a_run_is_held_by_one_until_it_shows_no_life() {
    let pool = pool().await;
    let table = Table(&pool);
    table.add(&task(Kind::Warm, "1"), 10).await.unwrap();
    assert_eq!(one(table, 9).await, None);
    let first = one(table, 10).await.unwrap();
    assert_eq!((first.attempts, first.phase), (1, Phase::Running));
    assert_eq!(one(table, 10 + LEASE - 1).await, None);
    assert!(table.renew(&first, "half", 20).await.unwrap());
    assert_eq!(one(table, 10 + LEASE).await, None);
    let second = one(table, 20 + LEASE).await.unwrap();
    assert_eq!((second.attempts, &*second.message), (2, "half"));
    assert!(!table.renew(&first, "more", 51).await.unwrap());
    table.end(&first, End::Done, "late", 52).await.unwrap();
    let now = table.get(&second.id).await.unwrap().unwrap();
    assert_eq!((now.phase, &*now.message), (Phase::Running, "half"));
    table.end(&second, End::Done, "all", 53).await.unwrap();
    let now = table.get(&second.id).await.unwrap().unwrap();
    assert_eq!((now.phase, &*now.message), (Phase::Done, "all"));
    assert_eq!(one(table, 1000).await, None);
}

#[tokio::test]
async fn an_image_goes_to_a_target_by_one_run_at_a_time() {
    let pool = pool().await;
    let table = Table(&pool);
    table.add(&task(Kind::Warm, "1"), 10).await.unwrap();
    let first = one(table, 10).await.unwrap();
    table.add(&task(Kind::Warm, "1"), 11).await.unwrap();
    assert_eq!(table.list(None, None, 10).await.unwrap().len(), 2);
    assert_eq!(one(table, 12).await, None);
    // The first would be tried again: the second does it.
    table
        .end(&first, End::Again(100), "down", 13)
        .await
        .unwrap();
    let first = table.get(&first.id).await.unwrap().unwrap();
    assert_eq!(first.phase, Phase::Cancelled);
    let second = one(table, 14).await.unwrap();
    assert_ne!(second.id, first.id);
    table
        .end(&second, End::Again(100), "down", 15)
        .await
        .unwrap();
    assert_eq!(one(table, 99).await, None);
    assert_eq!(one(table, 100).await.unwrap().id, second.id);
}

#[tokio::test]
async fn an_admin_retries_and_cancels() {
    let pool = pool().await;
    let table = Table(&pool);
    table.add(&task(Kind::Warm, "1"), 10).await.unwrap();
    let run = one(table, 10).await.unwrap();
    table.end(&run, End::Failed, "no", 11).await.unwrap();
    assert_eq!(one(table, 12).await, None);
    table.retry(&run.id, 13).await.unwrap();
    let again = one(table, 13).await.unwrap();
    assert_eq!((&again.id, again.attempts), (&run.id, 1));
    // One that runs is let be.
    table.retry(&run.id, 14).await.unwrap();
    assert!(table.renew(&again, "", 15).await.unwrap());
    table.cancel(&run.id, 16).await.unwrap();
    assert!(!table.renew(&again, "", 17).await.unwrap());
    assert_eq!(one(table, 1000).await, None);
    // With a newer one that waits, that one is made due.
    table.add(&task(Kind::Warm, "1"), 2000).await.unwrap();
    table.retry(&run.id, 1500).await.unwrap();
    let newer = one(table, 1500).await.unwrap();
    assert_ne!(newer.id, run.id);
    table.retry("no such", 1).await.unwrap();
    table.cancel("no such", 1).await.unwrap();
    let cancelled = table.list(Some(Phase::Cancelled), None, 10).await.unwrap();
    assert_eq!(cancelled.len(), 1);
}

#[tokio::test]
async fn a_time_of_a_schedule_is_begun_once() {
    let pool = pool().await;
    let table = Table(&pool);
    let task = task(Kind::Schedule, "*");
    table.add_once("schedule-x-60", &task, 60).await.unwrap();
    table.add_once("schedule-x-60", &task, 61).await.unwrap();
    let run = one(table, 60).await.unwrap();
    table.end(&run, End::Done, "", 62).await.unwrap();
    table.add_once("schedule-x-60", &task, 63).await.unwrap();
    assert_eq!(one(table, 70).await, None);
    // It outlives the sweep of a busy hour.
    assert_eq!(table.sweep(62 + SWEPT_SECONDS).await.unwrap(), 0);
}

#[tokio::test]
async fn old_ones_are_swept_and_what_is_still_to_be_done_is_not() {
    let pool = pool().await;
    let table = Table(&pool);
    let kept = usize::try_from(KEPT).unwrap();
    for number in 0..kept + 5 {
        let mut task = task(Kind::Warm, "1");
        task.target = number.to_string();
        table.add(&task, 10).await.unwrap();
    }
    for run in table.claim(Lane::Questions, kept + 5, 10).await.unwrap() {
        table.end(&run, End::Done, "", 11).await.unwrap();
    }
    table.add(&task(Kind::Warm, "last"), 10).await.unwrap();
    assert_eq!(table.sweep(12).await.unwrap(), 0);
    assert_eq!(table.sweep(12 + SWEPT_SECONDS).await.unwrap(), 5);
    let swept = table.sweep(12 + KEPT_SECONDS).await.unwrap();
    assert_eq!(swept, u64::try_from(KEPT).unwrap());
    let left = table.list(None, None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn a_slow_target_leaves_seats_to_the_others() {
    let pool = pool().await;
    let table = Table(&pool);
    let seats = usize::try_from(Lane::Questions.of_a_target()).unwrap();
    for number in 0..2 * seats {
        let task = task(Kind::Warm, &number.to_string());
        table.add(&task, 10).await.unwrap();
    }
    let mut other = task(Kind::Warm, "1");
    other.target = "africa".to_owned();
    table.add(&other, 11).await.unwrap();
    let runs = table.claim(Lane::Questions, 2 * seats, 12).await.unwrap();
    assert_eq!(runs.len(), seats);
    let more = table.claim(Lane::Questions, 2 * seats, 12).await.unwrap();
    assert_eq!(more.len(), 1);
    assert_eq!(more[0].task.target, "africa");
    table.end(&runs[0], End::Done, "", 13).await.unwrap();
    assert_eq!(one(table, 13).await.unwrap().task.target, "asia");
    assert_eq!(one(table, 13).await, None);
    // Those of a gateway that has ended take no seat.
    let again = table.claim(Lane::Questions, 2 * seats, 13 + LEASE).await;
    assert_eq!(again.unwrap().len(), seats + 1);
}

#[tokio::test]
async fn what_a_wrong_clock_has_noted_is_done() {
    let pool = pool().await;
    let table = Table(&pool);
    table
        .add(&task(Kind::Warm, "1"), 10 + FAR + 1)
        .await
        .unwrap();
    table.add(&task(Kind::Warm, "2"), 10 + FAR).await.unwrap();
    assert_eq!(one(table, 10).await.unwrap().task.reference, "1");
    assert_eq!(one(table, 10).await, None);
    assert!(FAR > backoff::wait(backoff::ATTEMPTS_MAX - 1, 255).unwrap());
}

#[tokio::test]
async fn runs_are_listed_page_by_page() {
    let pool = pool().await;
    let table = Table(&pool);
    for number in 0..7_u64 {
        let task = task(Kind::Warm, &number.to_string());
        table.add(&task, number / 3).await.unwrap();
    }
    let all = table.list(None, None, 10).await.unwrap();
    let (mut paged, mut last) = (Vec::new(), None);
    loop {
        let page = table.list(None, last.as_ref(), 2).await.unwrap();
        let Some(end) = page.last() else { break };
        last = Some(end.clone());
        paged.extend(page);
    }
    assert_eq!((paged.len(), &paged), (7, &all));
}
