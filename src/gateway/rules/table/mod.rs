//! The table of what is to be done and was done, which several gateways may share.
//!
//! Invariants
//! - One image goes to one target by one run at a time: an older attempt cannot put its tag after a newer one.
//! - Whoever writes to a row that runs still holds it.
//! - No secret is in it: whose login counts is looked up in the configuration at each attempt.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::gateway::state::Pool;

use super::backoff;

/// How long a run is somebody's without a sign of life, in seconds.
pub(super) const LEASE: u64 = 30;

/// Longer than anything is put off.
const FAR: u64 = 2 * backoff::LONGEST;

/// How many of those that have ended are kept, and how long.
const KEPT: i64 = 1000;
const KEPT_SECONDS: u64 = 30 * 24 * 3600;

/// No younger one is swept, so that a time of a schedule is not begun twice by gateways whose clocks differ.
const SWEPT_SECONDS: u64 = 3600;

const COLUMNS: &str =
    "id, kind, repository, reference, target, state, attempts, message, created, updated, holder";

/// That nothing else runs for the image and the target of row `r`.
const ALONE: &str = "NOT EXISTS (SELECT 1 FROM rule_runs o WHERE o.kind = r.kind AND o.repository = r.repository \
     AND o.reference = r.reference AND o.target = r.target AND o.state = 'running' AND o.id <> r.id)";

/// That row `r` is due at `$1`. What is due later than any attempt is put off was noted by a clock that went wrong.
const DUE: &str = "(r.due <= $1 OR r.due > $2)";

/// That the target of row `r` has seats left: a slow one does not hold up the others.
const SEATED: &str = "(r.kind, r.target) NOT IN (SELECT o.kind, o.target FROM rule_runs o \
     WHERE o.state = 'running' AND o.due > $1 GROUP BY o.kind, o.target HAVING COUNT(*) >= $3)";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) kind: Kind,
    pub(super) repository: String,
    pub(super) reference: String,
    pub(super) target: String,
}

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Warm,
    Mirror,
    Schedule,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Mirror => "mirror",
            Self::Schedule => "schedule",
        }
    }
}

/// What is worked off with the same seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Copies: each has blobs on the way.
    Copies,
    /// Questions to caches and to the backend, which mostly wait.
    Questions,
}

impl Lane {
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Mirror => Self::Copies,
            Kind::Warm | Kind::Schedule => Self::Questions,
        }
    }

    /// How many runs one target has at a time, of all gateways together: fewer than a gateway has seats.
    const fn of_a_target(self) -> i64 {
        match self {
            Self::Copies => 3,
            Self::Questions => 8,
        }
    }

    const fn condition(self) -> &'static str {
        match self {
            Self::Copies => "r.kind = 'mirror'",
            Self::Questions => "r.kind <> 'mirror'",
        }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl Phase {
    pub(super) const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == text)
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) task: Task,
    pub(super) phase: Phase,
    pub(super) attempts: u64,
    pub(super) message: String,
    /// Seconds since the epoch.
    pub(super) created: u64,
    pub(super) updated: u64,
    /// Whose it is while it runs.
    pub(super) holder: String,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed,
    Cancelled,
    /// Again, at this time.
    Again(u64),
}

/// The table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a>(pub(super) &'a Pool);

impl Table<'_> {
    /// Notes a task as due `now`; what waits for the same already is made due, with its attempts before it again.
    pub(super) async fn add(self, task: &Task, now: u64) -> sqlx::Result<()> {
        let sql = "INSERT INTO rule_runs (id, kind, repository, reference, target, state, created, updated, due) \
             VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6, $6) \
             ON CONFLICT (kind, repository, reference, target) WHERE state = 'waiting' \
             DO UPDATE SET attempts = 0, updated = excluded.updated, due = excluded.due";
        let id = random_id();
        self.insert(sql, &id, task, now).await
    }

    /// Notes a task under an id that tells it from all others, once.
    pub(super) async fn add_once(self, id: &str, task: &Task, now: u64) -> sqlx::Result<()> {
        let sql = "INSERT INTO rule_runs (id, kind, repository, reference, target, state, created, updated, due) \
             VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6, $6) ON CONFLICT DO NOTHING";
        self.insert(sql, id, task, now).await
    }

    async fn insert(self, sql: &'static str, id: &str, task: &Task, now: u64) -> sqlx::Result<()> {
        let query = sqlx::query(sql)
            .bind(id)
            .bind(task.kind.name())
            .bind(&task.repository)
            .bind(&task.reference)
            .bind(&task.target)
            .bind(signed(now));
        query.execute(self.0).await.map(|_| ())
    }

    /// Takes up to `most` runs that are due, or whose holder has shown no life.
    pub(super) async fn claim(self, lane: Lane, most: usize, now: u64) -> sqlx::Result<Vec<Run>> {
        let sql = format!(
            "SELECT r.id FROM rule_runs r WHERE r.state IN ('waiting', 'running') AND {DUE} AND {} AND {SEATED} \
             AND {ALONE} ORDER BY r.due, r.id LIMIT $4",
            lane.condition()
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(signed(now))
            .bind(signed(now + FAR))
            .bind(lane.of_a_target());
        let rows = query.bind(most).fetch_all(self.0).await?;
        let mut runs = Vec::new();
        for row in rows {
            let id: String = row.try_get("id")?;
            runs.extend(self.claim_one(&id, lane, now).await?);
        }
        Ok(runs)
    }

    /// Takes one, if it is still to be had: another gateway may have been faster, or its target has no seat left.
    async fn claim_one(self, id: &str, lane: Lane, now: u64) -> sqlx::Result<Option<Run>> {
        let sql = format!(
            "UPDATE rule_runs AS r SET state = 'running', holder = $4, attempts = attempts + 1, due = $5, \
             updated = $1 WHERE r.id = $6 AND {DUE} AND r.state IN ('waiting', 'running') AND {SEATED} AND {ALONE} \
             RETURNING {COLUMNS}"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(signed(now))
            .bind(signed(now + FAR))
            .bind(lane.of_a_target())
            .bind(random_id())
            .bind(signed(now + LEASE))
            .bind(id);
        let row = query.fetch_optional(self.0).await?;
        row.as_ref().map(read).transpose()
    }

    /// Shows life, and how far it is; says whether the run is still held.
    pub(super) async fn renew(self, run: &Run, message: &str, now: u64) -> sqlx::Result<bool> {
        let sql = "UPDATE rule_runs SET due = $1, updated = $2, message = $3 \
             WHERE id = $4 AND holder = $5 AND state = 'running'";
        let query = sqlx::query(sql)
            .bind(signed(now + LEASE))
            .bind(signed(now))
            .bind(message)
            .bind(&run.id)
            .bind(&run.holder);
        Ok(query.execute(self.0).await?.rows_affected() > 0)
    }

    /// Ends an attempt, if the run is still held. What was asked for anew meanwhile does not wait twice.
    pub(super) async fn end(
        self,
        run: &Run,
        end: End,
        message: &str,
        now: u64,
    ) -> sqlx::Result<()> {
        let (phase, due) = match end {
            End::Done => (Phase::Done, now),
            End::Failed => (Phase::Failed, now),
            End::Cancelled => (Phase::Cancelled, now),
            End::Again(at) => (Phase::Waiting, at),
        };
        let sql = "UPDATE rule_runs SET state = CASE WHEN $1 = 'waiting' AND EXISTS (SELECT 1 FROM rule_runs o \
             WHERE o.kind = $2 AND o.repository = $3 AND o.reference = $4 AND o.target = $5 \
             AND o.state = 'waiting') THEN 'cancelled' ELSE $1 END, \
             message = $6, updated = $7, due = $8, holder = '' \
             WHERE id = $9 AND holder = $10 AND state = 'running'";
        let query = sqlx::query(sql)
            .bind(phase.name())
            .bind(run.task.kind.name())
            .bind(&run.task.repository)
            .bind(&run.task.reference)
            .bind(&run.task.target)
            .bind(message)
            .bind(signed(now))
            .bind(signed(due))
            .bind(&run.id)
            .bind(&run.holder);
        query.execute(self.0).await.map(|_| ())
    }

    /// Returns the newest runs; with `before`, those that come after this one.
    pub(super) async fn list(
        self,
        phase: Option<Phase>,
        before: Option<&Run>,
        most: u32,
    ) -> sqlx::Result<Vec<Run>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rule_runs WHERE ($1 = '' OR state = $1) \
             AND (created < $2 OR (created = $2 AND id < $3)) ORDER BY created DESC, id DESC LIMIT $4"
        );
        let (created, id) = before.map_or((i64::MAX, ""), |run| (signed(run.created), &run.id));
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(phase.map_or("", Phase::name))
            .bind(created)
            .bind(id);
        let rows = query.bind(i64::from(most)).fetch_all(self.0).await?;
        rows.iter().map(read).collect()
    }

    /// Returns one run.
    pub(super) async fn get(self, id: &str) -> sqlx::Result<Option<Run>> {
        let sql = format!("SELECT {COLUMNS} FROM rule_runs WHERE id = $1");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id);
        let row = query.fetch_optional(self.0).await?;
        row.as_ref().map(read).transpose()
    }

    /// Makes a run due `now`, or the one that waits for the same. One that runs is left to run.
    pub(super) async fn retry(self, id: &str, now: u64) -> sqlx::Result<()> {
        let twin = "UPDATE rule_runs SET attempts = 0, due = $1, updated = $1 WHERE state = 'waiting' AND \
             (kind, repository, reference, target) = \
             (SELECT kind, repository, reference, target FROM rule_runs WHERE id = $2)";
        let query = sqlx::query(twin).bind(signed(now)).bind(id);
        if query.execute(self.0).await?.rows_affected() > 0 {
            return Ok(());
        }
        let own = "UPDATE rule_runs SET state = 'waiting', attempts = 0, due = $1, updated = $1 \
             WHERE id = $2 AND state <> 'running'";
        let query = sqlx::query(own).bind(signed(now)).bind(id);
        query.execute(self.0).await.map(|_| ())
    }

    /// Gives up a run that has not ended. Whoever runs it finds out when it shows life.
    pub(super) async fn cancel(self, id: &str, now: u64) -> sqlx::Result<()> {
        let sql = "UPDATE rule_runs SET state = 'cancelled', message = 'cancelled by an admin', updated = $1, \
             holder = '' WHERE id = $2 AND state IN ('waiting', 'running')";
        let query = sqlx::query(sql).bind(signed(now)).bind(id);
        query.execute(self.0).await.map(|_| ())
    }

    /// Deletes what ended long ago, and all but the last of what has ended.
    pub(super) async fn sweep(self, now: u64) -> sqlx::Result<u64> {
        let sql = "DELETE FROM rule_runs WHERE state IN ('done', 'failed', 'cancelled') AND (updated < $1 OR \
             (updated < $2 AND id NOT IN (SELECT id FROM rule_runs \
             WHERE state IN ('done', 'failed', 'cancelled') ORDER BY updated DESC, id DESC LIMIT $3)))";
        let query = sqlx::query(sql)
            .bind(signed(now.saturating_sub(KEPT_SECONDS)))
            .bind(signed(now.saturating_sub(SWEPT_SECONDS)))
            .bind(KEPT);
        Ok(query.execute(self.0).await?.rows_affected())
    }
}

fn read(row: &AnyRow) -> sqlx::Result<Run> {
    let wrong = |what: &str, text: &str| {
        sqlx::Error::Decode(format!("rule_runs.{what} is {text:?}").into())
    };
    let kind: String = row.try_get("kind")?;
    let kinds = [Kind::Warm, Kind::Mirror, Kind::Schedule];
    let kind = kinds.into_iter().find(|one| one.name() == kind);
    let state: String = row.try_get("state")?;
    let number = |name: &str| -> sqlx::Result<u64> {
        let value: i64 = row.try_get(name)?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    Ok(Run {
        id: row.try_get("id")?,
        task: Task {
            kind: kind.ok_or_else(|| wrong("kind", "unknown"))?,
            repository: row.try_get("repository")?,
            reference: row.try_get("reference")?,
            target: row.try_get("target")?,
        },
        phase: Phase::parse(&state).ok_or_else(|| wrong("state", &state))?,
        attempts: number("attempts")?,
        message: row.try_get("message")?,
        created: number("created")?,
        updated: number("updated")?,
        holder: row.try_get("holder")?,
    })
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// 128 random bits, in hexadecimal.
pub(super) fn random_id() -> String {
    format!("{:032x}", u128::from_be_bytes(random()))
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // It cannot fail on Linux once the system has begun; zeros would clash, and the database would say so.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
