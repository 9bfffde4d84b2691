//! The one table of the API's routes; `docs/openapi.json` describes each.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::http::Method;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Status,
    Live,
    ListBlobs,
    ShowBlob,
    PurgeBlob,
    ListPins,
    AddPin,
    RemovePin,
    Upstreams,
    Fills,
    AddWarm,
    ListWarm,
    ShowWarm,
    CancelWarm,
    Drain,
    Reload,
    Upgrade,
    ShowLogLevel,
    SetLogLevel,
    OpenApi,
}

/// Each path with its methods. A last segment in braces takes the rest of the path.
pub(super) const TABLE: &[(Method, &str, Call)] = &[
    (Method::Get, "/v1/status", Call::Status),
    (Method::Get, "/v1/live", Call::Live),
    (Method::Get, "/v1/blobs", Call::ListBlobs),
    (Method::Get, "/v1/blobs/{digest}", Call::ShowBlob),
    (Method::Delete, "/v1/blobs/{digest}", Call::PurgeBlob),
    (Method::Get, "/v1/pins", Call::ListPins),
    (Method::Post, "/v1/pins", Call::AddPin),
    (Method::Delete, "/v1/pins/{reference}", Call::RemovePin),
    (Method::Get, "/v1/upstreams", Call::Upstreams),
    (Method::Get, "/v1/fills", Call::Fills),
    (Method::Post, "/v1/warm", Call::AddWarm),
    (Method::Get, "/v1/warm", Call::ListWarm),
    (Method::Get, "/v1/warm/{id}", Call::ShowWarm),
    (Method::Delete, "/v1/warm/{id}", Call::CancelWarm),
    (Method::Post, "/v1/drain", Call::Drain),
    (Method::Post, "/v1/reload", Call::Reload),
    (Method::Post, "/v1/upgrade", Call::Upgrade),
    (Method::Get, "/v1/log-level", Call::ShowLogLevel),
    (Method::Put, "/v1/log-level", Call::SetLogLevel),
    (Method::Get, "/v1/openapi.json", Call::OpenApi),
];

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// There, with what stands in the place of the braces, decoded.
    To(Call, String),
    /// The path has other methods.
    Other(String),
    Unknown,
}

/// Finds the route of a request.
pub(super) fn find(method: Method, path: &str) -> Route {
    let wanted = if method == Method::Head {
        Method::Get
    } else {
        method
    };
    let mut allowed = Vec::new();
    for (method, pattern, call) in TABLE {
        let Some(argument) = matched(pattern, path) else {
            continue;
        };
        if *method == wanted {
            return Route::To(*call, argument.into_owned());
        }
        allowed.push(method.name());
        if *method == Method::Get {
            allowed.push("HEAD");
        }
    }
    match allowed.is_empty() {
        true => Route::Unknown,
        false => Route::Other(allowed.join(", ")),
    }
}

fn matched<'a>(pattern: &str, path: &'a str) -> Option<Cow<'a, str>> {
    let Some((start, _)) = pattern.split_once('{') else {
        return (pattern == path).then_some(Cow::Borrowed(""));
    };
    let rest = path.strip_prefix(start).filter(|rest| !rest.is_empty())?;
    percent_decode_str(rest).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_where_the_table_says() {
        let to = |call, argument: &str| Route::To(call, argument.to_owned());
        for (method, path, route) in [
            (Method::Get, "/v1/status", to(Call::Status, "")),
            (Method::Head, "/v1/status", to(Call::Status, "")),
            (
                Method::Post,
                "/v1/status",
                Route::Other("GET, HEAD".to_owned()),
            ),
            (
                Method::Delete,
                "/v1/pins/a/b%3Ac",
                to(Call::RemovePin, "a/b:c"),
            ),
            (
                Method::Put,
                "/v1/blobs/x",
                Route::Other("GET, HEAD, DELETE".to_owned()),
            ),
            (Method::Get, "/v1/blobs/", Route::Unknown),
            (Method::Get, "/v1/blobs/%ff", Route::Unknown),
            (Method::Get, "/v1/", Route::Unknown),
            (Method::Get, "/v1/status/", Route::Unknown),
        ] {
            assert_eq!(find(method, path), route, "{method:?} {path}");
        }
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        // Who writes a client by it would miss one, or meet a 404.
        let text = include_str!("../../docs/openapi.json");
        let described: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut found = Vec::new();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                found.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let table = TABLE
            .iter()
            .map(|(method, path, _)| format!("{} {path}", method.name()));
        let mut table: Vec<_> = table.collect();
        found.sort();
        table.sort();
        assert_eq!(found, table);
    }
}
