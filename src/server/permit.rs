//! Between a request and `access`: who asks, whether they may, and what they are told if not.

use std::time::{Duration, Instant};

use super::context::Context;
use super::grants::Credential;
use super::reply::Reply;
use crate::access::{Denial, Item, Kind, Lease, Shown, Visit, Wanted};
use crate::auth;
use crate::digest::Digest;
use crate::metrics::AccessRefusal;
use crate::registry::{Code, Name, Route};
use crate::upstream::{Refusal, Trail};

/// Says whether this core was lately permitted to give just this.
pub(super) fn is_granted(
    context: &Context,
    shown: Shown<'_>,
    name: Name<'_>,
    digest: &Digest,
) -> bool {
    let credential = credential(context, shown);
    let mut grants = context.grants.borrow_mut();
    context.service.access.is_public()
        || grants.find(digest, name.as_str(), credential, Instant::now())
}

/// Remembers on this core what was permitted.
fn grant(context: &Context, shown: Shown<'_>, item: Item<'_>, lease: Lease) {
    let (now, _) = context.now();
    // From here on by a clock that nobody sets.
    let left = Duration::from_secs(lease.until.saturating_sub(now));
    let until = Instant::now().checked_add(left);
    if let Some(until) = until.filter(|_| item.kind == Kind::Blob && !left.is_zero()) {
        let credential = credential(context, shown);
        let mut grants = context.grants.borrow_mut();
        grants.insert(&item.digest, item.repository.as_str(), credential, until);
    }
}

fn credential<'a>(context: &Context, shown: Shown<'a>) -> Credential<'a> {
    let heeds = context.service.access.heeds_authorization();
    match shown.token {
        Some(token) => Credential::Token(token),
        None => Credential::of_field(shown.authorization, heeds),
    }
}

/// Lets a request for `item` in.
///
/// # Errors
/// What the client is told instead.
pub(super) async fn admit(
    context: &Context,
    shown: Shown<'_>,
    item: Item<'_>,
) -> Result<Visit, Reply> {
    let (now, _) = context.now();
    let admitted = context.service.access.admit(shown, item, now).await;
    admitted.map_err(|denial| denied(context, shown, &denial, &item))
}

/// Lets a request in that no signed URL is made for.
///
/// # Errors
/// What the client is told instead.
pub(super) async fn admit_unsigned(
    context: &Context,
    shown: Shown<'_>,
    wanted: Wanted<'_>,
) -> Result<Visit, Reply> {
    let (now, _) = context.now();
    let access = &context.service.access;
    let admitted = access.admit_unsigned(shown, wanted, now).await;
    admitted.map_err(|denial| refused(context, &denial, Code::NameUnknown, ""))
}

/// Finds out whether `visit` may have `item`, and remembers it.
///
/// # Errors
/// What the client is told instead.
pub(super) async fn permit(
    context: &Context,
    shown: Shown<'_>,
    visit: &Visit,
    item: Item<'_>,
    size_bytes: Option<u64>,
) -> Result<(), Reply> {
    let (now, _) = context.now();
    let access = &context.service.access;
    let asked = access.permit(visit, item, size_bytes, now, &context.counters);
    match asked.await {
        Ok(lease) => {
            grant(context, shown, item, lease);
            Ok(())
        }
        Err(denial) => Err(denied(context, shown, &denial, &item)),
    }
}

/// Takes note that the origin gave `item` to `visit` at the moment `answered`, and that it was proved.
pub(super) fn confirm(context: &Context, visit: &Visit, item: Item<'_>, answered: Instant) {
    context.service.access.confirm(visit, item, answered);
}

/// Returns what the client is told of a next hop's refusal, and forgets what was remembered of its right.
pub(super) fn refusal(
    context: &Context,
    visit: &Visit,
    repository: Option<Name<'_>>,
    refusal: &Refusal,
    unknown: Code,
    subject: &str,
) -> Reply {
    if let Some(repository) = repository
        && matches!(refusal.status, 401 | 403 | 404)
    {
        context.service.access.take_back(visit, repository);
        context.counters.count_access_refusal(AccessRefusal::Origin);
    }
    Reply::of_refusal(refusal, visit.is_clients(), unknown, subject)
}

/// Answers the base of the API: with the origin's challenge, where clients log in there.
pub(super) async fn answer_base(context: &Context, shown: Shown<'_>) -> Reply {
    let visit = match admit_unsigned(context, shown, Wanted::Base).await {
        Ok(visit) => visit,
        Err(reply) => return reply,
    };
    match context.service.access.greet(&visit).await {
        Ok(()) => Reply::base(),
        Err(denial) => refused(context, &denial, Code::NameUnknown, "v2"),
    }
}

/// Answers for the keys of signed URLs.
pub(super) async fn answer_keys(context: &Context, trail: Trail) -> Reply {
    Reply::keys(context.service.access.public_keys(trail).await.into_bytes())
}

fn denied(context: &Context, shown: Shown<'_>, denial: &Denial, item: &Item<'_>) -> Reply {
    let code = match item.kind {
        Kind::Blob => Code::BlobUnknown,
        Kind::Manifest => Code::ManifestUnknown,
    };
    let reply = refused(context, denial, code, &item.digest.to_string());
    if let Denial::Signature(refusal) = denial
        && context.may_log()
    {
        let (repository, digest) = (item.repository, &item.digest);
        let key = shown.token.and_then(auth::claimed_key).unwrap_or_default();
        tracing::info!(%repository, %digest, key, %refusal, "a signed URL was refused");
    }
    reply
}

/// Counts a denial, and returns what the client is told.
fn refused(context: &Context, denial: &Denial, unknown: Code, subject: &str) -> Reply {
    context.counters.count_access_refusal(reason(denial));
    Reply::of_denial(denial, unknown, subject)
}

fn reason(denial: &Denial) -> AccessRefusal {
    match denial {
        Denial::Signature(refusal) => match refusal {
            auth::Refusal::Malformed => AccessRefusal::TokenMalformed,
            auth::Refusal::Algorithm => AccessRefusal::TokenAlgorithm,
            auth::Refusal::KeyUnknown => AccessRefusal::TokenKey,
            auth::Refusal::Signature => AccessRefusal::TokenSignature,
            auth::Refusal::Expired => AccessRefusal::TokenExpired,
            auth::Refusal::NotYetValid => AccessRefusal::TokenNotYetValid,
            _ => AccessRefusal::TokenClaims,
        },
        Denial::Unsigned => AccessRefusal::Unsigned,
        Denial::LogIn(_) | Denial::Malformed => AccessRefusal::LogIn,
        Denial::Refused { .. } => AccessRefusal::Origin,
        Denial::Upstream(_) | Denial::Unproved => AccessRefusal::Away,
        Denial::Busy => AccessRefusal::Busy,
    }
}

/// Returns what a list is about.
pub(super) const fn wanted<'a>(route: &Route<'a>) -> Wanted<'a> {
    match route {
        Route::Tags { name } | Route::Referrers { name, .. } => Wanted::Repository(*name),
        _ => Wanted::Catalog,
    }
}
