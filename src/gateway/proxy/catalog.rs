//! `/v2/_catalog`: of the backend's repositories those that the caller may pull.
//!
//! Invariant: nothing tells of the others, neither a short page, nor an empty one with more behind it, nor a `Link` with
//! another's name.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::timeout;
use url::form_urlencoded;

use super::backend::{Question, Sent, Trouble, whole};
use super::refusal::{Lack, Refusal};
use super::target::CATALOG_SCOPE;
use super::{Ask, fields, json};
use crate::gateway::accounts::{Action, Policy};
use crate::gateway::identity::{Caller, Rights, Subject};
use crate::limits::LISTING_BYTES_MAX;
use crate::registry::{Code, Name, NextPage};

/// How many repositories a page has that says no number, as distribution has it.
const PAGE_DEFAULT: usize = 100;

/// Most repositories of a page.
const PAGE_MAX: usize = 1000;

/// How many are asked for at once, and how many of a registry that refuses so many.
const ASKED_AT_ONCE: [usize; 2] = [1000, 100];

/// Longest time that a page may be looked for: of very many repositories the caller may pull none.
const PATIENCE: Duration = Duration::from_secs(60);

/// One page of the backend.
struct Page {
    names: Vec<String>,
    /// Query of the next one.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    repositories: Option<Vec<String>>,
}

pub(super) async fn answer(ask: &Ask<'_>) -> Result<Response, Refusal> {
    let caller = ask.caller(CATALOG_SCOPE.to_owned()).await?;
    permit(&caller)?;
    let wanted = wanted(ask.query.get("n"))?;
    let policy = ask.app.accounts.policy();
    let found = find(ask, &caller, &policy, wanted);
    let told = |trouble: Trouble| trouble.told("/v2/_catalog");
    let found = timeout(PATIENCE, found)
        .await
        .map_err(|_| told(Trouble::Slow))?;
    Ok(written(found.map_err(told)?, wanted))
}

/// Refuses nobody in particular, and a token that does not say so.
fn permit(caller: &Caller) -> Result<(), Refusal> {
    let lack = match (&caller.rights, &caller.subject) {
        (Rights::Policy, Subject::Nobody) => Lack::Credentials,
        (Rights::Policy, Subject::User(_) | Subject::Cache(_)) => return Ok(()),
        (Rights::Token(access), _) => {
            let is_said = access.iter().any(|access| {
                let is_it = access.kind == "registry" && access.name == "catalog";
                is_it && access.actions.iter().any(|action| action == "*")
            });
            if is_said {
                return Ok(());
            }
            Lack::Scope
        }
    };
    Err(Refusal::Login(lack, CATALOG_SCOPE.to_owned()))
}

fn wanted(n: Option<&str>) -> Result<usize, Code> {
    match n.map(str::parse::<usize>) {
        None => Ok(PAGE_DEFAULT),
        Some(Ok(n)) => Ok(n.min(PAGE_MAX)),
        Some(Err(_)) => Err(Code::PaginationNumberInvalid),
    }
}

/// Returns up to `wanted` names that the caller may pull, and one more if there are more.
async fn find(
    ask: &Ask<'_>,
    caller: &Caller,
    policy: &Policy,
    wanted: usize,
) -> Result<Vec<String>, Trouble> {
    let mut found = Vec::new();
    let [mut query, smaller] = ASKED_AT_ONCE.map(|n| first_query(ask.query.get("last"), n));
    let mut smaller = Some(smaller);
    // A token for the catalog names no repository: what its owner may pull is in the policy.
    let may = |text: &String| {
        let name = Name::parse(text);
        name.is_ok_and(|name| policy.allows(&caller.subject, name, Action::Pull))
    };
    while wanted > 0 && found.len() <= wanted {
        let Some(Page { names, next }) = page(ask, &query).await? else {
            let broken = || Trouble::Broken("400 for its catalog".to_owned());
            query = smaller.take().ok_or_else(broken)?;
            continue;
        };
        smaller = None;
        let is_empty = names.is_empty();
        found.extend(names.into_iter().filter(may));
        match next {
            // A page that leads to itself would do so for ever.
            Some(next) if next != query && !is_empty => query = next,
            _ => break,
        }
    }
    found.truncate(wanted + 1);
    Ok(found)
}

fn first_query(last: Option<&str>, n: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &n.to_string());
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        query.append_pair("last", last);
    }
    query.finish()
}

/// Returns a page of the backend; `None` if it will not have the query.
async fn page(ask: &Ask<'_>, query: &str) -> Result<Option<Page>, Trouble> {
    let via = ask.app.proxy.instance.after(&ask.passed);
    let question = Question {
        method: Method::GET,
        path: ask.target.path(),
        query: Some(query.to_owned()),
        fields: fields::for_backend(&HeaderMap::new(), via),
        body: Sent::Whole(Bytes::new()),
        scope: CATALOG_SCOPE.to_owned(),
    };
    let response = ask.app.proxy.backend.ask(question).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST => return Ok(None),
        status => return Err(Trouble::Broken(format!("{status} for its catalog"))),
    }
    let link = response.headers().get(header::LINK).cloned();
    let link = link.as_ref().and_then(|value| value.to_str().ok());
    let next = link.and_then(NextPage::parse).and_then(|page| page.query);
    let next = next.map(ToOwned::to_owned);
    let body = whole(response, LISTING_BYTES_MAX).await?;
    let listing: Result<Listing, _> = serde_json::from_slice(&body);
    let broken = |_| Trouble::Broken("its catalog is not one".to_owned());
    let names = listing.map_err(broken)?.repositories.unwrap_or_default();
    Ok(Some(Page { names, next }))
}

/// Writes a page of names, of which the one beyond `wanted` only says that there are more.
fn written(mut names: Vec<String>, wanted: usize) -> Response {
    let has_more = names.len() > wanted;
    names.truncate(wanted);
    let link = names.last().filter(|_| has_more).map(|last| {
        let query = first_query(Some(last), wanted);
        format!("</v2/_catalog?{query}>; rel=\"next\"")
    });
    let body = serde_json::json!({"repositories": names}).to_string();
    let mut response = json(body.into());
    if let Some(value) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Access;

    #[test]
    fn a_page_says_that_there_are_more_only_if_the_caller_may_see_them() {
        let names = |count: usize| (0..count).map(|n| format!("a/{n}")).collect();
        let link = |response: &Response| {
            let value = response.headers().get(header::LINK);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(link(&written(names(2), 2)), None);
        assert_eq!(link(&written(names(0), 0)), None);
        let next = "</v2/_catalog?n=2&last=a%2F1>; rel=\"next\"";
        assert_eq!(link(&written(names(3), 2)).as_deref(), Some(next));
    }

    #[test]
    fn numbers_are_bounded_and_others_refused() {
        assert_eq!(wanted(None), Ok(PAGE_DEFAULT));
        assert_eq!(wanted(Some("0")), Ok(0));
        assert_eq!(wanted(Some("5000")), Ok(PAGE_MAX));
        for bad in ["-1", "x", ""] {
            assert_eq!(wanted(Some(bad)), Err(Code::PaginationNumberInvalid));
        }
    }

    #[test]
    fn a_token_has_to_name_the_catalog() {
        let token = |kind: &str, name: &str, action: &str| Caller {
            subject: Subject::User("u".to_owned()),
            rights: Rights::Token(vec![Access {
                kind: kind.to_owned(),
                name: name.to_owned(),
                actions: vec![action.to_owned()],
            }]),
        };
        assert!(permit(&token("registry", "catalog", "*")).is_ok());
        assert!(permit(&token("repository", "catalog", "*")).is_err());
        assert!(permit(&token("registry", "catalog", "pull")).is_err());
        assert!(permit(&Caller::nobody()).is_err());
    }
}
