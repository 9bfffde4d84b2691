//! One look at a cache.

use std::error::Error as _;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use url::Url;

/// The most of a reason that is kept: it may have come from the other side.
const REASON_MAX: usize = 200;

/// Asks the registry at `host` whether it is one, on a connection of its own: a client's would be new as well. Returns
/// how long that took, or why it is no registry for our clients.
pub(super) async fn probe(
    client: &reqwest::Client,
    host: &Url,
    timeout: Duration,
) -> Result<Duration, String> {
    let url = host.join("/v2/").map_err(|error| error.to_string())?;
    let began = Instant::now();
    let request = client.get(url).header(header::CONNECTION, "close").send();
    let answer = tokio::time::timeout(timeout, request).await;
    let answer = answer.map_err(|_| format!("no answer within {timeout:?}"))?;
    let answer = answer.map_err(|error| reason(&error))?;
    judge(answer.status(), answer.headers())?;
    Ok(began.elapsed())
}

/// Says whether an answer is a registry's: what stands before a dead one answers as well.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let names_itself = text("docker-distribution-api-version");
    let names_itself = names_itself.is_some_and(|text| text.starts_with("registry/"));
    let kind = text("content-type").unwrap_or_default();
    let is_json = kind.starts_with("application/json");
    match status {
        StatusCode::OK | StatusCode::UNAUTHORIZED if names_itself || is_json => Ok(()),
        StatusCode::OK | StatusCode::UNAUTHORIZED => {
            Err(format!("it answers {status} as no registry does"))
        }
        _ => Err(format!("it answers {status}")),
    }
}

/// Returns what is at the bottom of an error, which is what an operator can mend.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.source().is_none() {
        return "the connection failed".to_owned();
    }
    let text = cause.to_string();
    let text = text.chars().filter(|c| !c.is_control());
    text.take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    #[test]
    fn only_a_registry_is_up() {
        const REGISTRY: Fields = &[("docker-distribution-api-version", "registry/2.0")];
        const JSON: Fields = &[("content-type", "application/json; charset=utf-8")];
        const PAGE: Fields = &[("content-type", "text/html")];
        let table: &[(u16, Fields, bool)] = &[
            (200, REGISTRY, true),
            (401, REGISTRY, true),
            (200, JSON, true),
            (401, JSON, true),
            (200, PAGE, false),
            (401, &[], false),
            (502, PAGE, false),
            (502, REGISTRY, false),
            (307, REGISTRY, false),
            (404, JSON, false),
        ];
        for (status, fields, want) in table {
            let headers: HeaderMap = fields
                .iter()
                .map(|(name, value)| {
                    let value = header::HeaderValue::from_str(value).unwrap();
                    (header::HeaderName::from_static(name), value)
                })
                .collect();
            let got = judge(StatusCode::from_u16(*status).unwrap(), &headers);
            assert_eq!(got.is_ok(), *want, "{status} {fields:?}: {got:?}");
        }
    }
}
