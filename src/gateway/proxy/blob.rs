//! GET and HEAD of a blob: from the cache near the caller, else from the backend.
//!
//! Invariant: a signed URL is made only for a blob that the backend has said this very repository has. A cache takes the
//! signature for that: without it the right to one repository would open the blobs of all by their digests. What the
//! backend has said is remembered for a while ([`super::seen`]), so that a popular layer costs no round trip.
//!
//! A HEAD with a token to push is answered by the backend: it asks "must I upload this?", and a cache that still has
//! what the backend has deleted would say no.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

use super::backend::{Question, Sent};
use super::refusal::Refusal;
use super::{Ask, fields};
use crate::auth::Refusal as UrlRefusal;
use crate::digest::Digest;
use crate::gateway::accounts::Action;
use crate::gateway::app::now;
use crate::gateway::identity::{Caller, Rights, Subject};
use crate::registry::{Code, Name};

pub(super) async fn answer(
    ask: &Ask<'_>,
    name: Name<'_>,
    digest: &Digest,
) -> Result<Response, Refusal> {
    let signer = &ask.app.signer;
    if let Some(token) = ask.query.get("token") {
        // What is signed decides, whatever a cache shows besides.
        let check = || signer.check_url_token(token, name, digest, now());
        let mut checked = check();
        if checked == Err(UrlRefusal::KeyUnknown) {
            signer.learn().await;
            checked = check();
        }
        if let Err(reason) = checked {
            tracing::debug!(%reason, "a signed URL is not taken");
            return Err(Code::Denied.into());
        }
        return from_backend(ask).await;
    }
    let caller = ask.permitted(Action::Pull).await?;
    if !may_be_sent(ask, &caller, name) {
        return from_backend(ask).await;
    }
    let client = ask.app.client_address(ask.peer, ask.fields);
    let is_head = ask.method == Method::HEAD;
    let caches = &ask.app.caches;
    let chosen = caches.choose_for_blob(&caller.subject, client, is_head, digest);
    let Some(cache) = chosen.await else {
        return from_backend(ask).await;
    };
    if !is_there(ask, name, digest).await? {
        return from_backend(ask).await;
    }
    let token = signer.url_token(&caller.subject, name, digest, now());
    // Nobody is sent to a cache with what it would not take.
    let there = (!token.is_empty()).then(|| location(&cache.host, &ask.target.path(), &token));
    let Some(there) = there.flatten() else {
        return from_backend(ask).await;
    };
    tracing::debug!(cache = cache.name, %digest, "sent to a cache");
    Ok(redirect(there, digest))
}

/// Says whether the caller is a client, and not a cache, and asks for something that a cache can tell.
fn may_be_sent(ask: &Ask<'_>, caller: &Caller, name: Name<'_>) -> bool {
    let is_cache = ask.passed.is_from_cache || matches!(caller.subject, Subject::Cache(_));
    let is_token = matches!(caller.rights, Rights::Token(_));
    let pushes = || caller.may(Action::Push, name, &ask.app.accounts.policy());
    let is_before_push = ask.method == Method::HEAD && is_token && pushes();
    !is_cache && !is_before_push
}

/// Says whether the repository has the blob, by what the backend says or has said lately.
async fn is_there(ask: &Ask<'_>, name: Name<'_>, digest: &Digest) -> Result<bool, Refusal> {
    let proxy = &ask.app.proxy;
    if proxy.seen.has(name, digest, now()) {
        return Ok(true);
    }
    // Nothing of the client's: a condition or a range would make it another question.
    let via = proxy.instance.after(&ask.passed);
    let question = Question {
        method: Method::HEAD,
        path: ask.target.path(),
        query: None,
        fields: fields::for_backend(&HeaderMap::new(), via),
        body: Sent::Whole(Bytes::new()),
        scope: ask.scope(Action::Pull),
    };
    let has = proxy.backend.has(question).await;
    let has = has.map_err(|trouble| trouble.told(&ask.target.path()))?;
    if has {
        proxy.seen.note(name, digest, now());
    }
    Ok(has)
}

async fn from_backend(ask: &Ask<'_>) -> Result<Response, Refusal> {
    let mut question = ask.question(Action::Pull, Sent::Whole(Bytes::new()));
    // A blob has no parameters, and a signed URL's token is not the backend's business.
    question.query = None;
    ask.pass(question).await
}

fn location(host: &Url, path: &str, token: &str) -> Option<HeaderValue> {
    let mut url = host.clone();
    url.set_path(path);
    url.query_pairs_mut().clear().append_pair("token", token);
    HeaderValue::from_str(url.as_str()).ok()
}

/// 307, as registries send clients to storage. Nobody keeps it: the token ends, and so may the cache.
fn redirect(there: HeaderValue, digest: &Digest) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    let fields = response.headers_mut();
    fields.insert(header::LOCATION, there);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(digest) = HeaderValue::from_str(&digest.to_string()) {
        fields.insert("docker-content-digest", digest);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_sent_to_the_same_path_at_the_cache_with_the_token_and_nobody_keeps_that() {
        let digest = Digest::of(crate::digest::Algorithm::Sha256, b"");
        let host = "https://cache.example:5000/".parse().unwrap();
        let path = format!("/v2/a/b/blobs/{digest}");
        let response = redirect(location(&host, &path, "e.y-_.s").unwrap(), &digest);
        assert_eq!(response.status(), 307);
        let field = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            field("location"),
            format!("https://cache.example:5000{path}?token=e.y-_.s")
        );
        assert_eq!(field("cache-control"), "no-store");
        assert_eq!(field("docker-content-digest"), digest.to_string());
    }
}
