//! Pushes: uploads stream through, manifests are taken whole and told to the rules.

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::backend::{self, Sent};
use super::refusal::Refusal;
use super::target::{Target, scope};
use super::{Ask, passed_on};
use crate::gateway::accounts::Action;
use crate::gateway::rules::Pushed;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::registry::{Code, Name, Reference};

/// All of `/v2/<name>/blobs/uploads/`.
pub(super) async fn upload(ask: &Ask<'_>, name: Name<'_>, body: Body) -> Result<Response, Refusal> {
    let caller = ask.permitted(Action::Push).await?;
    let mut question = ask.question(Action::Push, sent(ask, body));
    if let (Target::Uploads(_), Some(mount)) = (ask.target, ask.query.mount()) {
        let policy = ask.app.accounts.policy();
        // Without the right to pull there the client uploads, as if the blob were not there.
        if let Some(from) = mount.from()
            && caller.may(Action::Pull, from, &policy)
        {
            question.query = ask.query.for_backend(Some(&mount));
            if from != name {
                question.scope = format!("{} {}", question.scope, scope(from, Action::Pull));
            }
        }
    }
    ask.pass(question).await
}

/// Returns what goes on of a body: a stream, unless there is none.
fn sent(ask: &Ask<'_>, body: Body) -> Sent {
    let has_body = ![Method::GET, Method::DELETE].contains(ask.method);
    let is_empty = backend::length(ask.fields) == Some(0) || http_body_is_empty(&body);
    if has_body && !is_empty {
        Sent::Stream(body)
    } else {
        Sent::Whole(Bytes::new())
    }
}

fn http_body_is_empty(body: &Body) -> bool {
    use axum::body::HttpBody as _;
    body.is_end_stream()
}

/// PUT of a manifest. Once it is here whole it is passed on even if the client leaves, so that what the backend took
/// is what the rules are told of.
pub(super) async fn manifest(
    ask: &Ask<'_>,
    name: Name<'_>,
    reference: Reference<'_>,
    body: Body,
) -> Result<Response, Refusal> {
    ask.permitted(Action::Push).await?;
    if backend::length(ask.fields).is_some_and(|length| length > MANIFEST_BYTES_MAX as u64) {
        return Err(Refusal::TooLarge);
    }
    let body = backend::gathered(body, MANIFEST_BYTES_MAX, backend::SILENCE).await?;
    let question = ask.question(Action::Push, Sent::Whole(body));
    let pushed = Pushed {
        repository: name.to_string(),
        reference: reference.to_string(),
    };
    let app = ask.app.clone();
    let asked = tokio::spawn(async move {
        let response = app.proxy.backend.ask(question).await?;
        if response.status() == StatusCode::CREATED {
            app.rules.pushed(&app, pushed).await;
        }
        Ok(response)
    });
    let path = ask.target.path();
    let answered = asked.await.map_err(|_| Code::Unknown)?;
    let response = answered.map_err(|trouble: backend::Trouble| trouble.told(&path))?;
    passed_on(&ask.target, response)
}
