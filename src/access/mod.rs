//! Who may have what: the origin's word on each user, signed URLs, the cache's own doors.
//!
//! ```text
//!             ╭ public ───────────────────────────────────────────╮
//!             ├ ?token= ─▶ signature, digest, repository, time ───┤
//! request ───▶┤                                                   ├─▶ Lease: may have it, until then
//!             ╰ door? ─▶ whose right? ─▶ linked, remembered? ─yes─┤
//!                                             no ╰─▶ HEAD at the origin
//! ```
//!
//! It decides, and never touches a byte of a blob. What the origin confirmed is remembered twice: that a
//! repository has a digest, for good, as a link in the store; that somebody may pull from a repository,
//! for `remember`, or for `grace` while the origin gives no answer.
//!
//! Invariants
//! - Without `public`, nothing is permitted that neither the origin nor a key of the origin has confirmed
//!   for this repository, this digest and this credential.
//! - A credential goes to next hops only where the client's own right is what counts; one meant for the
//!   cache's own door of passwords never does.

mod checks;
mod denial;
mod door;
mod greeting;
mod keys;
mod options;
mod permissions;
mod proof;
mod visit;
mod watched;

use std::io;
use std::sync::Arc;
use std::time::Instant;

pub use denial::Denial;
pub use options::{Door, KeySource, Options, Rights};
pub use visit::{Lease, Shown, Visit};

use crate::auth::Secret;
use crate::digest::Digest;
use crate::limits::GRACE_PATIENCE;
use crate::metrics::{CheckOutcome, Counters};
use crate::registry::Name;
use crate::rt;
use crate::store::Store;
use crate::upstream::{Authority, Trail, Upstream};
use checks::{Checks, Question};
use door::Entrance;
use greeting::Greeting;
use keys::Keys;
use options::Times;
use permissions::{Permissions, Salt, Who};
use visit::Claim;

/// What there is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A blob.
    Blob,
    /// A manifest by its digest.
    Manifest,
}

/// Content, under a repository's name.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Blob or manifest.
    pub kind: Kind,
    /// The repository that it is asked for under.
    pub repository: Name<'a>,
    /// Which one.
    pub digest: Digest,
}

/// What a request without a signature is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The base of the API.
    Base,
    /// The list of all repositories.
    Catalog,
    /// Something of this repository.
    Repository(Name<'a>),
}

/// Decides who may have what. One for all cores.
#[derive(Debug)]
pub struct Access {
    options: Options,
    times: Times,
    salt: Salt,
    keys: Keys,
    entrance: Option<Entrance>,
    permissions: Permissions,
    checks: Checks,
    greeting: Greeting,
    store: Arc<Store>,
    upstream: Arc<Upstream>,
}

impl Access {
    /// Reads the files of keys and passwords; asks nobody.
    ///
    /// # Errors
    /// The operator's: a file that is of no use, with its path.
    pub fn new(options: Options, store: Arc<Store>, upstream: Arc<Upstream>) -> io::Result<Self> {
        Ok(Self {
            salt: Salt::new()?,
            keys: Keys::new(&options, &upstream)?,
            entrance: options.door.as_ref().map(Entrance::new).transpose()?,
            permissions: Permissions::new(options.keep()),
            checks: Checks::default(),
            greeting: Greeting::default(),
            times: Times::new(&options),
            options,
            store,
            upstream,
        })
    }

    /// Goes by the times of `options` from now on; what a core was permitted before counts for as long as it was
    /// told then.
    pub fn reload(&self, options: &Options) {
        self.times.set(options);
        self.permissions.set_keep(options.keep());
    }

    /// Says whether everything is public, so that nothing needs to be permitted.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.options.rights == Rights::Public
    }

    /// Says whether clients' own rights are what counts, so that challenges are for them.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        self.options.rights == Rights::Client
    }

    /// Says whether only signed URLs are served.
    #[must_use]
    pub const fn requires_token(&self) -> bool {
        self.options.require_token
    }

    /// Says whether a request's `Authorization` means anything here.
    #[must_use]
    pub fn heeds_authorization(&self) -> bool {
        self.is_clients() || self.entrance.is_some()
    }

    /// Lets a request for `item` in, or not: by its signature, or by the cache's own door.
    ///
    /// - `now`: seconds since the epoch.
    ///
    /// Costs the verification of a signature where there is a token: 40 µs.
    ///
    /// # Errors
    /// Why it stays outside.
    pub async fn admit(
        self: &Arc<Self>,
        shown: Shown<'_>,
        item: Item<'_>,
        now: u64,
    ) -> Result<Visit, Denial> {
        match shown.token {
            Some(token) if self.is_public() => {
                let authority = Authority::Signed(Secret::new(token));
                Ok(Visit::public(authority, shown.trail()))
            }
            Some(token) if item.kind == Kind::Blob => {
                let until = self
                    .check_signature(token, item, now, shown.trail())
                    .await?;
                Ok(Visit::signed(Secret::new(token), until, shown.trail()))
            }
            _ => {
                let wanted = Wanted::Repository(item.repository);
                self.admit_unsigned(shown, wanted, now).await
            }
        }
    }

    /// As [`Access::admit`] for a request that no signed URL is made for.
    ///
    /// # Errors
    /// Why it stays outside.
    pub async fn admit_unsigned(
        self: &Arc<Self>,
        shown: Shown<'_>,
        wanted: Wanted<'_>,
        now: u64,
    ) -> Result<Visit, Denial> {
        if self.requires_token() && matches!(wanted, Wanted::Repository(_)) {
            return Err(Denial::Unsigned);
        }
        if self.is_public() {
            return Ok(Visit::public(Authority::Cache, shown.trail()));
        }
        let credential = shown.authorization.map(text).transpose()?;
        let credential = credential.filter(|value| !value.is_empty());
        let vouched_until = match &self.entrance {
            Some(entrance) => self.enter(entrance, credential, wanted, now).await?,
            None => None,
        };
        let credential = credential.filter(|_| self.is_clients()).map(Secret::new);
        let (who, authority) = match credential {
            Some(credential) => (
                Who::Bearer(self.salt.hash(credential.expose().as_bytes())),
                Authority::Client(credential),
            ),
            None => (Who::Cache, Authority::Cache),
        };
        let claim = Claim::Asking {
            who,
            is_clients: self.is_clients(),
            vouched_until,
        };
        Ok(Visit {
            authority,
            trail: shown.trail(),
            claim,
        })
    }

    /// Returns the visit of whoever `authority` is, on behalf of an operator: no door of the cache's own is in
    /// its way, and the origin's word is remembered as for a client.
    #[must_use]
    pub fn operators_visit(&self, authority: Authority) -> Visit {
        if self.is_public() {
            return Visit::public(authority, Trail::default());
        }
        let (who, is_clients) = match &authority {
            Authority::Login(credentials) => {
                let shown = credentials.basic();
                (Who::Bearer(self.salt.hash(shown.expose().as_bytes())), true)
            }
            _ => (Who::Cache, self.is_clients()),
        };
        Visit {
            authority,
            trail: Trail::default(),
            claim: Claim::Asking {
                who,
                is_clients,
                vouched_until: None,
            },
        }
    }

    /// Says whether `visit` may have `item`, and for how long without being asked again; asks the
    /// origin where its word is not known.
    ///
    /// - `size_bytes`: length of the content where it is known; what is stored is known here.
    /// - `now`: seconds since the epoch.
    ///
    /// # Errors
    /// Why not.
    pub async fn permit(
        self: &Arc<Self>,
        visit: &Visit,
        item: Item<'_>,
        size_bytes: Option<u64>,
        now: u64,
        counters: &Arc<Counters>,
    ) -> Result<Lease, Denial> {
        let Claim::Asking { who, .. } = visit.claim else {
            return Ok(self.lease(visit, now));
        };
        if self.is_remembered(visit, item) {
            return Ok(self.remaining(visit, who, item, now));
        }
        let stored = || {
            self.store
                .lookup(&item.digest)
                .map(|entry| entry.size_bytes)
        };
        let question = Question::new(who, item, size_bytes.or_else(stored), &visit.trail);
        if !self.may_be_graced(who, item) {
            return match self.ask(question, &visit.authority, counters).await {
                Ok(()) => Ok(self.lease(visit, now)),
                Err(denial) => Err(denial),
            };
        }
        // The origin has its say, but nobody waits long for one that is away.
        if !self.checks.is_away() {
            let asked = self.ask(question, &visit.authority, counters);
            match rt::timeout(GRACE_PATIENCE, asked).await {
                Ok(Ok(())) => return Ok(self.lease(visit, now)),
                Ok(Err(denial)) if !denial.is_undecided() => return Err(denial),
                Ok(Err(_)) => {}
                Err(_) => self.checks.note(true),
            }
        }
        counters.count_check(CheckOutcome::Graced);
        // Asked for again with the next request: the origin may be back.
        Ok(Lease { until: now })
    }

    /// Says whether `visit` may have `item` by what the origin said before, where it has just been asked for
    /// something else and gave no answer: nobody waits for it twice.
    pub fn is_permitted_meanwhile(
        &self,
        visit: &Visit,
        item: Item<'_>,
        counters: &Counters,
    ) -> bool {
        let Claim::Asking { who, .. } = visit.claim else {
            return true;
        };
        if self.is_remembered(visit, item) {
            return true;
        }
        let is_graced = self.may_be_graced(who, item);
        if is_graced {
            counters.count_check(CheckOutcome::Graced);
        }
        is_graced
    }

    /// Says whether `visit` may have `item` without the origin being asked.
    fn is_remembered(&self, visit: &Visit, item: Item<'_>) -> bool {
        let Claim::Asking {
            who, vouched_until, ..
        } = visit.claim
        else {
            return true;
        };
        let repository = item.repository.as_str();
        let age = || self.permissions.age(who, repository, Instant::now());
        let is_permitted =
            vouched_until.is_some() || age().is_some_and(|age| age <= self.times.remember.get());
        is_permitted && self.store.is_linked(repository, &item.digest)
    }

    /// Remembers that the origin gave `item` to `visit` at the moment `answered`, and that it was proved.
    pub fn confirm(&self, visit: &Visit, item: Item<'_>, answered: Instant) {
        if let Claim::Asking { who, .. } = visit.claim {
            let repository = item.repository.as_str();
            self.store.link(repository, &item.digest);
            self.permissions.confirm(who, repository, answered);
        }
    }

    /// Forgets that `visit` may pull from `repository`: the origin has just refused it something there.
    /// Costs one question where it was about something else.
    pub fn take_back(&self, visit: &Visit, repository: Name<'_>) {
        if let Claim::Asking { who, .. } = visit.claim {
            self.permissions.forget(who, repository.as_str());
        }
    }

    /// Returns how long a permission of just now counts.
    #[must_use]
    pub fn lease(&self, visit: &Visit, now: u64) -> Lease {
        let until = match visit.claim {
            Claim::Public => u64::MAX,
            // Checked anew now and then, so that a key that was taken back ends with it.
            Claim::Signed { until } => until.min(self.remembered_until(now)),
            Claim::Asking { vouched_until, .. } => {
                let until = self.remembered_until(now);
                vouched_until.map_or(until, |vouched| vouched.min(until))
            }
        };
        Lease { until }
    }

    fn remembered_until(&self, now: u64) -> u64 {
        now.saturating_add(self.times.remember.get().as_secs())
    }

    /// Returns how long a remembered permission still counts.
    fn remaining(&self, visit: &Visit, who: Who, item: Item<'_>, now: u64) -> Lease {
        let age = self
            .permissions
            .age(who, item.repository.as_str(), Instant::now());
        // What a token vouches for has no age.
        let left = self
            .times
            .remember
            .get()
            .saturating_sub(age.unwrap_or_default());
        let until = now.saturating_add(left.as_secs());
        Lease {
            until: until.min(self.lease(visit, now).until),
        }
    }

    /// Says whether the origin confirmed all of it not too long ago.
    fn may_be_graced(&self, who: Who, item: Item<'_>) -> bool {
        let repository = item.repository.as_str();
        let age = self.permissions.age(who, repository, Instant::now());
        age.is_some_and(|age| age <= self.times.grace.get())
            && self.store.is_linked(repository, &item.digest)
    }
}

/// Returns the value of `Authorization`.
///
/// Schemes that bind a connection (NTLM, Negotiate) would lend one client's right to the next one on a
/// connection to the origin, so only those that registries know are let through.
fn text(value: &[u8]) -> Result<&str, Denial> {
    let is_known = |value: &&str| {
        let scheme = value.split(' ').next().unwrap_or_default();
        value.is_empty()
            || scheme.eq_ignore_ascii_case("basic")
            || scheme.eq_ignore_ascii_case("bearer")
    };
    let text = std::str::from_utf8(value).ok().filter(is_known);
    text.ok_or(Denial::Malformed)
}
