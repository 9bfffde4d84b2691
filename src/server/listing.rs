//! Tags, referrers and the catalogue: the next hop's own lists, passed on.

use super::context::Context;
use super::permit;
use super::reply::{Reply, Status};
use crate::access::{Shown, Visit};
use crate::http::Query;
use crate::limits::LISTING_BYTES_MAX;
use crate::metrics::{CacheUse, RequestRefusal};
use crate::registry::{Code, Name, NextPage, Route, media_type};
use crate::upstream::{self, Response};

/// Answers a request for a list.
pub(super) async fn answer(
    context: &Context,
    shown: Shown<'_>,
    query: Query<'_>,
    route: Route<'_>,
) -> Reply {
    let wanted = permit::wanted(&route);
    let visit = match permit::admit_unsigned(context, shown, wanted).await {
        Ok(visit) => visit,
        Err(reply) => return reply,
    };
    if route == Route::Catalog && context.service.access.requires_token() {
        return nothing();
    }
    let Ok(query) = passed_on(query) else {
        let counters = &context.counters;
        counters.count_refused_request(RequestRefusal::Query);
        return Reply::error(Code::RequestInvalid, "ambiguous query");
    };
    let (path, repository, unknown) = match route {
        Route::Tags { name } => (
            format!("/v2/{name}/tags/list"),
            Some(name),
            Code::NameUnknown,
        ),
        Route::Referrers { name, digest } => (
            format!("/v2/{name}/referrers/{digest}"),
            Some(name),
            Code::ManifestUnknown,
        ),
        _ => ("/v2/_catalog".to_owned(), None, Code::NameUnknown),
    };
    let request = upstream::Request {
        repository: repository.map(|name| name.as_str().to_owned()),
        authority: visit.authority.clone(),
        trail: visit.trail.clone(),
        ..upstream::Request::get(format!("{path}{query}"))
    };
    match ask(context, &request, &visit, repository, unknown).await {
        Ok(reply) => reply,
        // Not every upstream has a catalogue; asking for it is how a cache is tried out. One that fails may have.
        Err(Refusal::Answered(_)) if route == Route::Catalog => nothing(),
        Err(Refusal::Answered(reply) | Refusal::Failed(reply)) => reply,
    }
}

/// A catalogue without entries.
fn nothing() -> Reply {
    let nothing = br#"{"repositories":[]}"#.to_vec();
    Reply::new(Status::OK, "application/json", nothing)
}

/// Why there is no list.
enum Refusal {
    /// The next hop answered something else.
    Answered(Reply),
    /// The next hop did not answer, or was not able to.
    Failed(Reply),
}

/// Writes the parameters that lists know, and no others, as a query.
fn passed_on(query: Query<'_>) -> Result<String, crate::http::query::QueryError> {
    let mut text = String::new();
    for name in ["n", "last", "artifactType"] {
        if let Some(value) = query.find(name)? {
            text.push(if text.is_empty() { '?' } else { '&' });
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            text.push_str(&format!("{name}={value}"));
        }
    }
    Ok(text)
}

async fn ask(
    context: &Context,
    request: &upstream::Request,
    visit: &Visit,
    name: Option<Name<'_>>,
    unknown: Code,
) -> Result<Reply, Refusal> {
    let failed = |error: upstream::Error| {
        if !error.is_known() && context.may_log() {
            tracing::warn!(path = request.path, %error, "a list could not be asked for");
        }
        Refusal::Failed(Reply::of_upstream_error(&error))
    };
    let response = context
        .service
        .upstream
        .send(request)
        .await
        .map_err(failed)?;
    if response.status() != 200 {
        let refusal: upstream::Refusal = (&response).into();
        let reply = permit::refusal(context, visit, name, &refusal, unknown, &request.path);
        return Err(match refusal.is_undecided() {
            true => Refusal::Failed(reply),
            false => Refusal::Answered(reply),
        });
    }
    let content_type = response.field("content-type").and_then(media_type::essence);
    let content_type = content_type.unwrap_or("application/json").to_owned();
    let link = next_link(context, &response);
    let filters = response.field("oci-filters-applied").map(ToOwned::to_owned);
    let (behind, hop) = (response.cache_status(), response.hop().to_owned());
    let body = response.bytes(LISTING_BYTES_MAX).await.map_err(failed)?;
    context.counters.upstream_bytes.add(body.len() as u64);
    let mut reply = Reply::new(Status::OK, &content_type, body).by(CacheUse::Bypass, &behind);
    reply.upstream = Some(hop.into());
    if let Some(link) = link {
        reply = reply.with("Link", link);
    }
    if let Some(filters) = filters {
        reply = reply.with("OCI-Filters-Applied", filters);
    }
    Ok(reply)
}

/// Returns the link to the next page, made to lead through this cache.
fn next_link(context: &Context, response: &Response) -> Option<String> {
    let next = NextPage::parse(response.field("link")?)?;
    let query = next
        .query
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let prefix = context.service.options.prefix.trim_end_matches('/');
    Some(format!("<{prefix}{}{query}>; rel=\"next\"", next.path))
}
